/* What is fed to the graph: images normalised through a table, bit for bit as in swapbench/runtimes/feed.py,
 * or seeded random data. Compiled without contraction of a*b+c, which would round differently on arm64. */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TWO_TO_52 4503599627370496.0

size_t element_bytes(Element element) {
    switch (element) {
    case I8: case U8: case BOOL: return 1;
    case F16: case I16: case U16: return 2;
    case F64: case I64: return 8;
    default: return 4;
    }
}

size_t tensor_elements(const Tensor *tensor) {
    size_t elements = 1;
    for (int i = 0; i < tensor->rank; i++) elements *= (size_t)tensor->shape[i];
    return elements;
}

static const char *shape_text(const Tensor *tensor) {
    static char text[160];
    size_t used = (size_t)snprintf(text, sizeof text, "[");
    for (int i = 0; i < tensor->rank; i++) {
        long long length = tensor->shape[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i ? ", " : "", length);
    }
    snprintf(text + used, sizeof text - used, "]");
    return text;
}

/* Reads a shape such as "1x3x80x80", which ends at a comma or with the text. */
static void read_shape(const char *text, Tensor *input) {
    input->rank = 0;
    while (*text != 0 && *text != ',') {
        char *end;
        long long length = strtoll(text, &end, 10);
        bool ends = *end == 'x' || *end == ',' || *end == 0;
        if (end == text || !ends || length < 1 || length > INT32_MAX || input->rank == 8)
            refuse("usage", "bad command line: --shapes is not a list of lengths: '%.100s'", text);
        input->shape[input->rank++] = length;
        text = *end == 'x' ? end + 1 : end;
    }
}

void settle_input(size_t place, Tensor *input) {
    const char *text = engine.shapes;
    for (size_t i = 0; text != NULL && i < place; i++) {
        text = strchr(text, ',');
        if (text != NULL) text++;
    }
    if (text != NULL) read_shape(text, input);
    for (int i = 0; i < input->rank; i++)
        if (input->shape[i] < 1)
            refuse("usage", "the input '%s' has dynamic shape %s, and --shapes does not set it", input->name,
                   shape_text(input));
    if (input->element == OTHER) refuse("model", "the input '%s' is not numeric", input->name);
}

/* ---- numbers ---- */

static double round_half_even(double value) {
    double size = value < 0 ? -value : value;
    if (!(size < TWO_TO_52)) return value; /* already an integer, or NaN */
    size = (size + TWO_TO_52) - TWO_TO_52;
    return value < 0 ? -size : size;
}

static double power_of_two(int exponent) {
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t half_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 63 << 15);
    if (value != value) return sign | 0x7e00;
    double size = value < 0 ? -value : value;
    if (size >= 65520) return sign | 0x7c00;
    if (size < power_of_two(-14)) return sign | (uint16_t)round_half_even(size * power_of_two(24));
    int exponent = (int)(bits >> 52 & 2047) - 1023;
    /* a mantissa that rounds up to 2048 carries into the exponent, as it should */
    int mantissa = (int)round_half_even(size * power_of_two(10 - exponent));
    return sign | (uint16_t)(((exponent + 14) << 10) + mantissa);
}

static double double_of_half(uint16_t half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double size;
    if (exponent == 31) size = mantissa ? __builtin_nan("") : __builtin_inf();
    else if (exponent == 0) size = mantissa * power_of_two(-24);
    else size = (1024 + mantissa) * power_of_two(exponent - 25);
    return half >> 15 ? -size : size;
}

double element_value(const void *array, size_t index, Element element) {
    switch (element) {
    case F16: return double_of_half(((const uint16_t *)array)[index]);
    case F32: return ((const float *)array)[index];
    case F64: return ((const double *)array)[index];
    case I8: return ((const int8_t *)array)[index];
    case U8: case BOOL: return ((const uint8_t *)array)[index];
    case I16: return ((const int16_t *)array)[index];
    case U16: return ((const uint16_t *)array)[index];
    case I32: return ((const int32_t *)array)[index];
    case I64: return (double)((const int64_t *)array)[index];
    default: return __builtin_nan("");
    }
}

static void store(void *array, size_t index, Element element, double value) {
    switch (element) {
    case F16: ((uint16_t *)array)[index] = half_of(value); break;
    case F32: ((float *)array)[index] = (float)value; break;
    case F64: ((double *)array)[index] = value; break;
    case I8: ((int8_t *)array)[index] = (int8_t)value; break;
    case U8: case BOOL: ((uint8_t *)array)[index] = (uint8_t)value; break;
    case I16: ((int16_t *)array)[index] = (int16_t)value; break;
    case U16: ((uint16_t *)array)[index] = (uint16_t)value; break;
    case I32: ((int32_t *)array)[index] = (int32_t)value; break;
    case I64: ((int64_t *)array)[index] = (int64_t)value; break;
    default: break;
    }
}

static void limits(Element element, double *low, double *high) {
    int bits = 8 * (int)element_bytes(element);
    bool is_signed = element == I8 || element == I16 || element == I32 || element == I64;
    *low = is_signed ? -power_of_two(bits - 1) : 0;
    *high = is_signed ? power_of_two(bits - 1) - 1 : power_of_two(bits) - 1;
}

/* ---- images ---- */

/* The axis of the channels, 3 of them or 1; 0 where the input is not an image. As Input.channels_last. */
static int channel_axis(const Tensor *input) {
    for (int channels = 3; input->rank == 4 && channels > 0; channels -= 2) {
        if (input->shape[3] == channels) return 3;
        if (input->shape[1] == channels) return 1;
    }
    return 0;
}

static bool channels_last(const Tensor *input) { return channel_axis(input) == 3; }

static bool takes_images(const Tensor *input, size_t channels) {
    int axis = channel_axis(input);
    return axis != 0 && (size_t)input->shape[axis] == channels;
}

Samples open_samples(const char *path, const Tensor *input) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about) != 0)
        refuse("samples", "cannot read the samples file %s: %s", path, strerror(errno));
    size_t size = (size_t)about.st_size;
    if (size < 12) refuse("samples", "cannot read the samples file %s: it is not a .npy file", path);
    const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED) refuse("samples", "cannot read the samples file %s: %s", path, strerror(errno));

    /* .npy: magic, version, header length (2 bytes in version 1, else 4), a Python dict as text, the array */
    bool is_short = bytes[6] == 1;
    size_t start = is_short ? 10 : 12;
    size_t length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (!is_short) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    char header[512] = {0};
    if (memcmp(bytes, "\x93NUMPY", 6) != 0 || length >= sizeof header || start + length > size)
        refuse("samples", "cannot read the samples file %s: it is not a .npy file", path);
    memcpy(header, bytes + start, length);
    const char *shape = strstr(header, "'shape':");
    unsigned long long count = 0, height = 0, width = 0, channels = 0;
    int matched = 0; /* stays 0 unless the shape matches up to its closing parenthesis */
    if (shape != NULL)
        sscanf(shape, "'shape': (%llu, %llu, %llu, %llu)%n", &count, &height, &width, &channels, &matched);
    bool is_bytes = strstr(header, "'descr': '|u1'") && strstr(header, "'fortran_order': False");
    bool is_sane = count > 0 && height > 0 && width > 0 && height <= 1 << 20 && width <= 1 << 20;
    if (!is_bytes || matched == 0 || !is_sane || (channels != 1 && channels != 3))
        refuse("samples", "samples are %.200s, not uint8 [n, height, width, 3 or 1]", header);
    if (!takes_images(input, channels))
        refuse("samples", "the input '%s' of shape %s does not take a %llu-channel image", input->name,
               shape_text(input), channels);
    unsigned long long rows = (unsigned long long)input->shape[channels_last(input) ? 1 : 2];
    unsigned long long columns = (unsigned long long)input->shape[channels_last(input) ? 2 : 3];
    if (height != rows || width != columns)
        refuse("samples", "samples are %llux%llu px, but the graph takes %llux%llu", width, height,
               columns, rows);
    size_t image = (size_t)(height * width * channels);
    if ((size - start - length) / image < count)
        refuse("samples", "cannot read the samples file %s: it is shorter than its header says", path);
    return (Samples){bytes + start + length, (size_t)count, (size_t)height, (size_t)width, image};
}

Feed image_feed(const Tensor *input, const char *normalise) {
    Member given[8];
    int count = read_object(normalise, given, 8);
    const Member *scale = member(given, count, "scale");
    const Member *mean = member(given, count, "mean"), *std = member(given, count, "std");
    if (scale == NULL || scale->count != 1 || mean == NULL || std == NULL)
        refuse("usage", "--normalise is not JSON with scale, mean and std");
    int channels = mean->count;
    bool is_usable = (channels == 1 || channels == 3) && std->count == channels;
    for (int channel = 0; is_usable && channel < channels; channel++) is_usable = std->numbers[channel] != 0;
    if (!is_usable)
        refuse("usage", "--normalise needs a mean and a non-zero std for each of 3 channels or 1");
    if (!takes_images(input, (size_t)channels) || input->shape[0] != 1)
        refuse("samples", "the input '%s' of shape %s is not a single %d-channel image", input->name,
               shape_text(input), channels);
    bool is_float = input->element == F16 || input->element == F32 || input->element == F64;
    size_t bytes = element_bytes(input->element);
    Feed feed = {input, need(tensor_elements(input) * bytes), need((size_t)channels * 256 * bytes)};
    double low = 0, high = 0;
    limits(input->element, &low, &high);
    for (int channel = 0; channel < channels; channel++)
        for (int pixel = 0; pixel < 256; pixel++) {
            double value = (pixel * scale->numbers[0] - mean->numbers[channel]) / std->numbers[channel];
            if (!is_float && input->quantised) {
                value = round_half_even(value / input->scale) + (double)input->zero_point;
                value = value < low ? low : value > high ? high : value;
            } else if (!is_float && (value != round_half_even(value) || value < low || value > high)) {
                refuse("samples",
                       "the input '%s' is an integer without a quantisation scale, so it takes whole numbers"
                       " from %.0f to %.0f, and scale, mean and std make others",
                       input->name, low, high);
            }
            store(feed.table, (size_t)(channel * 256 + pixel), input->element, value);
        }
    return feed;
}

#define FILL(Type)                                                                                           \
    do {                                                                                                     \
        const Type *table = (const Type *)feed->table;                                                       \
        Type *into = feed->buffer;                                                                           \
        if (channels_last(input))                                                                            \
            for (size_t i = 0; i < channels * area; i++) into[i] = table[i % channels * 256 + image[i]];     \
        else                                                                                                 \
            for (size_t channel = 0; channel < channels; channel++)                                          \
                for (size_t i = 0; i < area; i++)                                                            \
                    into[channel * area + i] = table[channel * 256 + image[channels * i + channel]];         \
    } while (0)

void fill(const Feed *feed, const uint8_t *image) {
    const Tensor *input = feed->input;
    size_t channels = (size_t)input->shape[channel_axis(input)];
    size_t area = tensor_elements(input) / channels;
    switch (element_bytes(input->element)) {
    case 1: FILL(uint8_t); break;
    case 2: FILL(uint16_t); break;
    case 4: FILL(uint32_t); break;
    default: FILL(uint64_t); break;
    }
}

/* ---- random data ---- */

static uint64_t next_random(uint64_t *state) {
    /* splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 */
    uint64_t mixed = *state += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return mixed ^ mixed >> 31;
}

bool makes_zeros(const Tensor *input) {
    /* wide integers are often indices, and several inputs may have to agree */
    bool wide = input->element == I32 || input->element == I64;
    return engine.inputs > 1 || wide;
}

Feed made_feed(const Tensor *input, int64_t seed) {
    /* The Python worker's distributions (floats uniform in [0, 1), integers over their full range), not its
     * numbers. */
    size_t elements = tensor_elements(input), bytes = element_bytes(input->element);
    Feed feed = {input, need(elements * bytes), NULL};
    if (makes_zeros(input)) return feed;
    uint64_t state = (uint64_t)seed;
    bool is_float = input->element == F16 || input->element == F32 || input->element == F64;
    for (size_t i = 0; i < elements; i++) {
        uint64_t drawn = next_random(&state);
        if (is_float) store(feed.buffer, i, input->element, (double)(drawn >> 40) * power_of_two(-24));
        else if (input->element == BOOL) store(feed.buffer, i, BOOL, (double)(drawn & 1));
        else memcpy((uint8_t *)feed.buffer + i * bytes, &drawn, bytes); /* little-endian: the low bytes */
    }
    return feed;
}
