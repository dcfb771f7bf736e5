/* The native runner: times or scores one model file with a runtime's shared library, in this process.
 *
 * It implements the worker contract of swapbench/runtimes/contract.py, with the loops of
 * swapbench/runtimes/worker.py, on machines without Python: modes time, serve and score, JSON lines on
 * standard output; on failure, one error line and exit status 1 ("stage" says where). Beyond the contract:
 *
 *   --runtime onnxruntime|litert|ncnn --library FILE   what to load with dlopen
 *   --system FILE         in place of runtime, library and artifact: a job of several files, see system.c
 *   --affinity HEXMASK    the cores to run on, checked before anything is loaded
 *   --fps N               camera pacing: every run waits for its frame; frames due during a run are lost
 *   --watch FILE[,FILE]   numeric files, sampled every --period-ms during each slice and reported after it
 *                         in a line "watched"
 *   {"idle_ns": T}        a request in serve mode: only watch for T ns; answered by "watched" alone
 *
 * All times are CLOCK_MONOTONIC; "clocks" gives it, the time since boot and the wall clock at one moment. */
#include "runner.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAKE_RUNS 2
#define MAX_RUNS_A_SLICE 1000000
#define MAX_WARMUP_RUNS 10000
#define ROWS_A_LINE 256
#define POOL_SLEEP_STEP_NS 2000000
#define POOL_SLEEP_STEPS 125

Engine engines[MOST_ENGINES] = {{.kept_count = 1}}, *chosen = engines;

static struct {
    const char *mode, *runtime, *library, *artifact, *samples, *normalise, *outputs, *provider, *affinity;
    const char *system;
    int64_t threads, runs, warmup_runs, warmup_ns, index, seed, period_ms;
    double fps;
} options = {
    .mode = "time",
    .threads = 1,
    .runs = 50,
    .warmup_runs = 5,
    .warmup_ns = 50000000,
    .period_ms = 100,
};

static struct {
    int64_t begin_ns, end_ns, cpu_ns, late_frames;
    size_t runs;
    int64_t *run_ns;
} slice;

void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) refuse("library", "%s has no function %s", options.library, name);
    return found;
}

void add_setting(const char *name, const char *value) {
    if (engine.settings_count == MAX_SETTINGS) return;
    engine.settings[engine.settings_count].name = name;
    engine.settings[engine.settings_count++].value = value;
}

void check_counts(size_t inputs, size_t outputs) {
    if (inputs < 1 || outputs < 1)
        refuse("model", "the graph has %zu inputs and %zu outputs", inputs, outputs);
    if (inputs > MAX_INPUTS || outputs > MAX_OUTPUTS)
        refuse("usage", "the graph has %zu inputs and %zu outputs; the runner takes at most %d and %d",
               inputs, outputs, MAX_INPUTS, MAX_OUTPUTS);
    engine.inputs = inputs;
}

void check_kept(size_t outputs) {
    for (size_t i = 0; i < engine.kept_count; i++)
        if (engine.kept[i].place >= outputs)
            refuse("usage", "--outputs must list places from 0 to %zu, not %zu", outputs - 1,
                   engine.kept[i].place);
}

void refuse_other(const Output *output) {
    if (output->tensor.element == OTHER)
        refuse("model", "the output '%s' is not numeric", output->tensor.name);
}

void keep(Output *output, const void *data, size_t elements) {
    size_t bytes = element_bytes(output->tensor.element);
    if (elements > output->elements || output->data == NULL) {
        free(output->data);
        output->data = need(elements * bytes);
    }
    output->elements = elements;
    if (data != NULL) memcpy(output->data, data, elements * bytes);
}

/* ---- the command line ---- */

static int64_t whole_number(const char *flag, const char *text, int64_t least, int64_t most) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != 0 || errno != 0 || number < least || number > most)
        refuse("usage", "bad command line: %s needs an integer from %lld to %lld, not '%s'", flag,
               (long long)least, (long long)most, text);
    return number;
}

static void watch_files(char *list) {
    for (char *path = strtok(list, ","); path != NULL; path = strtok(NULL, ",")) watch_file(path);
}

static void read_flag(const char *flag, char *value) {
    const struct {
        const char *flag, **text;
        int64_t *number, least, most;
    } flags[] = {
        {"--mode", &options.mode, NULL, 0, 0},
        {"--runtime", &options.runtime, NULL, 0, 0},
        {"--library", &options.library, NULL, 0, 0},
        {"--artifact", &options.artifact, NULL, 0, 0},
        {"--system", &options.system, NULL, 0, 0},
        {"--samples", &options.samples, NULL, 0, 0},
        {"--normalise", &options.normalise, NULL, 0, 0},
        {"--outputs", &options.outputs, NULL, 0, 0},
        {"--shapes", &engine.shapes, NULL, 0, 0},
        {"--dimensions", &engine.dimensions, NULL, 0, 0},
        {"--provider", &options.provider, NULL, 0, 0},
        {"--affinity", &options.affinity, NULL, 0, 0},
        {"--threads", NULL, &options.threads, 1, 1024},
        {"--runs", NULL, &options.runs, 1, MAX_RUNS_A_SLICE},
        {"--warmup-runs", NULL, &options.warmup_runs, 0, MAX_WARMUP_RUNS},
        {"--warmup-ns", NULL, &options.warmup_ns, 0, INT64_MAX / 2},
        {"--index", NULL, &options.index, 0, INT64_MAX},
        {"--seed", NULL, &options.seed, INT64_MIN, INT64_MAX},
        {"--period-ms", NULL, &options.period_ms, 1, 3600000},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(flag, flags[i].flag) != 0) continue;
        if (flags[i].text != NULL) *flags[i].text = value;
        else *flags[i].number = whole_number(flag, value, flags[i].least, flags[i].most);
        return;
    }
    if (strcmp(flag, "--watch") == 0) {
        watch_files(value);
    } else if (strcmp(flag, "--fps") == 0) {
        char *end;
        options.fps = strtod(value, &end);
        if (end == value || *end != 0 || !(options.fps > 0 && options.fps <= 10000))
            refuse("usage", "bad command line: --fps must be above 0 and at most 10000, not '%s'", value);
    } else {
        refuse("usage", "bad command line: unknown flag %s", flag);
    }
}

/* What scoring returns; the timed modes copy the graph's first output alone. */
static void choose_outputs(const char *list) {
    engine.kept_count = 0;
    for (const char *next = list; next != NULL; next = strchr(next, ',') ? strchr(next, ',') + 1 : NULL) {
        char place[16];
        snprintf(place, sizeof place, "%.*s", (int)strcspn(next, ","), next);
        if (engine.kept_count == MAX_OUTPUTS)
            refuse("usage", "--outputs lists more than %d outputs", MAX_OUTPUTS);
        engine.kept[engine.kept_count++].place = (size_t)whole_number("--outputs", place, 0, 1000000);
    }
}

static void read_command_line(int count, char **arguments) {
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count) refuse("usage", "bad command line: %s needs a value", arguments[i]);
        read_flag(arguments[i], arguments[i + 1]);
    }
    if (options.system != NULL) {
        options.library = "system";
        options.artifact = options.system;
    } else if (options.runtime == NULL || options.library == NULL || options.artifact == NULL)
        refuse("usage", "bad command line: --runtime, --library and --artifact are required");
    bool is_score = strcmp(options.mode, "score") == 0;
    if (!is_score && strcmp(options.mode, "time") != 0 && strcmp(options.mode, "serve") != 0)
        refuse("usage", "bad command line: --mode must be time, serve or score, not '%s'", options.mode);
    if (is_score && (watching() || options.fps > 0))
        refuse("usage", "bad command line: --watch and --fps cannot be combined with --mode score");
    if (is_score && options.outputs != NULL) choose_outputs(options.outputs);
    watch_period(options.period_ms);
}

/* ---- loading ---- */

static void pin(const char *mask) {
    char *end;
    errno = 0;
    unsigned long long wanted = strtoull(mask, &end, 16);
    if (end == mask || *end != 0 || errno != 0 || wanted == 0 || *mask == '-')
        refuse("affinity", "bad command line: --affinity needs a hexadecimal mask of cores, not '%s'", mask);
    cpu_set_t cores, got;
    CPU_ZERO(&cores);
    for (int core = 0; core < 64; core++)
        if (wanted >> core & 1) CPU_SET(core, &cores);
    CPU_ZERO(&got);
    if (sched_setaffinity(0, sizeof cores, &cores) != 0)
        refuse("affinity", "cannot run on the cores %s: %s", mask, strerror(errno));
    if (sched_getaffinity(0, sizeof got, &got) < 0 || memcmp(&got, &cores, sizeof got) != 0)
        refuse("affinity", "cannot run on all the cores %s: some are offline or not allowed", mask);
}

void open_runtime(const char *name, const char *path) {
    void (*open_it)(void *) = open_onnxruntime;
    const char *slash = strrchr(path, '/');
    snprintf(engine.folder, sizeof engine.folder, "%.*s", slash != NULL ? (int)(slash - path) : 1,
             slash != NULL ? path : ".");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) refuse("library", "cannot load the library %s: %s", path, dlerror());
    if (strcmp(name, "litert") == 0)
        open_it = dlsym(library, "TfLiteInterpreterCreate") != NULL ? open_tflite : open_litert;
    else if (strcmp(name, "ncnn") == 0) open_it = open_ncnn;
    else if (strcmp(name, "onnxruntime") != 0)
        refuse("usage", "bad command line: --runtime must be onnxruntime, litert or ncnn, not '%s'", name);
    open_it(library);
}

static bool is_given_samples(void) { return options.samples != NULL && options.normalise != NULL; }

static Feed make_feed(void) {
    if (options.system != NULL) return (Feed){0}; /* a system has its own */
    if (!is_given_samples()) return made_feed(&engine.input, options.seed);
    Samples samples = open_samples(options.samples, &engine.input);
    Feed feed = image_feed(&engine.input, options.normalise);
    fill(&feed, samples.pixels + (uint64_t)options.index % samples.count * samples.bytes);
    return feed;
}

static void put_setting(Text *line, const char *name, const char *value) {
    put(line, "%s\"%s\":", line->bytes[line->used - 1] == '{' ? "" : ",", name);
    put_string(line, value);
}

static void put_count(Text *line, const char *name, int count) {
    if (count < 0) put(line, "\"%s\":null,", name);
    else put(line, "\"%s\":%d,", name, count);
}

static void say_loaded(int64_t before_load_bytes, int64_t load_ns, int64_t first_ns, size_t warmup_runs) {
    Text line = {0};
    char number[32];
    put(&line, "{\"event\":\"loaded\",\"runtime\":\"%s\",\"version\":", engine.runtime);
    put_string(&line, engine.version);
    const char *slash = strrchr(options.library, '/');
    put(&line, ",\"package\":");
    put_string(&line, slash != NULL ? slash + 1 : options.library);
    put(&line, ",\"providers\":[%s],\"settings\":{", engine.providers);
    put_setting(&line, "runner", "native");
    put_setting(&line, "api", engine.api);
    if (engine.graph_optimization) put_setting(&line, "graph_optimization", "all");
    for (size_t i = 0; i < engine.settings_count; i++)
        put_setting(&line, engine.settings[i].name, engine.settings[i].value);
    if (engine.spinning_off) put_setting(&line, "spinning", "off");
    if (options.affinity != NULL) put_setting(&line, "affinity", options.affinity);
    if (options.fps > 0) {
        snprintf(number, sizeof number, "%g", options.fps);
        put_setting(&line, "fps", number);
    }
    put(&line, "},");
    put_count(&line, "delegated_nodes", engine.delegated_nodes);
    put_count(&line, "nodes", engine.nodes);
    put(&line, "\"threads\":%d,\"load_ns\":%lld,\"first_ns\":%lld,", (int)options.threads, (long long)load_ns,
        (long long)first_ns);
    put(&line, "\"warmup_runs\":%zu,\"before_load_bytes\":%lld,\"input\":\"%s\",", warmup_runs,
        (long long)before_load_bytes,
        is_given_samples() || options.system != NULL ? "sample"
        : makes_zeros(&engine.input)                 ? "zeros"
                                                     : "random");
    put_clocks(&line);
    put(&line, "}");
    say(&line);
    free(line.bytes);
}

/* ---- the timed loops ---- */

/* Advances to the next frame after a run that ended at `finish_ns`, counting those that came due before. */
static void next_frame(int64_t *due_ns, int64_t finish_ns, int64_t frame_ns) {
    *due_ns += frame_ns;
    while (*due_ns <= finish_ns) {
        *due_ns += frame_ns;
        slice.late_frames++;
    }
}

/* Times `runs` runs, or fewer (at least one) once `limit_ns` has passed. */
static void timed_runs(void *feed, size_t runs, int64_t limit_ns) {
    int64_t frame_ns = options.fps > 0 ? (int64_t)(1e9 / options.fps) : 0;
    slice.run_ns = need(runs * sizeof *slice.run_ns);
    slice.runs = 0;
    slice.late_frames = 0;
    int64_t cpu_before = process_cpu_ns();
    slice.begin_ns = monotonic_ns();
    int64_t end = limit_ns < 0 ? INT64_MAX : slice.begin_ns + limit_ns;
    int64_t due = slice.begin_ns + frame_ns;
    while (slice.runs < runs) {
        if (frame_ns > 0) sleep_until(due);
        int64_t begin = monotonic_ns();
        engine.run(feed);
        int64_t finish = monotonic_ns();
        slice.run_ns[slice.runs++] = finish - begin;
        if (finish >= end) break;
        if (frame_ns > 0) next_frame(&due, finish, frame_ns);
    }
    slice.end_ns = monotonic_ns();
    slice.cpu_ns = process_cpu_ns() - cpu_before;
}

static void wait_until_pool_sleeps(void) {
    for (int step = 0; step < POOL_SLEEP_STEPS; step++) {
        int64_t before = process_cpu_ns();
        sleep_until(monotonic_ns() + POOL_SLEEP_STEP_NS);
        if (process_cpu_ns() - before < POOL_SLEEP_STEP_NS / 5) return;
    }
}

/* One slice: wake up, time, let the thread pool fall asleep, report. */
static void measure(void *feed, size_t runs, int64_t limit_ns, size_t wake_runs) {
    for (size_t i = 0; i < wake_runs; i++) engine.run(feed);
    watch_begin();
    timed_runs(feed, runs, limit_ns);
    watch_end();
    if (options.threads > 1) wait_until_pool_sleeps();
    Text line = {0};
    put(&line, "{\"event\":\"slice\",\"run_ns\":[");
    for (size_t i = 0; i < slice.runs; i++) put(&line, "%s%lld", i ? "," : "", (long long)slice.run_ns[i]);
    put(&line, "],\"cpu_ns\":%lld,\"peak_rss_bytes\":%lld", (long long)slice.cpu_ns,
        (long long)status_bytes("VmHWM:"));
    put(&line, ",\"begin_ns\":%lld,\"end_ns\":%lld", (long long)slice.begin_ns, (long long)slice.end_ns);
    if (options.fps > 0) put(&line, ",\"late_frames\":%lld", (long long)slice.late_frames);
    if (options.system != NULL) put_decisions(&line, slice.runs);
    put(&line, "}");
    say(&line);
    say_watched("slice", slice.begin_ns, slice.end_ns);
    free(line.bytes);
    free(slice.run_ns);
}

static void idle(int64_t idle_ns) {
    if (!watching()) refuse("request", "an idle window needs --watch");
    watch_begin();
    int64_t begin = monotonic_ns();
    sleep_until(begin + idle_ns);
    int64_t end = monotonic_ns();
    watch_end();
    say_watched("idle", begin, end);
}

static double request_number(const Member *members, int count, const char *name, double otherwise) {
    const Member *found = member(members, count, name);
    if (found == NULL) return otherwise;
    double number = found->numbers[0];
    if (found->count != 1 || !(number >= 0 && number <= 1e17))
        refuse("request", "invalid request: '%s' is out of range", name);
    return number;
}

static void serve_request(void *feed, const char *line, int64_t typical_ns) {
    Member given[8];
    int count = read_object(line, given, 8);
    if (count < 0) refuse("request", "invalid request: '%.100s'", line);
    if (member(given, count, "idle_ns") != NULL) {
        idle((int64_t)request_number(given, count, "idle_ns", 0));
        return;
    }
    int64_t limit_ns = (int64_t)request_number(given, count, "slice_ns", -1);
    double wanted = request_number(given, count, "runs", -1);
    if (wanted < 0 && limit_ns < 0)
        refuse("request", "invalid request: '%.100s' has neither runs nor slice_ns", line);
    if (wanted >= 0 && wanted < 1) refuse("request", "a slice needs at least one run");
    if (wanted < 0) wanted = 4 * (double)limit_ns / (double)typical_ns + 1000;
    if (wanted > MAX_RUNS_A_SLICE) wanted = MAX_RUNS_A_SLICE;
    double wake_runs = request_number(given, count, "wake_runs", WAKE_RUNS);
    measure(feed, (size_t)wanted, limit_ns, (size_t)wake_runs);
}

/* One slice per request line, until the input ends. */
static void serve(void *feed, int64_t typical_ns) {
    static char line[8192];
    size_t used = 0;
    for (;;) {
        ssize_t got = read(0, line + used, sizeof line - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return; /* the parent has gone or is done: an unfinished line is not a request */
        used += (size_t)got;
        line[used] = 0;
        for (char *end; (end = strchr(line, '\n')) != NULL;) {
            *end = 0;
            if (line[strspn(line, " \t\r")] != 0) serve_request(feed, line, typical_ns);
            used -= (size_t)(end + 1 - line);
            memmove(line, end + 1, used + 1);
        }
        if (used == sizeof line - 1) refuse("request", "invalid request: '%.100s' does not end", line);
    }
}

/* ---- scores ---- */

static void put_output(Text *line, const Output *output) {
    const Tensor *tensor = &output->tensor;
    for (size_t i = 0; i < output->elements; i++) {
        double value = element_value(output->data, i, tensor->element);
        if (tensor->quantised) value = ((float)value - (float)tensor->zero_point) * (float)tensor->scale;
        put(line, "%s", i ? "," : "");
        put_number(line, (float)value);
    }
}

static void put_row(Text *line) {
    for (size_t i = 0; i < engine.kept_count; i++) {
        put(line, "%s", i ? "," : "");
        put_output(line, &engine.kept[i]);
    }
}

/* Name and shape of each output in a row; a shape that the graph leaves open is the number of elements. */
static void put_tensors(Text *line) {
    for (size_t i = 0; i < engine.kept_count; i++) {
        const Output *output = &engine.kept[i];
        Tensor tensor = output->tensor;
        bool open = false;
        for (int axis = 0; axis < tensor.rank; axis++) open = open || tensor.shape[axis] < 0;
        if (open || tensor_elements(&tensor) != output->elements) {
            tensor.rank = 1;
            tensor.shape[0] = (int64_t)output->elements;
        }
        put(line, "%s{\"name\":", i ? "," : "");
        put_string(line, tensor.name);
        put(line, ",\"shape\":[");
        for (int axis = 0; axis < tensor.rank; axis++)
            put(line, "%s%lld", axis ? "," : "", (long long)tensor.shape[axis]);
        put(line, "]}");
    }
}

static size_t series_samples;

/* Scores every sample once; only the runs themselves count as invoke time. */
static void score(void) {
    bool is_series = options.system != NULL;
    if (!is_series && !is_given_samples()) refuse("usage", "scoring needs --samples and --normalise");
    Samples samples = {.count = series_samples};
    Feed feed = {0};
    if (!is_series) {
        samples = open_samples(options.samples, &engine.input);
        feed = image_feed(&engine.input, options.normalise);
    }
    Engine *whole = chosen, *end = is_series ? end_of_series() : chosen;
    Text line = {0}, rows = {0};
    int64_t invoke_ns = 0, started = monotonic_ns();
    size_t reported = 0; /* rows */
    for (size_t i = 0; i < samples.count; i++) {
        if (is_series) feed_series(i);
        else fill(&feed, samples.pixels + i * samples.bytes);
        int64_t begin = monotonic_ns();
        engine.run(feed.buffer);
        invoke_ns += monotonic_ns() - begin;
        put(&rows, "%s[", i == reported ? "" : ",");
        chosen = end;
        put_row(&rows);
        chosen = whole;
        put(&rows, "]");
        if (i + 1 - reported < ROWS_A_LINE && i + 1 < samples.count) continue;
        put(&line, "{\"event\":\"outputs\",\"first\":%zu,\"rows\":[%s]}", reported, rows.bytes);
        say(&line);
        reported = i + 1;
        rows.used = 0;
    }
    put(&line, "{\"event\":\"scored\",\"n\":%zu,\"invoke_ns\":%lld,\"pass_ns\":%lld,\"outputs\":[",
        samples.count, (long long)invoke_ns, (long long)(monotonic_ns() - started));
    chosen = end;
    put_tensors(&line);
    chosen = whole;
    put(&line, "]}");
    say(&line);
}

static int earlier(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

/* At least --warmup-runs untimed runs over at least --warmup-ns; returns how many and their median time. */
static size_t warm_up(void *feed, int64_t *median_ns) {
    static int64_t times[MAX_WARMUP_RUNS];
    size_t done = 0;
    int64_t end = monotonic_ns() + options.warmup_ns;
    while (done < MAX_WARMUP_RUNS) {
        int64_t begin = monotonic_ns();
        if (done >= (size_t)options.warmup_runs && begin >= end) break;
        engine.run(feed);
        times[done++] = monotonic_ns() - begin;
    }
    qsort(times, done, sizeof *times, earlier);
    if (done > 0) *median_ns = times[done / 2];
    if (*median_ns < 1) *median_ns = 1;
    return done;
}

int main(int count, char **arguments) {
    /* What libraries print to standard output goes to standard error instead. */
    int answers = dup(1);
    dup2(2, 1);
    answer_on(answers);
    read_command_line(count, arguments);
    if (options.affinity != NULL) pin(options.affinity); /* first: threads inherit it */
    if (options.system == NULL) open_runtime(options.runtime, options.library);
    int64_t before_load_bytes = status_bytes("VmRSS:");
    struct stat about;
    if (stat(options.artifact, &about) != 0 || !S_ISREG(about.st_mode))
        refuse("model", "there is no model file %s", options.artifact);
    int64_t begin = monotonic_ns();
    if (options.system != NULL && strcmp(options.mode, "score") == 0)
        series_samples = load_series(options.system, (int)options.threads);
    else if (options.system != NULL) load_system(options.system, (int)options.threads, options.index);
    else engine.load(options.artifact, (int)options.threads, options.provider);
    int64_t load_ns = monotonic_ns() - begin;
    Feed feed = make_feed();
    begin = monotonic_ns();
    engine.run(feed.buffer);
    int64_t first_ns = monotonic_ns() - begin, typical_ns = first_ns;
    size_t warmup_runs = warm_up(feed.buffer, &typical_ns);
    say_loaded(before_load_bytes, load_ns, first_ns, warmup_runs);
    if (strcmp(options.mode, "time") == 0) measure(feed.buffer, (size_t)options.runs, -1, WAKE_RUNS);
    else if (strcmp(options.mode, "serve") == 0) serve(feed.buffer, typical_ns);
    else score();
    _exit(0); /* not exit(): the destructors of a runtime may wait for threads that never end */
}
