/* What the parts of the native runner share. Its protocol is described in swapbench/runtimes/contract.py. */
#ifndef SWAPBENCH_RUNNER_H
#define SWAPBENCH_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- answers.c: answers and requests in JSON ---- */

typedef struct {
    char *bytes;
    size_t used, room;
} Text;

void put(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void put_string(Text *text, const char *string);
void put_number(Text *text, double number);
void put_clocks(Text *text);
void say(Text *line); /* writes the whole line in one piece and empties it */
void refuse(const char *stage, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
void answer_on(int descriptor);

typedef struct {
    char name[24];
    int count; /* 1 for a bare number, else the length of the array, of which at most 3 numbers are kept */
    double numbers[3];
} Member;

/* Returns the number of members, or -1 where the text is not a flat object of numbers and arrays. */
int read_object(const char *json, Member *members, int room);
const Member *member(const Member *members, int count, const char *name);

int64_t monotonic_ns(void);
int64_t process_cpu_ns(void);
int64_t status_bytes(const char *field); /* -1 where /proc does not have it */
void sleep_until(int64_t due_ns);
void *need(size_t bytes);

/* ---- feed.c: what is fed to the graph ---- */

typedef enum { F16, F32, F64, I8, U8, I16, U16, I32, I64, BOOL, OTHER } Element;

size_t element_bytes(Element element);
double element_value(const void *array, size_t index, Element element);

typedef struct {
    char name[256];
    int rank;
    int64_t shape[8];
    Element element;
    bool quantised;
    double scale;
    int64_t zero_point;
} Tensor;

size_t tensor_elements(const Tensor *tensor);
/* Sets the shape that --shapes has for the input at a place in the graph's order; refuses what is still free,
 * and other types. */
void settle_input(size_t place, Tensor *input);

typedef struct {
    const uint8_t *pixels;
    size_t count, height, width, bytes;
} Samples;

typedef struct {
    const Tensor *input;
    void *buffer;
    uint8_t *table; /* what each of the 256 pixel values becomes in each channel */
} Feed;

Samples open_samples(const char *path, const Tensor *input);
Feed image_feed(const Tensor *input, const char *normalise);
void fill(const Feed *feed, const uint8_t *image);
Feed made_feed(const Tensor *input, int64_t seed);
bool makes_zeros(const Tensor *input); /* whether made_feed makes zeros, else random numbers */

/* ---- engines: one model loaded in one runtime ---- */

#define MAX_INPUTS 16
#define MAX_OUTPUTS 16
#define MAX_SETTINGS 8

typedef struct {
    size_t place; /* in the graph */
    Tensor tensor;
    size_t elements; /* as of the last run */
    void *data;      /* a copy of what the last run gave */
} Output;

typedef struct {
    const char *runtime;
    char version[96], api[24];
    char folder[512]; /* in which the library lies */
    char providers[160]; /* the inside of a JSON list */
    int delegated_nodes, nodes; /* -1: unknown */
    bool spinning_off, graph_optimization;
    struct {
        const char *name, *value;
    } settings[MAX_SETTINGS]; /* further ones, that change results */
    size_t settings_count;
    const char *shapes, *dimensions; /* the options of these names, NULL where the file fixes all shapes */
    Tensor input;
    size_t inputs; /* of the graph; those after the first get zeros */
    Output kept[MAX_OUTPUTS]; /* the outputs that a run copies: the graph's first, or those to be scored */
    size_t kept_count;
    void (*load)(const char *artifact, int threads, const char *provider);
    void (*run)(void *feed); /* the whole of one timed run */
} Engine;

#define MOST_MEMBERS 8 /* of a system, which has engines of its own after the first */
#define MOST_ENGINES (1 + MOST_MEMBERS)
extern Engine engines[MOST_ENGINES], *chosen; /* engines[0] is the only one where no system runs */
#define engine (*chosen)
#define own (states[chosen - engines]) /* what a runtime keeps of the engine that is chosen */

void check_counts(size_t inputs, size_t outputs); /* refuses a graph with none, or with too many */
void check_kept(size_t outputs); /* refuses places that the graph does not have */
void keep(Output *output, const void *data, size_t elements);
void refuse_other(const Output *output); /* refuses an output that is not numeric */
void *symbol(void *library, const char *name);       /* refuses a library that lacks it */
void open_runtime(const char *name, const char *path); /* for the engine that is chosen */
void open_onnxruntime(void *library);
void open_tflite(void *library);
void open_litert(void *library);
void open_ncnn(void *library);
void add_setting(const char *name, const char *value);

#define FIELD(result, name, arguments) result(*name) arguments;

/* ---- system.c: files that decide together ---- */

void load_system(const char *job, int threads, int64_t turn);
size_t load_series(const char *job, int threads); /* the files run one after the other; returns the samples */
void feed_series(size_t sample);
Engine *end_of_series(void); /* whose outputs are the series' own */
void put_decisions(Text *line, size_t runs); /* what the last runs of a slice were */

/* ---- watch.c: numeric files sampled by a separate thread ---- */

void watch_file(const char *path);
bool watching(void);
void watch_period(int64_t milliseconds);
void watch_begin(void);
void watch_end(void);
void say_watched(const char *what, int64_t begin_ns, int64_t end_ns);

#endif
