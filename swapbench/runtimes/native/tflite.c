/* LiteRT through the stable TFLite C API: libtensorflowlite_jni.so and every library that exports TfLite*.
 *
 * One timed run copies the input in, and zeros into further ones, invokes and copies what is kept out, as
 * set_tensor, invoke and get_tensor do in the Python worker. This API does not report which nodes a delegate
 * took. */
#include "runner.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    float scale;
    int32_t zero_point;
} Quantisation;

#define FUNCTIONS(F)                                                                                         \
    F(void *, TfLiteModelCreateFromFile, (const char *path))                                                 \
    F(void *, TfLiteInterpreterOptionsCreate, (void))                                                        \
    F(void, TfLiteInterpreterOptionsSetNumThreads, (void *options, int32_t threads))                         \
    F(void *, TfLiteInterpreterCreate, (void *model, void *options))                                         \
    F(int, TfLiteInterpreterAllocateTensors, (void *interpreter))                                            \
    F(int, TfLiteInterpreterResizeInputTensor,                                                               \
      (void *interpreter, int32_t index, const int *lengths, int32_t rank))                                  \
    F(int32_t, TfLiteInterpreterGetInputTensorCount, (void *interpreter))                                    \
    F(int32_t, TfLiteInterpreterGetOutputTensorCount, (void *interpreter))                                   \
    F(void *, TfLiteInterpreterGetInputTensor, (void *interpreter, int32_t index))                           \
    F(int, TfLiteInterpreterInvoke, (void *interpreter))                                                     \
    F(const void *, TfLiteInterpreterGetOutputTensor, (void *interpreter, int32_t index))                    \
    F(int, TfLiteTensorType, (const void *tensor))                                                           \
    F(int32_t, TfLiteTensorNumDims, (const void *tensor))                                                    \
    F(int32_t, TfLiteTensorDim, (const void *tensor, int32_t index))                                         \
    F(size_t, TfLiteTensorByteSize, (const void *tensor))                                                    \
    F(const char *, TfLiteTensorName, (const void *tensor))                                                  \
    F(Quantisation, TfLiteTensorQuantizationParams, (const void *tensor))                                    \
    F(int, TfLiteTensorCopyFromBuffer, (void *tensor, const void *data, size_t bytes))                       \
    F(int, TfLiteTensorCopyToBuffer, (const void *tensor, void *data, size_t bytes))

static struct { FUNCTIONS(FIELD) } tflite;
static struct {
    void *interpreter;
    size_t input_bytes[MAX_INPUTS], output_bytes[MAX_OUTPUTS];
    void *zeros[MAX_INPUTS]; /* for all inputs but the first */
} states[MOST_ENGINES];

/* TfLiteType */
static const Element elements[] = {
    OTHER, F32, I32, U8, I64, OTHER, BOOL, I16, OTHER, I8, F16, F64, OTHER, OTHER, OTHER, OTHER, OTHER, U16,
};
static const int element_count = sizeof elements / sizeof *elements;

static bool is_integer(Element element) {
    switch (element) {
    case I8: case U8: case I16: case U16: case I32: case I64: return true;
    default: return false;
    }
}

static void describe(const void *from, Tensor *tensor) {
    int type = tflite.TfLiteTensorType(from);
    const char *name = tflite.TfLiteTensorName(from);
    snprintf(tensor->name, sizeof tensor->name, "%s", name != NULL ? name : "");
    tensor->element = type >= 0 && type < element_count ? elements[type] : OTHER;
    tensor->rank = tflite.TfLiteTensorNumDims(from);
    if (tensor->rank < 0 || tensor->rank > 8)
        refuse("model", "'%s' has %d dimensions; the runner takes at most 8", tensor->name, tensor->rank);
    for (int i = 0; i < tensor->rank; i++) tensor->shape[i] = tflite.TfLiteTensorDim(from, i);
    Quantisation given = tflite.TfLiteTensorQuantizationParams(from);
    tensor->quantised = given.scale != 0 && is_integer(tensor->element);
    tensor->scale = given.scale;
    tensor->zero_point = given.zero_point;
}

/* Describes an input and gives it the shape that it is to have. */
static Tensor take_input(int32_t place) {
    Tensor stored = {0}, tensor;
    describe(tflite.TfLiteInterpreterGetInputTensor(own.interpreter, place), &stored);
    tensor = stored;
    settle_input((size_t)place, &tensor);
    bool is_as_stored = memcmp(tensor.shape, stored.shape, sizeof stored.shape) == 0;
    if (tensor.rank == stored.rank && is_as_stored) return tensor;
    int lengths[8];
    for (int i = 0; i < tensor.rank; i++) lengths[i] = (int)tensor.shape[i];
    if (tflite.TfLiteInterpreterResizeInputTensor(own.interpreter, place, lengths, tensor.rank) != 0)
        refuse("model", "litert cannot resize the input '%s'", tensor.name);
    return tensor;
}

static void load(const char *artifact, int threads, const char *provider) {
    if (provider != NULL && strcmp(provider, "xnnpack") != 0)
        refuse("provider", "unknown delegate '%s'; only xnnpack is available", provider);
    void *model = tflite.TfLiteModelCreateFromFile(artifact);
    if (model == NULL) refuse("model", "litert cannot read the model file %s", artifact);
    void *options = tflite.TfLiteInterpreterOptionsCreate();
    tflite.TfLiteInterpreterOptionsSetNumThreads(options, threads);
    own.interpreter = tflite.TfLiteInterpreterCreate(model, options);
    if (own.interpreter == NULL) refuse("model", "litert cannot create an interpreter for %s", artifact);
    int32_t inputs = tflite.TfLiteInterpreterGetInputTensorCount(own.interpreter);
    int32_t outputs = tflite.TfLiteInterpreterGetOutputTensorCount(own.interpreter);
    check_counts((size_t)inputs, (size_t)outputs);
    check_kept((size_t)outputs);
    for (int32_t i = 0; i < inputs; i++) {
        Tensor tensor = take_input(i);
        if (i == 0) engine.input = tensor;
    }
    if (tflite.TfLiteInterpreterAllocateTensors(own.interpreter) != 0)
        refuse("model", "litert cannot allocate the tensors of %s", artifact);
    for (int32_t i = 0; i < inputs; i++) {
        const void *input = tflite.TfLiteInterpreterGetInputTensor(own.interpreter, i);
        own.input_bytes[i] = tflite.TfLiteTensorByteSize(input);
        if (i > 0) own.zeros[i] = need(own.input_bytes[i]);
    }
    for (size_t i = 0; i < engine.kept_count; i++) {
        Output *output = &engine.kept[i];
        const void *tensor = tflite.TfLiteInterpreterGetOutputTensor(own.interpreter, (int32_t)output->place);
        describe(tensor, &output->tensor);
        refuse_other(output);
        own.output_bytes[i] = tflite.TfLiteTensorByteSize(tensor);
        keep(output, NULL, own.output_bytes[i] / element_bytes(output->tensor.element));
    }
    snprintf(engine.providers, sizeof engine.providers, "\"unknown\"");
}

static void run(void *feed) {
    for (size_t i = 0; i < engine.inputs; i++) {
        /* fetched in every run: invoking may move the tensors */
        void *input = tflite.TfLiteInterpreterGetInputTensor(own.interpreter, (int32_t)i);
        if (tflite.TfLiteTensorCopyFromBuffer(input, i == 0 ? feed : own.zeros[i], own.input_bytes[i]) != 0)
            refuse("run", "litert did not accept the input");
    }
    if (tflite.TfLiteInterpreterInvoke(own.interpreter) != 0) refuse("run", "litert failed to run the model");
    for (size_t i = 0; i < engine.kept_count; i++) {
        const Output *kept = &engine.kept[i];
        const void *tensor = tflite.TfLiteInterpreterGetOutputTensor(own.interpreter, (int32_t)kept->place);
        if (tflite.TfLiteTensorCopyToBuffer(tensor, kept->data, own.output_bytes[i]) != 0)
            refuse("run", "litert did not return its output");
    }
}

void open_tflite(void *library) {
#define TAKE(result, name, arguments) *(void **)&tflite.name = symbol(library, #name);
    FUNCTIONS(TAKE)
    const char *(*version)(void);
    *(void **)&version = dlsym(library, "TfLiteVersion");
    snprintf(engine.version, sizeof engine.version, "%s", version != NULL ? version() : "unknown");
    engine.runtime = "litert";
    snprintf(engine.api, sizeof engine.api, "tflite-c");
    engine.delegated_nodes = engine.nodes = -1;
    engine.load = load;
    engine.run = run;
}
