/* /jobs/{id}/events: a job's progress as server-sent events. The opening runs on a worker, the
 * reading on the epoll thread, the wake on the publisher's. */
#include "daemon/api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"

struct follow {
    struct events_subscription *subscription; /* NULL when there is nothing to wait for */
    _Atomic(struct http_stream *) stream;     /* NULL until the reply exists */
    bool ended;                               /* the job was over when we came */
    bool end_sent;
    enum job_state state;
};

static void follow_free(void *ctx)
{
    struct follow *f = ctx;
    events_unsubscribe(f->subscription); /* after this nobody wakes the stream */
    free(f);
}

static void follow_wake(void *ctx)
{
    struct follow *f = ctx;
    /* Acquire: pairs with the release in events_get. Before it there is nobody to wake, and the
     * first read of the stream looks for events by itself. */
    struct http_stream *stream = atomic_load_explicit(&f->stream, memory_order_acquire);
    if (stream)
        http_events_wake(stream);
}

/* The end of a job whose events are no longer kept (it ended long ago, or before a restart). */
static int follow_end(struct follow *f, char *buf, size_t size)
{
    if (f->end_sent)
        return -ENODATA;
    f->end_sent = true;
    int n =
        snprintf(buf, size, "event: end\ndata: {\"state\":\"%s\"}\n\n", job_state_name(f->state));
    return n > 0 && (size_t)n < size ? n : -ENOBUFS;
}

static int follow_next(void *ctx, char *buf, size_t size)
{
    struct follow *f = ctx;
    int n = f->subscription ? events_next(f->subscription, buf, size) : 0;
    if (n == -EBUSY) /* held back: we are woken when that is over */
        return 0;
    return n == 0 && f->ended ? follow_end(f, buf, size) : n;
}

static int events_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct api_context *api = api_of(ctx);
    if (!http_accepts(rq, "text/event-stream"))
        return err_set(e, (enum err_code)HTTP_FAULT_NOT_ACCEPTABLE, NULL,
                       "this address has text/event-stream only");
    uint64_t last_id = 0;
    if (rq->last_event_id && text_parse_u64(rq->last_event_id, &last_id) < 0)
        return err_set(e, ERR_MALFORMED, NULL, "Last-Event-ID is not one this server gave");
    struct follow *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(e, ERR_IO, NULL, "out of memory");
    /* Follow first, look second: an end between the two is an event. */
    f->subscription = events_subscribe(api->events, rq->params[0], last_id, follow_wake, f);
    int r = f->subscription ? job_is_final(api, rq->params[0], &f->state, e)
                            : err_set(e, ERR_IO, NULL, "out of memory");
    struct http_stream *stream;
    if (r >= 0) {
        f->ended = r;
        struct http_events events = {.next = follow_next, .free = follow_free, .ctx = f};
        r = http_reply_events(rq, reply, &events, &stream, e);
    }
    if (r < 0) {
        follow_free(f);
        return r;
    }
    atomic_store_explicit(&f->stream, stream, memory_order_release);
    return 0;
}

const struct http_route events_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/jobs/{id}/events",
     .scope = SCOPE_READ,
     .flags = HTTP_NO_HEAD | HTTP_EVENTS,
     .handle = events_get,
     .name = "followJob",
     .summary = "Progress as server-sent events: state, step, discard, end."},
    {0},
};
