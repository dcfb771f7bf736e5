/* ONNX Runtime through its C API: a table of functions that is only ever appended to, so slot numbers do.
 *
 * One timed run wraps the input in a tensor, further inputs being zeros, computes and copies what is kept.
 * Execution is sequential; with several threads, spinning is off, as in the Python worker. */
#include "runner.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ort_slots.h"

#define API_VERSION 12 /* the first that holds all the slots used */
#define LOG_ERRORS 3
#define OPTIMIZE_ALL 99
#define SEQUENTIAL 0
#define ARENA_ALLOCATOR 1
#define DEFAULT_MEMORY 0
#define CPU "CPUExecutionProvider"
#define SUFFIX "ExecutionProvider"

/* A function returns NULL, or a status that holds an error message. */
typedef void *Status;
#define FUNCTIONS(F)                                                                                         \
    F(const char *, GetErrorMessage, (Status))                                                               \
    F(Status, CreateEnv, (int severity, const char *name, void **environment))                               \
    F(Status, CreateSessionOptions, (void **options))                                                        \
    F(Status, SetSessionExecutionMode, (void *options, int mode))                                            \
    F(Status, SetSessionLogSeverityLevel, (void *options, int severity))                                     \
    F(Status, SetSessionGraphOptimizationLevel, (void *options, int level))                                  \
    F(Status, SetIntraOpNumThreads, (void *options, int threads))                                            \
    F(Status, SetInterOpNumThreads, (void *options, int threads))                                            \
    F(Status, AddSessionConfigEntry, (void *options, const char *key, const char *value))                    \
    F(Status, AddFreeDimensionOverrideByName, (void *options, const char *name, int64_t length))             \
    F(Status, SessionOptionsAppendExecutionProvider,                                                         \
      (void *options, const char *name, const char *const *keys, const char *const *values, size_t count))   \
    F(Status, GetAvailableProviders, (char ***names, int *count))                                            \
    F(Status, CreateSession, (void *environment, const char *path, void *options, void **session))           \
    F(Status, SessionGetInputCount, (void *session, size_t *count))                                          \
    F(Status, SessionGetOutputCount, (void *session, size_t *count))                                         \
    F(Status, SessionGetInputName, (void *session, size_t index, void *allocator, char **name))              \
    F(Status, SessionGetOutputName, (void *session, size_t index, void *allocator, char **name))             \
    F(Status, SessionGetInputTypeInfo, (void *session, size_t index, void **info))                           \
    F(Status, SessionGetOutputTypeInfo, (void *session, size_t index, void **info))                          \
    F(Status, CastTypeInfoToTensorInfo, (void *info, const void **tensor))                                   \
    F(Status, GetTensorElementType, (const void *tensor, int *type))                                         \
    F(Status, GetDimensionsCount, (const void *tensor, size_t *count))                                       \
    F(Status, GetDimensions, (const void *tensor, int64_t *sizes, size_t count))                             \
    F(Status, GetAllocatorWithDefaultOptions, (void **allocator))                                            \
    F(Status, CreateCpuMemoryInfo, (int allocator, int memory, void **info))                                 \
    F(Status, CreateTensorWithDataAsOrtValue,                                                                \
      (void *memory, void *data, size_t bytes, const int64_t *shape, size_t rank, int type, void **value))   \
    F(Status, Run,                                                                                           \
      (void *session, void *options, const char *const *input_names, void *const *inputs,                    \
       size_t input_count, const char *const *output_names, size_t output_count, void **outputs))            \
    F(Status, GetTensorMutableData, (void *value, void **data))                                              \
    F(Status, GetTensorTypeAndShape, (void *value, void **info))                                             \
    F(Status, GetTensorShapeElementCount, (const void *info, size_t *count))                                 \
    F(void, ReleaseTensorTypeAndShapeInfo, (void *info))                                                     \
    F(void, ReleaseTypeInfo, (void *info))                                                                   \
    F(void, ReleaseValue, (void *value))

static struct { FUNCTIONS(FIELD) } ort;
static void *environment, *memory;
static struct {
    void *session, *inputs[MAX_INPUTS]; /* all inputs but the first are made once, of zeros */
    char *input_names[MAX_INPUTS], *output_names[MAX_OUTPUTS];
    size_t outputs;
    int input_type;
} states[MOST_ENGINES];

/* ONNXTensorElementDataType */
static const Element elements[] = {OTHER, F32, U8, I8, U16, I16, I32, I64, OTHER, BOOL, F16, F64};
static const int element_count = sizeof elements / sizeof *elements;

static void check(const char *stage, Status status) {
    if (status != NULL) refuse(stage, "onnxruntime: %s", ort.GetErrorMessage(status));
}

static void describe(void *info, Tensor *tensor, int *type) {
    const void *shape;
    size_t rank;
    check("model", ort.CastTypeInfoToTensorInfo(info, &shape));
    if (shape == NULL) refuse("model", "the graph's '%s' is not a tensor", tensor->name);
    check("model", ort.GetTensorElementType(shape, type));
    tensor->element = *type >= 0 && *type < element_count ? elements[*type] : OTHER;
    check("model", ort.GetDimensionsCount(shape, &rank));
    if (rank > 8) refuse("model", "'%s' has %zu dimensions; the runner takes at most 8", tensor->name, rank);
    tensor->rank = (int)rank;
    check("model", ort.GetDimensions(shape, tensor->shape, rank));
    ort.ReleaseTypeInfo(info);
}

static bool is_available(const char *provider, Text *available) {
    char **names;
    int count;
    bool found = false;
    check("provider", ort.GetAvailableProviders(&names, &count));
    for (int i = 0; i < count; i++) {
        put(available, "%s%s", i ? ", " : "", names[i]);
        found = found || strcmp(names[i], provider) == 0;
    }
    return found;
}

static void add_provider(void *library, void *options, const char *provider, int threads) {
    Text available = {0};
    if (!is_available(provider, &available))
        refuse("provider", "%s is not in this onnxruntime; it has %s", provider, available.bytes);
    if (strcmp(provider, "NnapiExecutionProvider") == 0) { /* the general function does not accept it */
        Status (*add)(void *, uint32_t);
        *(void **)&add = symbol(library, "OrtSessionOptionsAppendExecutionProvider_Nnapi");
        check("provider", add(options, 0));
        return;
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(strlen(provider) - strlen(SUFFIX)), provider);
    bool xnnpack = strcmp(name, "Xnnpack") == 0;
    char text[16];
    snprintf(text, sizeof text, "%d", threads);
    const char *keys[] = {"intra_op_num_threads"}, *values[] = {text};
    const char *short_name = xnnpack ? "XNNPACK" : name;
    check("provider", ort.SessionOptionsAppendExecutionProvider(options, short_name, keys, values, xnnpack));
}

/* Tells the session what the free lengths with a name are, from a list such as "N=1,H=80". */
static void set_dimensions(void *options) {
    for (const char *at = engine.dimensions; at != NULL; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char name[256], *end;
        size_t letters = strcspn(at, "=");
        snprintf(name, sizeof name, "%.*s", (int)letters, at);
        long long length = at[letters] == '=' ? strtoll(at + letters + 1, &end, 10) : 0;
        if (letters >= sizeof name || length < 1 || (*end != ',' && *end != 0))
            refuse("usage", "bad command line: --dimensions is not a list of lengths: '%.100s'", at);
        check("model", ort.AddFreeDimensionOverrideByName(options, name, length));
    }
}

static void *wrapped(const Tensor *tensor, void *data, int type) {
    size_t bytes = tensor_elements(tensor) * element_bytes(tensor->element), rank = (size_t)tensor->rank;
    void *value;
    check("run", ort.CreateTensorWithDataAsOrtValue(memory, data, bytes, tensor->shape, rank, type, &value));
    return value;
}

static void take_inputs(void *allocator) {
    for (size_t i = 0; i < engine.inputs; i++) {
        Tensor tensor = {0};
        void *info;
        int type;
        check("model", ort.SessionGetInputName(own.session, i, allocator, &own.input_names[i]));
        snprintf(tensor.name, sizeof tensor.name, "%s", own.input_names[i]);
        check("model", ort.SessionGetInputTypeInfo(own.session, i, &info));
        describe(info, &tensor, &type);
        settle_input(i, &tensor);
        if (i == 0) {
            engine.input = tensor;
            own.input_type = type;
        } else {
            size_t bytes = tensor_elements(&tensor) * element_bytes(tensor.element);
            own.inputs[i] = wrapped(&tensor, need(bytes), type);
        }
    }
}

static void *library_opened;

static void load(const char *artifact, int threads, const char *provider) {
    void *options, *info, *allocator;
    size_t count;
    int output_type;
    check("model", ort.CreateSessionOptions(&options));
    check("model", ort.SetSessionExecutionMode(options, SEQUENTIAL));
    check("model", ort.SetSessionLogSeverityLevel(options, LOG_ERRORS));
    check("model", ort.SetSessionGraphOptimizationLevel(options, OPTIMIZE_ALL));
    check("model", ort.SetIntraOpNumThreads(options, threads));
    check("model", ort.SetInterOpNumThreads(options, 1));
    set_dimensions(options);
    engine.graph_optimization = true;
    if (threads > 1) {
        check("model", ort.AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
        engine.spinning_off = true;
    }
    bool other = provider != NULL && strcmp(provider, CPU) != 0;
    if (other) add_provider(library_opened, options, provider, threads);
    snprintf(engine.providers, sizeof engine.providers, "%s%.60s%s\"" CPU "\"", other ? "\"" : "",
             other ? provider : "", other ? "\"," : "");
    check("model", ort.CreateSession(environment, artifact, options, &own.session));

    check("model", ort.GetAllocatorWithDefaultOptions(&allocator));
    check("model", ort.CreateCpuMemoryInfo(ARENA_ALLOCATOR, DEFAULT_MEMORY, &memory));
    check("model", ort.SessionGetInputCount(own.session, &count));
    check("model", ort.SessionGetOutputCount(own.session, &own.outputs));
    check_counts(count, own.outputs);
    take_inputs(allocator);
    for (size_t i = 0; i < own.outputs; i++)
        check("model", ort.SessionGetOutputName(own.session, i, allocator, &own.output_names[i]));
    check_kept(own.outputs);
    for (size_t i = 0; i < engine.kept_count; i++) {
        Output *output = &engine.kept[i];
        snprintf(output->tensor.name, sizeof output->tensor.name, "%s", own.output_names[output->place]);
        check("model", ort.SessionGetOutputTypeInfo(own.session, output->place, &info));
        describe(info, &output->tensor, &output_type);
        refuse_other(output);
    }
}

static void run(void *feed) {
    void *info, *data, *made[MAX_OUTPUTS] = {0};
    size_t count;
    own.inputs[0] = wrapped(&engine.input, feed, own.input_type);
    check("run", ort.Run(own.session, NULL, (const char *const *)own.input_names, own.inputs, engine.inputs,
                         (const char *const *)own.output_names, own.outputs, made));
    for (size_t i = 0; i < engine.kept_count; i++) {
        void *value = made[engine.kept[i].place];
        check("run", ort.GetTensorTypeAndShape(value, &info));
        check("run", ort.GetTensorShapeElementCount(info, &count));
        check("run", ort.GetTensorMutableData(value, &data));
        keep(&engine.kept[i], data, count);
        ort.ReleaseTensorTypeAndShapeInfo(info);
    }
    for (size_t i = 0; i < own.outputs; i++) ort.ReleaseValue(made[i]);
    ort.ReleaseValue(own.inputs[0]);
}

void open_onnxruntime(void *library) {
    typedef struct {
        void *const *(*GetApi)(uint32_t version);
        const char *(*GetVersionString)(void);
    } Base;
    const Base *(*get_base)(void);
    *(void **)&get_base = symbol(library, "OrtGetApiBase");
    const Base *base = get_base();
    snprintf(engine.version, sizeof engine.version, "%s", base->GetVersionString());
    void *const *table = base->GetApi(API_VERSION);
    if (table == NULL)
        refuse("library", "onnxruntime %s is too old: it lacks C API %d", engine.version, API_VERSION);
#define TAKE(result, name, arguments) *(void **)&ort.name = table[SLOT_##name];
    FUNCTIONS(TAKE)
    if (environment == NULL) check("library", ort.CreateEnv(LOG_ERRORS, "swapbench", &environment));
    library_opened = library;
    engine.runtime = "onnxruntime";
    snprintf(engine.api, sizeof engine.api, "c-api-%d", API_VERSION);
    engine.delegated_nodes = engine.nodes = -1;
    engine.load = load;
    engine.run = run;
}
