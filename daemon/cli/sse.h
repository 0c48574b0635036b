/* Server-sent events, as the WHATWG HTML standard defines their stream: bytes in, events out.
 * Pure; one owner. */
#ifndef HEAPMARK_DAEMON_CLI_SSE_H
#define HEAPMARK_DAEMON_CLI_SSE_H

#include <stdbool.h>
#include <stddef.h>

#define SSE_LINE_MAX 16384
#define SSE_DATA_MAX 65536
#define SSE_NAME_MAX 64

/* `id` is the last one seen, "" if none: what to send as Last-Event-ID. False: stop. */
typedef bool sse_handler(void *ctx, const char *event, const char *data, const char *id);

struct sse {
    sse_handler *handler;
    void *ctx;
    char line[SSE_LINE_MAX];
    size_t line_length;
    bool line_long; /* longer than the bound: the rest of it is dropped, its event too */
    bool after_cr;
    char data[SSE_DATA_MAX];
    size_t data_length;
    bool has_data, broken;
    char event[SSE_NAME_MAX];
    char id[SSE_NAME_MAX]; /* survives sse_restart */
};

/* Begin a stream: of the first connection, or after a broken one (a partial event is dropped). */
void sse_restart(struct sse *s);

/* False when the handler said stop. */
bool sse_feed(struct sse *s, const char *bytes, size_t count);

#endif
