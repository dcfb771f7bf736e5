/* Numeric files, such as those of a battery gauge, sampled by a separate thread while a window is open.
 *
 * Nothing is exchanged with the parent inside a window: rows are kept and reported once it has closed. The
 * first row is read before the window opens, the last after it has closed. */
#include "runner.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILES 32

static const char *files[MAX_FILES];
static int file_count, period_ms = 100;
static int stop[2]; /* a pipe: closing its write end ends the sampler at once */
static pthread_t sampler;
static Text rows;

bool watching(void) { return file_count > 0; }
void watch_period(int64_t milliseconds) { period_ms = (int)milliseconds; }

void watch_file(const char *path) {
    if (file_count == MAX_FILES) refuse("usage", "at most %d files can be watched", MAX_FILES);
    files[file_count++] = path;
}

/* Puts the number in a file, or null where there is none or it cannot be read. The file is opened every time,
 * so that a file that was replaced is not read from its old inode. */
static void put_file(const char *path) {
    char text[64] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    if (length > 0) text[strcspn(text, " \t\r\n")] = 0;
    const char *digits = text + (*text == '-' || *text == '+');
    const char *rest = digits + strspn(digits, "0123456789");
    const char *end = *rest == '.' ? rest + 1 + strspn(rest + 1, "0123456789") : rest;
    bool is_whole = length > 0 && (size_t)length < sizeof text - 1; /* not cut off by our buffer */
    bool is_number = is_whole && rest > digits && *end == 0 && end[-1] != '.';
    /* JSON forbids leading zeros */
    while (is_number && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') digits++;
    if (is_number) put(&rows, ",%s%s", *text == '-' ? "-" : "", digits);
    else put(&rows, ",null");
}

static void put_row(void) {
    put(&rows, "%s[%lld", rows.used ? "," : "", (long long)monotonic_ns());
    for (int i = 0; i < file_count; i++) put_file(files[i]);
    put(&rows, "]");
}

static void *sample(void *unused) {
    (void)unused;
    struct pollfd end = {.fd = stop[0], .events = POLLIN};
    while (poll(&end, 1, period_ms) == 0) put_row();
    put_row();
    return NULL;
}

void watch_begin(void) {
    if (file_count == 0) return;
    rows.used = 0;
    put_row();
    if (pipe(stop) != 0 || pthread_create(&sampler, NULL, sample, NULL) != 0)
        refuse("watch", "the sampling thread could not be started");
}

void watch_end(void) {
    if (file_count == 0) return;
    close(stop[1]);
    pthread_join(sampler, NULL);
    close(stop[0]);
}

void say_watched(const char *what, int64_t begin_ns, int64_t end_ns) {
    if (file_count == 0) return;
    Text line = {0};
    put(&line, "{\"event\":\"watched\",\"what\":\"%s\",\"begin_ns\":%lld,\"end_ns\":%lld,", what,
        (long long)begin_ns, (long long)end_ns);
    put(&line, "\"rows\":[%s],", rows.bytes);
    put_clocks(&line);
    put(&line, "}");
    say(&line);
}
