/* The runner's JSON: one object per line, written in a single piece; requests are read here too. */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int answers = 1;

void answer_on(int descriptor) { answers = descriptor; }

void *need(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes ? bytes : 1) != 0)
        refuse("memory", "out of memory: %zu bytes were requested", bytes);
    memset(memory, 0, bytes);
    return memory;
}

static void grow(Text *text, size_t more) {
    if (text->room - text->used > more) return;
    text->room = 2 * text->room + more + 4096;
    text->bytes = realloc(text->bytes, text->room);
    if (text->bytes == NULL) _exit(1);
}

void put(Text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    grow(text, (size_t)length + 1);
    vsnprintf(text->bytes + text->used, (size_t)length + 1, format, again);
    text->used += (size_t)length;
    va_end(arguments);
    va_end(again);
}

void put_string(Text *text, const char *string) {
    put(text, "\"");
    for (const char *c = string; *c; c++) {
        if (*c == '"' || *c == '\\') put(text, "\\%c", *c);
        else if ((unsigned char)*c < 32) put(text, "\\u%04x", *c);
        else put(text, "%c", *c);
    }
    put(text, "\"");
}

void put_number(Text *text, double number) {
    /* 17 digits round-trip a double; NaN and Infinity are spelled as in Python's json module */
    if (number != number) put(text, "NaN");
    else if (number - number != 0) put(text, number > 0 ? "Infinity" : "-Infinity");
    else put(text, "%.17g", number);
}

void say(Text *line) {
    put(line, "\n");
    for (size_t done = 0; done < line->used;) {
        ssize_t written = write(answers, line->bytes + done, line->used - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) _exit(1); /* nobody is reading any more */
        done += (size_t)written;
    }
    line->used = 0;
}

void refuse(const char *stage, const char *format, ...) {
    char message[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (char *c = message; *c; c++)
        if ((unsigned char)*c < 32) *c = ' ';
    Text line = {0};
    put(&line, "{\"event\":\"error\",\"stage\":\"%s\",\"message\":", stage);
    put_string(&line, message);
    put(&line, "}");
    say(&line);
    _exit(1); /* not exit(): the destructors of a runtime that failed may hang */
}

/* ---- reading a flat JSON object ---- */

static const char *skip_spaces(const char *at) {
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n') at++;
    return at;
}

static const char *read_number(const char *at, double *number) {
    /* strtod also accepts what JSON does not: hexadecimal digits, "inf", leading spaces */
    if (*at != '-' && (*at < '0' || *at > '9')) return NULL;
    char *end;
    *number = strtod(at, &end);
    for (const char *c = at; c < end; c++)
        if (strchr("0123456789+-.eE", *c) == NULL) return NULL;
    return end == at ? NULL : end;
}

static const char *read_value(const char *at, Member *into) {
    bool is_array = *at == '[';
    if (is_array) at = skip_spaces(at + 1);
    for (into->count = 0; !(is_array && *at == ']');) {
        double number;
        at = read_number(at, &number);
        if (at == NULL) return NULL;
        if (into->count < 3) into->numbers[into->count] = number;
        into->count++;
        at = skip_spaces(at);
        if (!is_array) return at;
        if (*at == ',') at = skip_spaces(at + 1);
        else if (*at != ']') return NULL;
    }
    return skip_spaces(at + 1);
}

int read_object(const char *json, Member *members, int room) {
    const char *at = skip_spaces(json);
    if (*at++ != '{') return -1;
    at = skip_spaces(at);
    int count = 0;
    if (*at == '}') return *skip_spaces(at + 1) ? -1 : 0;
    while (count < room) {
        Member *into = &members[count++];
        if (*at++ != '"') return -1;
        const char *end = strchr(at, '"');
        if (end == NULL || (size_t)(end - at) >= sizeof into->name) return -1;
        memcpy(into->name, at, (size_t)(end - at));
        into->name[end - at] = 0;
        at = skip_spaces(end + 1);
        if (*at++ != ':') return -1;
        at = read_value(skip_spaces(at), into);
        if (at == NULL) return -1;
        if (*at == '}') return *skip_spaces(at + 1) ? -1 : count;
        if (*at++ != ',') return -1;
        at = skip_spaces(at);
    }
    return -1;
}

const Member *member(const Member *members, int count, const char *name) {
    for (int i = count - 1; i >= 0; i--)
        if (strcmp(members[i].name, name) == 0) return &members[i];
    return NULL;
}

/* ---- clocks and memory ---- */

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
int64_t process_cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

void put_clocks(Text *text) {
    /* read together: power rails are stamped with the time since boot, runs with the monotonic clock */
    int64_t monotonic = clock_ns(CLOCK_MONOTONIC);
    int64_t boot = clock_ns(CLOCK_BOOTTIME), real = clock_ns(CLOCK_REALTIME);
    put(text, "\"clocks\":{\"monotonic_ns\":%lld,\"boottime_ns\":%lld,\"realtime_ns\":%lld}",
        (long long)monotonic, (long long)boot, (long long)real);
}

void sleep_until(int64_t due_ns) {
    struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
}

int64_t status_bytes(const char *field) {
    char text[8192];
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return -1;
    text[length] = 0;
    const char *found = strstr(text, field);
    return found == NULL ? -1 : strtoll(found + strlen(field), NULL, 10) * 1024;
}
