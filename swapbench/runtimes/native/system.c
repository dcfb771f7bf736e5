/* A whole system in this process: its files loaded together, decisions about presentations timed.
 *
 * The job is a text of lines, a word and its values; swapbench/bench/decision_jobs.py writes it and
 * swapbench/systems/stepwise.py says the same steps in Python. One timed run is one decision about the next
 * presentation that this process holds; the crops of its frames lie in buffers before the clock starts. */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_FRAMES 1000
#define MOST_CLASSES 16
#define MOST_LOGIT 36.0
#define BUFFERS_BYTES (64u << 20)
#define FEWEST 8
#define LOGGED 4096 /* decisions; a longer slice, as of an energy window, does not tell its own */

typedef struct {
    const char *runtime, *library, *artifact, *samples, *normalise, *shapes, *dimensions, *kind, *reduce;
    size_t place, classes[MOST_CLASSES], class_count;
    int64_t reads; /* place of the output of the member before it, -1 for one that takes a crop */
    double sign, weight, threshold;
    Engine *loaded;
    Samples crops;
    void **buffers; /* an input for each frame of each presentation held */
} File;

typedef struct {
    size_t *rows, count, first; /* frames, and the first of their buffers */
} Presentation;

static struct {
    const char *rule, *frame_rule;
    double margin, threshold, vote, low, high, slope, offset;
    File files[MOST_MEMBERS];
    size_t file_count;
    Presentation *presentations;
    size_t presentation_count;
} job = {.rule = "mean", .frame_rule = "mean", .vote = 0.5};

static size_t held_from, held_count, turn, most_frames = 1;
static int32_t (*decided)[2 + MOST_MEMBERS]; /* number, accepted, inferences of each member */
static size_t decided_count;

/* ---- the job ---- */

static double number_of(const char *text) {
    char *end;
    double number = strtod(text, &end);
    if (end == text) refuse("usage", "the job has '%.60s' where a number is needed", text);
    return number;
}

static size_t place_of(const char *text) {
    double number = number_of(text);
    if (!(number >= 0 && number < 1e9)) refuse("usage", "the job has '%.60s' where a place is needed", text);
    return (size_t)number;
}

static void take_classes(File *file, char *text) {
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        if (file->class_count == MOST_CLASSES) refuse("usage", "the job lists too many classes");
        file->classes[file->class_count++] = place_of(word);
    }
}

static void take_presentation(char *text) {
    static size_t room;
    if (job.presentation_count == room) {
        room = 2 * room + 64;
        job.presentations = realloc(job.presentations, room * sizeof *job.presentations);
        if (job.presentations == NULL) refuse("memory", "out of memory: the job has too many presentations");
    }
    Presentation one = {need((strlen(text) / 2 + 1) * sizeof *one.rows), 0, 0};
    for (char *word = strtok(text, " "); word != NULL && one.count < MOST_FRAMES; word = strtok(NULL, " "))
        one.rows[one.count++] = place_of(word);
    if (one.count > most_frames) most_frames = one.count;
    if (one.count > 0) job.presentations[job.presentation_count++] = one;
}

static void take_line(char *word, char *rest) {
    File *file = job.file_count ? &job.files[job.file_count - 1] : NULL;
    if (strcmp(word, "file") == 0) {
        if (job.file_count == MOST_MEMBERS) refuse("usage", "the job has more than %d files", MOST_MEMBERS);
        job.files[job.file_count++] = (File){.artifact = rest, .reads = -1, .sign = 1, .weight = 1};
        return;
    }
    const struct {
        const char *word, **text;
        double *number;
    } of_system[] = {
        {"rule", &job.rule, NULL},         {"frames", &job.frame_rule, NULL}, {"margin", NULL, &job.margin},
        {"threshold", NULL, &job.threshold}, {"vote", NULL, &job.vote},       {"low", NULL, &job.low},
        {"high", NULL, &job.high},         {"slope", NULL, &job.slope},       {"offset", NULL, &job.offset},
    };
    if (file == NULL) {
        for (size_t i = 0; i < sizeof of_system / sizeof *of_system; i++) {
            if (strcmp(word, of_system[i].word) != 0) continue;
            if (of_system[i].text != NULL) *of_system[i].text = rest;
            else *of_system[i].number = number_of(rest);
            return;
        }
        refuse("usage", "the job has an unknown word '%.60s'", word);
    }
    const struct {
        const char *word, **text;
    } texts[] = {
        {"runtime", &file->runtime},       {"library", &file->library}, {"samples", &file->samples},
        {"normalise", &file->normalise},   {"shapes", &file->shapes},   {"kind", &file->kind},
        {"dimensions", &file->dimensions}, {"reduce", &file->reduce},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(word, texts[i].word) != 0) continue;
        *texts[i].text = rest;
        return;
    }
    if (strcmp(word, "place") == 0) file->place = place_of(rest);
    else if (strcmp(word, "reads") == 0) file->reads = (int64_t)place_of(rest);
    else if (strcmp(word, "classes") == 0) take_classes(file, rest);
    else if (strcmp(word, "sign") == 0) file->sign = number_of(rest);
    else if (strcmp(word, "weight") == 0) file->weight = number_of(rest);
    else if (strcmp(word, "alone") == 0) file->threshold = number_of(rest);
    else if (strcmp(word, "presentation") == 0) take_presentation(rest);
    else refuse("usage", "the job has an unknown word '%.60s'", word);
}

static void read_job(const char *path) {
    int from = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (from < 0 || fstat(from, &about) != 0)
        refuse("usage", "cannot read the job %s: %s", path, strerror(errno));
    size_t size = (size_t)about.st_size, got = 0;
    char *text = need(size + 1); /* kept: the job points into it */
    while (got < size) {
        ssize_t more = read(from, text + got, size - got);
        if (more <= 0) refuse("usage", "cannot read the job %s", path);
        got += (size_t)more;
    }
    close(from);
    for (char *line = text, *end; line != NULL && *line != 0; line = end) {
        end = strchr(line, '\n');
        if (end != NULL) *end++ = 0;
        char *rest = strchr(line, ' ');
        if (rest == NULL) refuse("usage", "the job has a word without a value: '%.60s'", line);
        *rest++ = 0;
        take_line(line, rest);
    }
    if (job.file_count == 0 || job.presentation_count == 0)
        refuse("usage", "the job %s has no files or no presentations", path);
}

/* ---- loading ---- */

static void check_handed_over(const File *file, const File *next) {
    const Tensor *input = &next->loaded->input, *given = &file->loaded->kept[1].tensor;
    if (given->element != F32 || input->element != F32)
        refuse("model", "%s reads an output that is not float32", next->artifact);
    bool alike = given->rank == input->rank;
    for (int i = 0; alike && i < input->rank; i++)
        alike = given->shape[i] == input->shape[i] || given->shape[i] < 1;
    if (!alike) refuse("model", "the output that %s reads has another shape than its input", next->artifact);
}

static void load_file(size_t number, int threads) {
    File *file = &job.files[number], *next = number + 1 < job.file_count ? file + 1 : NULL;
    if (file->runtime == NULL || file->library == NULL || file->kind == NULL)
        refuse("usage", "the job does not say what runs %s, or what it returns", file->artifact);
    chosen = file->loaded = &engines[1 + number];
    engine.shapes = file->shapes;
    engine.dimensions = file->dimensions;
    engine.kept[0].place = file->place;
    engine.kept_count = 1;
    if (next != NULL && next->reads >= 0) engine.kept[engine.kept_count++].place = (size_t)next->reads;
    open_runtime(file->runtime, file->library);
    engine.load(file->artifact, threads, NULL);
    if (file->reads < 0) {
        if (file->samples == NULL || file->normalise == NULL)
            refuse("usage", "the job has no samples for %s", file->artifact);
        file->crops = open_samples(file->samples, &engine.input);
    } else if (number == 0) {
        refuse("usage", "the first file of the job reads the one before it");
    } else {
        check_handed_over(file - 1, file);
    }
}

static size_t input_bytes(const File *file) {
    return tensor_elements(&file->loaded->input) * element_bytes(file->loaded->input.element);
}

/* Makes an input for every frame of the presentations that this process is to decide about. */
static void hold(int64_t turn_of_process) {
    size_t bytes = 0, count, frames = 0;
    for (size_t i = 0; i < job.file_count; i++) bytes += most_frames * input_bytes(&job.files[i]);
    count = BUFFERS_BYTES / bytes < FEWEST ? FEWEST : BUFFERS_BYTES / bytes;
    held_count = count < job.presentation_count ? count : job.presentation_count;
    held_from = (size_t)turn_of_process * held_count % job.presentation_count;
    for (size_t i = 0; i < held_count; i++) {
        Presentation *one = &job.presentations[(held_from + i) % job.presentation_count];
        one->first = frames;
        frames += one->count;
    }
    for (size_t number = 0; number < job.file_count; number++) {
        File *file = &job.files[number];
        chosen = file->loaded;
        file->buffers = need(frames * sizeof *file->buffers);
        Feed feed = {0};
        if (file->reads < 0) feed = image_feed(&engine.input, file->normalise);
        for (size_t i = 0; i < held_count; i++) {
            const Presentation *one = &job.presentations[(held_from + i) % job.presentation_count];
            for (size_t frame = 0; frame < one->count; frame++) {
                void *buffer = file->buffers[one->first + frame] = need(input_bytes(file));
                if (file->reads >= 0) continue;
                if (one->rows[frame] >= file->crops.count)
                    refuse("samples", "the job names crop %zu of %s, which has %zu", one->rows[frame],
                           file->samples, file->crops.count);
                feed.buffer = buffer;
                fill(&feed, file->crops.pixels + one->rows[frame] * file->crops.bytes);
            }
        }
    }
}

/* ---- one decision ---- */

static double real_number(const Output *output, size_t place) {
    double value = element_value(output->data, place, output->tensor.element);
    if (!output->tensor.quantised) return (float)value;
    return ((float)value - (float)output->tensor.zero_point) * (float)output->tensor.scale;
}

static double softmax(const File *file, const Output *output) {
    double highest = real_number(output, 0), all = 0, wanted = 0;
    for (size_t i = 1; i < output->elements; i++) highest = fmax(highest, real_number(output, i));
    for (size_t i = 0; i < output->elements; i++) all += exp(real_number(output, i) - highest);
    for (size_t i = 0; i < file->class_count; i++)
        wanted += exp(real_number(output, file->classes[i]) - highest);
    return wanted / all;
}

static double reduced(const File *file, const Output *output) {
    double value = real_number(output, 0);
    for (size_t i = 1; i < output->elements; i++) {
        double number = real_number(output, i);
        if (strcmp(file->reduce, "max") == 0) value = fmax(value, number);
        else if (strcmp(file->reduce, "min") == 0) value = fmin(value, number);
        else value += number;
    }
    return strcmp(file->reduce, "mean") == 0 ? value / (double)output->elements : value;
}

static double score_of(const File *file, const Output *output) {
    for (size_t i = 0; i < file->class_count; i++)
        if (file->classes[i] >= output->elements)
            refuse("run", "%s has no class %zu", file->artifact, file->classes[i]);
    if (strcmp(file->kind, "logits") == 0) return softmax(file, output);
    if (strcmp(file->kind, "map") == 0) return file->sign * reduced(file, output);
    if (strcmp(file->kind, "score") == 0) return file->sign * real_number(output, 0);
    if (strcmp(file->kind, "sigmoid") == 0)
        return 1 / (1 + exp(fmin(-file->sign * real_number(output, 0), 700.0)));
    if (strcmp(file->kind, "probabilities") != 0)
        refuse("usage", "an output of kind '%.40s' cannot be timed in a system", file->kind);
    double sum = 0;
    for (size_t i = 0; i < file->class_count; i++) sum += real_number(output, file->classes[i]);
    return sum;
}

/* Runs a file on a frame; what the next one reads is copied into its input. */
static void run_file(size_t number, size_t buffer) {
    File *file = &job.files[number];
    chosen = file->loaded;
    engine.run(file->buffers[buffer]);
    if (engine.kept_count > 1) {
        const Output *given = &engine.kept[1];
        if (given->elements * sizeof(float) != input_bytes(file + 1))
            refuse("run", "the output that %s reads has another size than its input", file[1].artifact);
        memcpy(file[1].buffers[buffer], given->data, given->elements * sizeof(float));
    }
}

static double ask(size_t number, size_t buffer) {
    run_file(number, buffer);
    return score_of(&job.files[number], &engine.kept[0]);
}

static double logit(double score) {
    if (score <= 0) return -MOST_LOGIT;
    if (score >= 1) return MOST_LOGIT;
    return fmax(-MOST_LOGIT, fmin(MOST_LOGIT, log(score) - log1p(-score)));
}

static int ascending(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double over_frames(double *scores, size_t count) {
    double sum = 0;
    if (strcmp(job.frame_rule, "median") == 0) {
        qsort(scores, count, sizeof *scores, ascending);
        return count % 2 ? scores[count / 2] : (scores[count / 2 - 1] + scores[count / 2]) / 2;
    }
    bool is_vote = strcmp(job.frame_rule, "vote") == 0;
    for (size_t i = 0; i < count; i++) sum += is_vote ? scores[i] >= job.vote : scores[i];
    return sum / (double)count;
}

/* One score of a frame from all files that have a weight. */
static double fused(size_t buffer) {
    double total = 0, value = 0, scores[MOST_MEMBERS];
    bool is_first = true;
    for (size_t i = 0; i < job.file_count; i++) {
        if (!(job.files[i].weight > 0)) continue;
        scores[i] = ask(i, buffer);
        total += job.files[i].weight;
    }
    if (job.file_count == 1) return scores[0];
    if (strcmp(job.rule, "product") == 0) value = 1;
    for (size_t i = 0; i < job.file_count; i++) {
        double share = job.files[i].weight / total;
        if (!(share > 0)) continue;
        if (strcmp(job.rule, "maximum") == 0) value = is_first ? scores[i] : fmax(value, scores[i]);
        else if (strcmp(job.rule, "product") == 0) value *= pow(scores[i], share);
        else value += share * (strcmp(job.rule, "logits") == 0 ? logit(scores[i]) : scores[i]);
        is_first = false;
    }
    return value;
}

static bool cascade(const Presentation *one, int32_t *asked) {
    double scores[MOST_FRAMES], score = 0;
    for (size_t i = 0; i < job.file_count; i++) {
        for (size_t frame = 0; frame < one->count; frame++) scores[frame] = ask(i, one->first + frame);
        asked[i] = (int32_t)one->count;
        score = over_frames(scores, one->count) - job.files[i].threshold;
        if (!isinf(job.margin) && fabs(score) >= job.margin) break;
    }
    return score >= job.threshold;
}

static bool fusion(const Presentation *one, int32_t *asked) {
    double scores[MOST_FRAMES], total = 0;
    size_t frame = 0;
    bool is_sequential = strcmp(job.frame_rule, "sequential") == 0;
    while (frame < one->count) {
        double score = scores[frame] = fused(one->first + frame);
        frame++;
        total += job.slope * score + job.offset;
        if (is_sequential && (total <= job.low || total >= job.high)) break;
    }
    for (size_t i = 0; i < job.file_count; i++) asked[i] = job.files[i].weight > 0 ? (int32_t)frame : 0;
    return (is_sequential ? total : over_frames(scores, frame)) >= job.threshold;
}

static void decide(void *unused) {
    (void)unused;
    size_t number = (held_from + turn) % job.presentation_count;
    const Presentation *one = &job.presentations[number];
    int32_t *entry = decided[decided_count++ % LOGGED];
    memset(entry, 0, sizeof *decided);
    bool accepted = strcmp(job.rule, "cascade") == 0 ? cascade(one, entry + 2) : fusion(one, entry + 2);
    entry[0] = (int32_t)number;
    entry[1] = accepted;
    turn = (turn + 1) % held_count;
    chosen = engines;
}

/* ---- the whole as an engine ---- */

void load_system(const char *path, int threads, int64_t turn_of_process) {
    read_job(path);
    for (size_t i = 0; i < job.file_count; i++) load_file(i, threads);
    hold(turn_of_process);
    decided = need(LOGGED * sizeof *decided);
    chosen = engines;
    engine.runtime = "system";
    snprintf(engine.version, sizeof engine.version, "%s", "");
    snprintf(engine.api, sizeof engine.api, "system");
    snprintf(engine.providers, sizeof engine.providers, "%s", engines[1].providers);
    engine.delegated_nodes = engine.nodes = -1;
    engine.run = decide;
}

/* ---- parts of a network in series, to be scored ---- */

static void in_series(void *unused) {
    (void)unused;
    for (size_t i = 0; i < job.file_count; i++) run_file(i, job.presentations[held_from].first);
    chosen = engines;
}

size_t load_series(const char *path, int threads) {
    load_system(path, threads, 0);
    engine.run = in_series;
    return job.files[0].crops.count;
}

void feed_series(size_t sample) {
    const File *file = &job.files[0];
    chosen = file->loaded;
    Feed feed = image_feed(&engine.input, file->normalise);
    free(feed.buffer);
    feed.buffer = file->buffers[job.presentations[held_from].first];
    fill(&feed, file->crops.pixels + sample * file->crops.bytes);
    free(feed.table);
    chosen = engines;
}

Engine *end_of_series(void) { return job.files[job.file_count - 1].loaded; }

void put_decisions(Text *line, size_t runs) {
    if (runs > LOGGED) return;
    put(line, ",\"decisions\":[");
    for (size_t i = runs; i > 0; i--) {
        const int32_t *entry = decided[(decided_count - i) % LOGGED];
        put(line, "%s[%d,%d", i == runs ? "" : ",", entry[0], entry[1]);
        for (size_t file = 0; file < job.file_count; file++) put(line, ",%d", entry[2 + file]);
        put(line, "]");
    }
    put(line, "]");
}
