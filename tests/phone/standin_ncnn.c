/* A stand-in for libncnn.so: the part of ncnn's C API that the native runner calls, for one kind of network.
 *
 * It knows an Input and the mean of each channel (Pooling 0=1 4=1), aligns channels as ncnn does, and says that
 * it is a stand-in. What ncnn itself computes is tested with a real library; see test_ncnn_runner.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int dims, w, h, c, references;
    size_t cstep;
    float *data;
} Mat;

typedef struct {
    char input[256], output[256];
    int threads;
} Net;

typedef struct {
    Net *net;
    Mat *input;
} Extractor;

const char *ncnn_version(void) { return "stand-in"; }
void *ncnn_net_create(void) { return calloc(1, sizeof(Net)); }
void *ncnn_net_get_option(void *net) { return net; }
void ncnn_option_set_num_threads(void *net, int threads) { ((Net *)net)->threads = threads; }
int ncnn_option_get_use_winograd_convolution(const void *net) { return net != NULL; }

int ncnn_net_load_param(void *net, const char *path) {
    char kind[64];
    int magic = 0, layers = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%d %d %*d", &magic, &layers) != 2 || magic != 7767517) return -1;
    if (fscanf(file, "%63s %*s 0 1 %255s%*[^\n]", kind, ((Net *)net)->input) != 2) return -1;
    if (fscanf(file, "%63s %*s 1 1 %*s %255s%*[^\n]", kind, ((Net *)net)->output) != 2) return -1;
    fclose(file);
    return layers == 2 && strcmp(kind, "Pooling") == 0 ? 0 : -1;
}

int ncnn_net_load_model(void *net, const char *path) {
    FILE *file = fopen(path, "r");
    if (net == NULL || file == NULL) return -1;
    return fclose(file);
}

int ncnn_net_get_input_count(const void *net) { return net != NULL; }
int ncnn_net_get_output_count(const void *net) { return net != NULL; }
const char *ncnn_net_get_input_name(const void *net, int index) { return index ? "" : ((const Net *)net)->input; }
const char *ncnn_net_get_output_name(const void *net, int index) {
    return index ? "" : ((const Net *)net)->output;
}

static void *made(int dims, int w, int h, int c) {
    Mat *mat = calloc(1, sizeof *mat);
    *mat = (Mat){dims, w, h, c, 1, ((size_t)w * (size_t)h + 3) / 4 * 4, NULL};
    mat->data = malloc(mat->cstep * (size_t)c * sizeof(float));
    for (size_t i = 0; i < mat->cstep * (size_t)c; i++) mat->data[i] = 1e30f; /* gaps hold no number */
    return mat;
}

void *ncnn_mat_create_1d(int w, void *allocator) { return allocator ? NULL : made(1, w, 1, 1); }
void *ncnn_mat_create_2d(int w, int h, void *allocator) { return allocator ? NULL : made(2, w, h, 1); }
void *ncnn_mat_create_3d(int w, int h, int c, void *allocator) { return allocator ? NULL : made(3, w, h, c); }
int ncnn_mat_get_dims(const void *mat) { return ((const Mat *)mat)->dims; }
int ncnn_mat_get_w(const void *mat) { return ((const Mat *)mat)->w; }
int ncnn_mat_get_h(const void *mat) { return ((const Mat *)mat)->h; }
int ncnn_mat_get_c(const void *mat) { return ((const Mat *)mat)->c; }
size_t ncnn_mat_get_elemsize(const void *mat) { return mat ? sizeof(float) : 0; }
size_t ncnn_mat_get_cstep(const void *mat) { return ((const Mat *)mat)->cstep; }
void *ncnn_mat_get_data(const void *mat) { return ((const Mat *)mat)->data; }

void ncnn_mat_destroy(void *mat) {
    if (--((Mat *)mat)->references > 0) return;
    free(((Mat *)mat)->data);
    free(mat);
}

void *ncnn_extractor_create(void *net) {
    Extractor *extractor = calloc(1, sizeof *extractor);
    extractor->net = net;
    return extractor;
}

void ncnn_extractor_destroy(void *extractor) {
    ncnn_mat_destroy(((Extractor *)extractor)->input);
    free(extractor);
}

int ncnn_extractor_input(void *extractor, const char *name, const void *mat) {
    Extractor *one = extractor;
    if (strcmp(name, one->net->input) != 0) return -1;
    one->input = (Mat *)mat;
    one->input->references++;
    return 0;
}

int ncnn_extractor_extract(void *extractor, const char *name, void **mat) {
    const Extractor *one = extractor;
    const Mat *image = one->input;
    if (strcmp(name, one->net->output) != 0) return -1;
    Mat *means = made(1, image->c, 1, 1);
    for (int c = 0; c < image->c; c++) {
        double sum = 0;
        for (int i = 0; i < image->w * image->h; i++) sum += image->data[(size_t)c * image->cstep + (size_t)i];
        means->data[c] = (float)(sum / (image->w * image->h));
    }
    *mat = means;
    return 0;
}
