/* LiteRT through its own C API, CompiledModel (libLiteRt.so without TfLite*), as of 2.2.0; 2.1 is refused.
 *
 * The provider is xnnpack, gpu or npu. An accelerator lies beside the library and must take the whole graph:
 * LiteRT runs on the CPU what it leaves over, and does not tell how much that is.
 *
 * One timed run copies the input into a locked buffer, while those of further inputs hold zeros, runs the
 * compiled model and copies what is kept out of others. Places of inputs and outputs are the graph's, as for
 * the Python worker; a signature may order them otherwise. */
#include "runner.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define ON_CPU 1
#define ON_GPU 2
#define ON_NPU 4
/* LiteRtEnvOptionTag and LiteRtAnyType */
#define PLUGIN_FOLDER 0
#define DISPATCH_FOLDER 1
#define RUNTIME_FOLDER 22
#define REGISTERED 24
#define A_NUMBER 2
#define A_TEXT 8
#define TO_READ 0
#define TO_WRITE 1
#define QUANTISED_PER_TENSOR 1

/* LiteRtRankedTensorType, 72 bytes, part of the stable ABI */
typedef struct {
    uint32_t rank : 7, has_strides : 1;
    int32_t shape[8];
    uint32_t strides[8];
} Layout;

typedef struct {
    int element;
    Layout layout;
} Ranked;
_Static_assert(sizeof(Ranked) == 72, "LiteRtRankedTensorType is 72 bytes");

typedef struct {
    float scale;
    int64_t zero_point;
} Quantisation;

/* LiteRtEnvOption, 24 bytes, part of the stable ABI */
typedef struct {
    int tag;
    struct {
        int kind;
        union {
            int64_t number;
            const char *text;
        };
    } value;
} EnvironmentOption;
_Static_assert(sizeof(EnvironmentOption) == 24, "LiteRtEnvOption is 24 bytes");

typedef int Status;
#define FUNCTIONS(F)                                                                                         \
    F(Status, LiteRtCreateEnvironment, (int count, const void *options, void **environment))                 \
    F(Status, LiteRtGetNumAccelerators, (void *environment, size_t *count))                                  \
    F(Status, LiteRtGetAccelerator, (void *environment, size_t index, void **accelerator))                   \
    F(Status, LiteRtGetAcceleratorName, (void *accelerator, const char **name))                              \
    F(Status, LiteRtGetAcceleratorHardwareSupport, (void *accelerator, int *hardware))                       \
    F(Status, LiteRtCreateModelFromFile, (void *environment, const char *path, void **model))                \
    F(Status, LiteRtCreateOptions, (void **options))                                                         \
    F(Status, LiteRtSetOptionsHardwareAccelerators, (void *options, int accelerators))                       \
    F(Status, LiteRtCreateOpaqueOptions,                                                                     \
      (const char *name, void *payload, void (*release)(void *), void **opaque))                             \
    F(Status, LiteRtAddOpaqueOptions, (void *options, void *opaque))                                         \
    F(Status, LiteRtCreateCompiledModel, (void *environment, void *model, void *options, void **compiled))   \
    F(Status, LiteRtCompiledModelIsFullyAccelerated, (void *compiled, bool *fully))                          \
    F(Status, LiteRtCompiledModelResizeInputTensor,                                                          \
      (void *compiled, size_t signature, size_t index, const int *lengths, size_t rank))                     \
    F(Status, LiteRtGetCompiledModelOutputTensorLayouts,                                                     \
      (void *compiled, size_t signature, size_t count, Layout *layouts, bool update))                        \
    F(Status, LiteRtGetModelSignature, (void *model, size_t index, void **signature))                        \
    F(Status, LiteRtGetSignatureSubgraph, (void *signature, void **graph))                                   \
    F(Status, LiteRtGetNumSubgraphOps, (void *graph, size_t *count))                                         \
    F(Status, LiteRtGetSubgraphInput, (void *graph, size_t index, void **tensor))                            \
    F(Status, LiteRtGetSubgraphOutput, (void *graph, size_t index, void **tensor))                           \
    F(Status, LiteRtGetNumSignatureInputs, (void *signature, size_t *count))                                 \
    F(Status, LiteRtGetNumSignatureOutputs, (void *signature, size_t *count))                                \
    F(Status, LiteRtGetSignatureInputTensorByIndex, (void *signature, size_t index, void **tensor))          \
    F(Status, LiteRtGetSignatureOutputTensorByIndex, (void *signature, size_t index, void **tensor))         \
    F(Status, LiteRtGetTensorName, (void *tensor, const char **name))                                        \
    F(Status, LiteRtGetRankedTensorType, (void *tensor, Ranked *type))                                       \
    F(Status, LiteRtGetQuantizationTypeId, (void *tensor, int *kind))                                        \
    F(Status, LiteRtGetPerTensorQuantization, (void *tensor, Quantisation *quantisation))                    \
    F(Status, LiteRtGetCompiledModelInputBufferRequirements,                                                 \
      (void *compiled, size_t signature, size_t index, void **requirements))                                 \
    F(Status, LiteRtGetCompiledModelOutputBufferRequirements,                                                \
      (void *compiled, size_t signature, size_t index, void **requirements))                                 \
    F(Status, LiteRtCreateManagedTensorBufferFromRequirements,                                               \
      (void *environment, const Ranked *type, void *requirements, void **buffer))                            \
    F(Status, LiteRtLockTensorBuffer, (void *buffer, void **data, int mode))                                 \
    F(Status, LiteRtUnlockTensorBuffer, (void *buffer))                                                      \
    F(Status, LiteRtRunCompiledModel,                                                                        \
      (void *compiled, size_t signature, size_t inputs, void **input, size_t outputs, void **output))

static struct { FUNCTIONS(FIELD) } litert;
static Status (*fully_beyond_cpu)(void *compiled, bool *fully); /* NULL where a version lacks it */
static void *environment;
static struct {
    void *compiled, *input, *input_buffers[MAX_INPUTS], *buffers[MAX_OUTPUTS];
    size_t outputs, buffer_of[MAX_OUTPUTS], input_bytes; /* the buffer of each output that is kept */
} states[MOST_ENGINES];

/* LiteRtElementType, numbered as TfLiteType */
static const Element elements[] = {
    OTHER, F32, I32, U8, I64, OTHER, BOOL, I16, OTHER, I8, F16, F64, OTHER, OTHER, OTHER, OTHER, OTHER, U16,
};
static const int element_count = sizeof elements / sizeof *elements;

static void checked(const char *stage, const char *function, Status status) {
    if (status != 0) refuse(stage, "litert: %s failed with status %d", function, status);
}
#define CHECK(stage, name, ...) checked(stage, #name, litert.name(__VA_ARGS__))

static void take_layout(const Layout *layout, Tensor *tensor) {
    tensor->rank = layout->rank > 8 ? 8 : (int)layout->rank;
    for (int i = 0; i < tensor->rank; i++) tensor->shape[i] = layout->shape[i];
}

static Ranked describe(void *from, Tensor *tensor) {
    Ranked type = {0};
    const char *name = "";
    int kind = 0;
    CHECK("model", LiteRtGetTensorName, from, &name);
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    CHECK("model", LiteRtGetRankedTensorType, from, &type);
    tensor->element = type.element >= 0 && type.element < element_count ? elements[type.element] : OTHER;
    take_layout(&type.layout, tensor);
    CHECK("model", LiteRtGetQuantizationTypeId, from, &kind);
    if (kind == QUANTISED_PER_TENSOR) {
        Quantisation given = {0};
        CHECK("model", LiteRtGetPerTensorQuantization, from, &given);
        tensor->quantised = given.scale != 0;
        tensor->scale = given.scale;
        tensor->zero_point = given.zero_point;
    }
    return type;
}

/* The buffer of the input at a place in the signature, of the shape that it is to have, full of zeros. */
static void *take_input(size_t index, void *signature, void *graph) {
    void *tensor, *in_graph, *requirements, *buffer, *data;
    Tensor described = {0};
    size_t place = 0;
    CHECK("model", LiteRtGetSignatureInputTensorByIndex, signature, index, &tensor);
    for (size_t i = 0; i < engine.inputs; i++) {
        CHECK("model", LiteRtGetSubgraphInput, graph, i, &in_graph);
        if (in_graph == tensor) place = i;
    }
    Ranked type = describe(tensor, &described);
    settle_input(place, &described);
    bool is_as_stored = type.layout.rank == (uint32_t)described.rank;
    type.layout.rank = (uint32_t)described.rank & 127;
    for (int i = 0; i < described.rank; i++) {
        is_as_stored = is_as_stored && type.layout.shape[i] == described.shape[i];
        type.layout.shape[i] = (int32_t)described.shape[i];
    }
    if (!is_as_stored)
        CHECK("model", LiteRtCompiledModelResizeInputTensor, own.compiled, 0, index, type.layout.shape,
              type.layout.rank);
    CHECK("model", LiteRtGetCompiledModelInputBufferRequirements, own.compiled, 0, index, &requirements);
    CHECK("model", LiteRtCreateManagedTensorBufferFromRequirements, environment, &type, requirements,
          &buffer);
    size_t bytes = tensor_elements(&described) * element_bytes(described.element);
    CHECK("model", LiteRtLockTensorBuffer, buffer, &data, TO_WRITE);
    memset(data, 0, bytes);
    CHECK("model", LiteRtUnlockTensorBuffer, buffer);
    if (place == 0) {
        engine.input = described;
        own.input = buffer;
        own.input_bytes = bytes;
    }
    return buffer;
}

static void leave(void *payload) { (void)payload; }

static int hardware_of(const char *provider) {
    if (provider == NULL || strcmp(provider, "xnnpack") == 0) return ON_CPU;
    if (strcmp(provider, "gpu") == 0) return ON_GPU;
    if (strcmp(provider, "npu") == 0) return ON_NPU;
    refuse("provider", "unknown delegate '%s'; the delegates are xnnpack, gpu and npu", provider);
}

/* With accelerators of a kind of hardware registered, which are looked for beside the library; with all that
 * it finds by itself where a library does not know these options. */
static void make_environment(int hardware) {
    if (environment != NULL) return; /* of the engine before it, for the same hardware */
    const EnvironmentOption options[] = {
        {REGISTERED, {A_NUMBER, {.number = hardware | ON_CPU}}},
        {RUNTIME_FOLDER, {A_TEXT, {.text = engine.folder}}},
        {DISPATCH_FOLDER, {A_TEXT, {.text = engine.folder}}},
        {PLUGIN_FOLDER, {A_TEXT, {.text = engine.folder}}},
    };
    /* folders mean nothing to the CPU, and a plugin would be looked for */
    int count = hardware == ON_CPU ? 1 : hardware == ON_GPU ? 2 : 4;
    if (litert.LiteRtCreateEnvironment(count, options, &environment) != 0)
        CHECK("library", LiteRtCreateEnvironment, 0, NULL, &environment);
}

/* The name of the accelerator for a kind of hardware; refuses where there is none, before anything else can
 * run instead. */
static const char *accelerator_for(int hardware, const char *provider) {
    size_t count = 0;
    CHECK("provider", LiteRtGetNumAccelerators, environment, &count);
    for (size_t i = 0; i < count; i++) {
        void *accelerator;
        int drives = 0;
        const char *name = "";
        CHECK("provider", LiteRtGetAccelerator, environment, i, &accelerator);
        CHECK("provider", LiteRtGetAcceleratorHardwareSupport, accelerator, &drives);
        if ((drives & hardware) == 0) continue;
        CHECK("provider", LiteRtGetAcceleratorName, accelerator, &name);
        return name;
    }
    refuse("provider", "litert found no %s accelerator: the library of one must lie beside libLiteRt.so and load",
           provider);
}

/* Whether hardware other than the CPU runs the whole graph, as far as this version can tell. */
static bool is_whole(int hardware) {
    bool fully = false;
    if (hardware != ON_CPU && fully_beyond_cpu != NULL) {
        checked("model", "LiteRtCompiledModelIsNonCpuFullyAccelerated",
                fully_beyond_cpu(own.compiled, &fully));
        return fully;
    }
    CHECK("model", LiteRtCompiledModelIsFullyAccelerated, own.compiled, &fully);
    return fully;
}

static void compile(void *model, void *options, int hardware, const char *provider, const char *accelerator) {
    if (hardware == ON_CPU) {
        CHECK("model", LiteRtCreateCompiledModel, environment, model, options, &own.compiled);
        return;
    }
    Status status = litert.LiteRtCreateCompiledModel(environment, model, options, &own.compiled);
    if (status != 0)
        refuse("provider", "the %s accelerator (%s) does not take the whole graph, or does not start: status %d",
               provider, accelerator, status);
}

static void load(const char *artifact, int threads, const char *provider) {
    int hardware = hardware_of(provider);
    const char *accelerator = "";
    make_environment(hardware);
    if (hardware != ON_CPU) accelerator = accelerator_for(hardware, provider);
    void *model, *options, *opaque, *signature, *graph, *tensor, *graph_output, *requirements;
    static char cpu_options[64];
    size_t inputs, operators, found = 0;
    Layout layouts[MAX_OUTPUTS] = {0};
    bool fully = false;
    CHECK("model", LiteRtCreateModelFromFile, environment, artifact, &model);
    CHECK("model", LiteRtCreateOptions, &options);
    CHECK("model", LiteRtSetOptionsHardwareAccelerators, options, hardware);
    if (hardware == ON_CPU) {
        snprintf(cpu_options, sizeof cpu_options, "num_threads = %d\n", threads);
        CHECK("model", LiteRtCreateOpaqueOptions, "xnnpack", cpu_options, leave, &opaque);
        CHECK("model", LiteRtAddOpaqueOptions, options, opaque);
    }
    CHECK("model", LiteRtGetModelSignature, model, 0, &signature);
    CHECK("model", LiteRtGetSignatureSubgraph, signature, &graph);
    CHECK("model", LiteRtGetNumSignatureInputs, signature, &inputs);
    CHECK("model", LiteRtGetNumSignatureOutputs, signature, &own.outputs);
    check_counts(inputs, own.outputs);
    check_kept(own.outputs);
    compile(model, options, hardware, provider, accelerator);
    for (size_t i = 0; i < inputs; i++) own.input_buffers[i] = take_input(i, signature, graph);
    /* shapes of outputs follow from those that the inputs were given */
    CHECK("model", LiteRtGetCompiledModelOutputTensorLayouts, own.compiled, 0, own.outputs, layouts, true);
    for (size_t i = 0; i < own.outputs; i++) {
        Tensor described = {0};
        CHECK("model", LiteRtGetSignatureOutputTensorByIndex, signature, i, &tensor);
        Ranked type = describe(tensor, &described);
        type.layout = layouts[i];
        take_layout(&type.layout, &described);
        for (size_t k = 0; k < engine.kept_count; k++) {
            CHECK("model", LiteRtGetSubgraphOutput, graph, engine.kept[k].place, &graph_output);
            if (tensor != graph_output) continue;
            own.buffer_of[k] = i;
            engine.kept[k].tensor = described;
            found++;
        }
        CHECK("model", LiteRtGetCompiledModelOutputBufferRequirements, own.compiled, 0, i, &requirements);
        CHECK("model", LiteRtCreateManagedTensorBufferFromRequirements, environment, &type, requirements,
              &own.buffers[i]);
    }
    if (found < engine.kept_count) refuse("model", "an output of the graph is not in its signature");
    for (size_t k = 0; k < engine.kept_count; k++) refuse_other(&engine.kept[k]);

    CHECK("model", LiteRtGetNumSubgraphOps, graph, &operators);
    engine.nodes = (int)operators;
    fully = is_whole(hardware);
    engine.delegated_nodes = fully ? engine.nodes : -1; /* the API does not say how many nodes a part has */
    if (hardware == ON_CPU) {
        snprintf(engine.providers, sizeof engine.providers, fully ? "\"xnnpack\"" : "\"xnnpack\",\"builtin\"");
        return;
    }
    if (!fully)
        refuse("provider", "the %s accelerator (%s) does not take the whole graph", provider, accelerator);
    snprintf(engine.providers, sizeof engine.providers, "\"%s\"", provider);
    add_setting("accelerator", accelerator);
}

static void run(void *feed) {
    void *data;
    CHECK("run", LiteRtLockTensorBuffer, own.input, &data, TO_WRITE);
    memcpy(data, feed, own.input_bytes);
    CHECK("run", LiteRtUnlockTensorBuffer, own.input);
    CHECK("run", LiteRtRunCompiledModel, own.compiled, 0, engine.inputs, own.input_buffers, own.outputs,
          own.buffers);
    for (size_t k = 0; k < engine.kept_count; k++) {
        void *buffer = own.buffers[own.buffer_of[k]];
        CHECK("run", LiteRtLockTensorBuffer, buffer, &data, TO_READ);
        keep(&engine.kept[k], data, tensor_elements(&engine.kept[k].tensor));
        CHECK("run", LiteRtUnlockTensorBuffer, buffer);
    }
}

void open_litert(void *library) {
    symbol(library, "LiteRtCreateEnvironment");
    /* The library does not report its version. 2.2.0 added this function, and an environment argument to
     * LiteRtCreateModelFromFile. */
    if (dlsym(library, "LiteRtCreateModelFromFd") == NULL)
        refuse("library", "this libLiteRt.so is older than 2.2.0 and has no TFLite C API; use a newer one");
#define TAKE(result, name, arguments) *(void **)&litert.name = symbol(library, #name);
    FUNCTIONS(TAKE)
    *(void **)&fully_beyond_cpu = dlsym(library, "LiteRtCompiledModelIsNonCpuFullyAccelerated");
    snprintf(engine.version, sizeof engine.version, "unknown");
    engine.runtime = "litert";
    snprintf(engine.api, sizeof engine.api, "compiled-model");
    engine.load = load;
    engine.run = run;
}
