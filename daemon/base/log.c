#include "daemon/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Relaxed: set once at start, a late reader only logs one line more or less. */
static _Atomic int log_current_level = LOG_LEVEL_INFO;
static _Atomic int log_current_format = LOG_FORMAT_TEXT;

static const struct {
    const char *name;
    int syslog_priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

void log_set(enum log_level level, enum log_format format)
{
    atomic_store_explicit(&log_current_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&log_current_format, (int)format, memory_order_relaxed);
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(text, levels[i].name) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    return -EINVAL;
}

/* Copy with control characters, quotes and backslashes as JSON escapes; truncates at `size`. */
static void log_escape(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text && n + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&log_current_level, memory_order_relaxed))
        return;
    char text[1024], escaped[2048], line[2304];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_escape(text, escaped, sizeof escaped);

    int n = 0;
    struct timespec now;
    switch (atomic_load_explicit(&log_current_format, memory_order_relaxed)) {
    case LOG_FORMAT_PRIORITY:
        n = snprintf(line, sizeof line, "<%d>%s\n", levels[level].syslog_priority, escaped);
        break;
    case LOG_FORMAT_JSON:
        clock_gettime(CLOCK_REALTIME, &now);
        n = snprintf(line, sizeof line,
                     "{\"time\":%lld.%03ld,\"level\":\"%s\",\"message\":\"%s\"}\n",
                     (long long)now.tv_sec, now.tv_nsec / 1000000, levels[level].name, escaped);
        break;
    default:
        n = snprintf(line, sizeof line, "%s: %s\n", levels[level].name, escaped);
    }
    /* One write, so lines of several threads and processes do not mix. */
    if (n > 0)
        (void)!write(STDERR_FILENO, line, (size_t)n);
}
