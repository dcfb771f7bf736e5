/* ncnn through its C API (libncnn.so with the option NCNN_C_API, which the official builds have).
 *
 * One timed run makes an extractor, copies the input into a matrix of ncnn's, whose channels are aligned,
 * computes, and copies what is kept out, as for the Python worker. ncnn's options stay as an app finds them
 * that sets none but the threads. */
#include "runner.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define FUNCTIONS(F)                                                                                         \
    F(const char *, ncnn_version, (void))                                                                    \
    F(void *, ncnn_net_create, (void))                                                                       \
    F(void *, ncnn_net_get_option, (void *net))                                                              \
    F(void, ncnn_option_set_num_threads, (void *option, int threads))                                        \
    F(int, ncnn_net_load_param, (void *net, const char *path))                                               \
    F(int, ncnn_net_load_model, (void *net, const char *path))                                               \
    F(int, ncnn_net_get_input_count, (const void *net))                                                      \
    F(int, ncnn_net_get_output_count, (const void *net))                                                     \
    F(const char *, ncnn_net_get_input_name, (const void *net, int index))                                   \
    F(const char *, ncnn_net_get_output_name, (const void *net, int index))                                  \
    F(void *, ncnn_extractor_create, (void *net))                                                            \
    F(void, ncnn_extractor_destroy, (void *extractor))                                                       \
    F(int, ncnn_extractor_input, (void *extractor, const char *name, const void *matrix))                    \
    F(int, ncnn_extractor_extract, (void *extractor, const char *name, void **matrix))                       \
    F(void *, ncnn_mat_create_1d, (int width, void *allocator))                                              \
    F(void *, ncnn_mat_create_2d, (int width, int height, void *allocator))                                  \
    F(void *, ncnn_mat_create_3d, (int width, int height, int channels, void *allocator))                    \
    F(void, ncnn_mat_destroy, (void *matrix))                                                                \
    F(int, ncnn_mat_get_dims, (const void *matrix))                                                          \
    F(int, ncnn_mat_get_w, (const void *matrix))                                                             \
    F(int, ncnn_mat_get_h, (const void *matrix))                                                             \
    F(int, ncnn_mat_get_c, (const void *matrix))                                                             \
    F(size_t, ncnn_mat_get_elemsize, (const void *matrix))                                                   \
    F(size_t, ncnn_mat_get_cstep, (const void *matrix))                                                      \
    F(void *, ncnn_mat_get_data, (const void *matrix))

static struct { FUNCTIONS(FIELD) } ncnn;
static void *library_of_ncnn;
static struct {
    void *net;
    Tensor inputs[MAX_INPUTS];
} states[MOST_ENGINES];

/* A matrix for an input, filled from an array without gaps, or with zeros where there is none. */
static void *filled(const Tensor *tensor, const float *from) {
    const int64_t *shape = tensor->shape + 1; /* ncnn has no batch */
    int rank = tensor->rank - 1;
    int width = (int)shape[rank - 1], height = rank > 1 ? (int)shape[rank - 2] : 1;
    int channels = rank > 2 ? (int)shape[0] : 1;
    void *matrix = rank == 1   ? ncnn.ncnn_mat_create_1d(width, NULL)
                   : rank == 2 ? ncnn.ncnn_mat_create_2d(width, height, NULL)
                               : ncnn.ncnn_mat_create_3d(width, height, channels, NULL);
    float *data = matrix != NULL ? ncnn.ncnn_mat_get_data(matrix) : NULL;
    if (data == NULL) refuse("run", "ncnn has no memory for the input '%s'", tensor->name);
    size_t plane = (size_t)width * (size_t)height, step = rank > 2 ? ncnn.ncnn_mat_get_cstep(matrix) : plane;
    for (int i = 0; i < channels; i++) {
        if (from != NULL) memcpy(data + (size_t)i * step, from + (size_t)i * plane, plane * sizeof *data);
        else memset(data + (size_t)i * step, 0, plane * sizeof *data);
    }
    return matrix;
}

/* Copies an output without the gaps between its channels, and takes its shape, which may vary. */
static void kept_from(Output *output, const void *matrix) {
    int rank = ncnn.ncnn_mat_get_dims(matrix);
    if (rank < 1 || rank > 3 || ncnn.ncnn_mat_get_elemsize(matrix) != sizeof(float))
        refuse("run", "the output '%s' is no array of floats of rank 1 to 3", output->tensor.name);
    size_t width = (size_t)ncnn.ncnn_mat_get_w(matrix);
    size_t height = rank > 1 ? (size_t)ncnn.ncnn_mat_get_h(matrix) : 1;
    size_t channels = rank > 2 ? (size_t)ncnn.ncnn_mat_get_c(matrix) : 1;
    size_t plane = width * height, step = rank > 2 ? ncnn.ncnn_mat_get_cstep(matrix) : plane;
    const size_t lengths[] = {1, channels, height, width};
    output->tensor.rank = rank + 1;
    for (int i = 1; i <= rank; i++) output->tensor.shape[i] = (int64_t)lengths[3 - rank + i];
    output->tensor.shape[0] = 1;
    const float *data = ncnn.ncnn_mat_get_data(matrix);
    keep(output, NULL, plane * channels);
    for (size_t i = 0; i < channels; i++)
        memcpy((float *)output->data + i * plane, data + i * step, plane * sizeof *data);
}

static void load_files(const char *artifact) {
    static char weights[4096];
    size_t length = strlen(artifact);
    if (length < 6 || length >= sizeof weights || strcmp(artifact + length - 6, ".param") != 0)
        refuse("model", "ncnn runs .param files, not %s", artifact);
    snprintf(weights, sizeof weights, "%.*s.bin", (int)(length - 6), artifact);
    if (ncnn.ncnn_net_load_param(own.net, artifact) != 0)
        refuse("model", "this ncnn cannot load the network %s", artifact);
    if (ncnn.ncnn_net_load_model(own.net, weights) != 0)
        refuse("model", "this ncnn cannot load the weights %s", weights);
}

static void say_settings(void *option) {
    static const struct {
        const char *name, *function;
    } switches[] = {
        {"winograd", "ncnn_option_get_use_winograd_convolution"},
        {"sgemm", "ncnn_option_get_use_sgemm_convolution"},
        {"packing", "ncnn_option_get_use_packing_layout"},
        {"fp16_storage", "ncnn_option_get_use_fp16_storage"},
        {"fp16_arithmetic", "ncnn_option_get_use_fp16_arithmetic"},
        {"bf16_storage", "ncnn_option_get_use_bf16_storage"},
    };
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        int (*is_on)(const void *);
        *(void **)&is_on = dlsym(library_of_ncnn, switches[i].function); /* libraries before 2026 lack some */
        if (is_on != NULL) add_setting(switches[i].name, is_on(option) ? "on" : "off");
    }
}

static void load(const char *artifact, int threads, const char *provider) {
    if (provider != NULL && strcmp(provider, "cpu") != 0)
        refuse("provider", "unknown provider '%s'; only cpu is available", provider);
    own.net = ncnn.ncnn_net_create();
    void *option = ncnn.ncnn_net_get_option(own.net);
    ncnn.ncnn_option_set_num_threads(option, threads);
    say_settings(option);
    load_files(artifact);
    int found = ncnn.ncnn_net_get_input_count(own.net), outputs = ncnn.ncnn_net_get_output_count(own.net);
    check_counts((size_t)found, (size_t)outputs);
    check_kept((size_t)outputs);
    for (int i = 0; i < found; i++) {
        Tensor *tensor = &own.inputs[i];
        snprintf(tensor->name, sizeof tensor->name, "%s", ncnn.ncnn_net_get_input_name(own.net, i));
        tensor->element = F32;
        tensor->rank = 1; /* unknown: ncnn runs any size, so --shapes says it */
        settle_input((size_t)i, tensor);
        if (tensor->rank < 2 || tensor->rank > 4 || tensor->shape[0] != 1)
            refuse("usage", "ncnn takes one image or row a run, not the shape of --shapes for '%s'",
                   tensor->name);
    }
    engine.input = own.inputs[0];
    for (size_t i = 0; i < engine.kept_count; i++) {
        Tensor *tensor = &engine.kept[i].tensor;
        int place = (int)engine.kept[i].place;
        snprintf(tensor->name, sizeof tensor->name, "%s", ncnn.ncnn_net_get_output_name(own.net, place));
        tensor->element = F32;
    }
    snprintf(engine.providers, sizeof engine.providers, "\"cpu\"");
}

static void run(void *feed) {
    void *extractor = ncnn.ncnn_extractor_create(own.net);
    for (size_t i = 0; i < engine.inputs; i++) {
        void *matrix = filled(&own.inputs[i], i == 0 ? feed : NULL);
        if (ncnn.ncnn_extractor_input(extractor, own.inputs[i].name, matrix) != 0)
            refuse("run", "ncnn did not accept the input '%s'", own.inputs[i].name);
        ncnn.ncnn_mat_destroy(matrix); /* the extractor holds it */
    }
    for (size_t i = 0; i < engine.kept_count; i++) {
        void *matrix = NULL;
        Output *output = &engine.kept[i];
        if (ncnn.ncnn_extractor_extract(extractor, output->tensor.name, &matrix) != 0 || matrix == NULL)
            refuse("run", "ncnn cannot compute '%s'", output->tensor.name);
        kept_from(output, matrix);
        ncnn.ncnn_mat_destroy(matrix);
    }
    ncnn.ncnn_extractor_destroy(extractor);
}

void open_ncnn(void *library) {
#define TAKE(result, name, arguments) *(void **)&ncnn.name = symbol(library, #name);
    FUNCTIONS(TAKE)
    library_of_ncnn = library;
    snprintf(engine.version, sizeof engine.version, "%s", ncnn.ncnn_version());
    engine.runtime = "ncnn";
    snprintf(engine.api, sizeof engine.api, "ncnn-c");
    engine.delegated_nodes = engine.nodes = -1;
    engine.load = load;
    engine.run = run;
}
