/* Bodies made while they are sent. An event stream asks its source on the epoll thread and is
 * suspended while there is no news; a feed has its next piece made by a worker and is suspended
 * meanwhile. Every suspension happens under server->lock after a look at server->stopping, so
 * once that is set and everybody was resumed no connection is suspended any more: stopping
 * libmicrohttpd with a suspended connection aborts the process. */
#include "daemon/http/internal.h"

#include <errno.h>
#include <string.h>

#define FEED_BLOCK_SIZE   16384
#define EVENTS_BLOCK_SIZE 4096

static const char heartbeat[] = ": still here\n\n";

void stream_wake_locked(struct http_stream *stream)
{
    stream->woken = true;
    if (stream->suspended) {
        stream->suspended = false;
        loop_resume(stream->exchange->listener, stream->exchange->connection);
    }
}

void http_events_wake(struct http_stream *stream)
{
    struct http_server *s = stream->exchange->listener->server;
    pthread_mutex_lock(&s->lock);
    stream_wake_locked(stream);
    pthread_mutex_unlock(&s->lock);
}

static ssize_t events_read_locked(struct exchange *x, char *buf, size_t size)
{
    struct http_stream *stream = &x->stream;
    if (x->listener->server->stopping || stream->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    stream->woken = false;
    int n = x->reply.events.next(x->reply.events.ctx, buf, size);
    if (n == -ENODATA)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && stream->heartbeat_due && size >= sizeof heartbeat) {
        memcpy(buf, heartbeat, sizeof heartbeat - 1);
        n = (int)sizeof heartbeat - 1;
    }
    if (n == 0) {
        stream->suspended = true;
        MHD_suspend_connection(x->connection);
        return 0;
    }
    stream->heartbeat_due = false;
    stream->written_ns = clock_monotonic_ns();
    return n;
}

static ssize_t events_read(void *cls, uint64_t position, char *buf, size_t size)
{
    (void)position;
    struct exchange *x = cls;
    struct http_server *s = x->listener->server;
    pthread_mutex_lock(&s->lock);
    ssize_t n = events_read_locked(x, buf, size);
    pthread_mutex_unlock(&s->lock);
    return n;
}

static ssize_t feed_read_locked(struct exchange *x, char *buf, size_t size)
{
    struct http_stream *stream = &x->stream;
    size_t left = stream->chunk.size - stream->chunk_offset;
    if (left > 0) {
        size_t n = left < size ? left : size;
        memcpy(buf, stream->chunk.data + stream->chunk_offset, n);
        stream->chunk_offset += n;
        return (ssize_t)n;
    }
    if (stream->failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (x->listener->server->stopping)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    stream->chunk.size = stream->chunk_offset = 0;
    stream->filling = true;
    stream->suspended = true;
    MHD_suspend_connection(x->connection);
    x->filling_job = true;
    worker_push_locked(x->listener->server, x);
    return 0;
}

static ssize_t feed_read(void *cls, uint64_t position, char *buf, size_t size)
{
    (void)position;
    struct exchange *x = cls;
    struct http_server *s = x->listener->server;
    pthread_mutex_lock(&s->lock);
    ssize_t n = feed_read_locked(x, buf, size);
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* One piece, compressed if the client takes that. 1 more will come, 0 that was all, negative. */
static int stream_make(struct exchange *x)
{
    struct http_stream *stream = &x->stream;
    if (!stream->deflate)
        return x->reply.feed.next(x->reply.feed.ctx, &stream->chunk);
    struct http_text plain = {0};
    int r = x->reply.feed.next(x->reply.feed.ctx, &plain);
    if (r >= 0 && plain.failed)
        r = -ENOMEM;
    if (r >= 0) {
        int coded = encode_stream(stream->deflate, &plain, r == 0, &stream->chunk);
        r = coded < 0 ? coded : r;
    }
    http_text_done(&plain);
    return r;
}

void stream_fill(struct exchange *x)
{
    struct http_server *s = x->listener->server;
    struct http_stream *stream = &x->stream;
    int r;
    do /* an empty piece (all compressed away so far) must not end the stream */
        r = stream_make(x);
    while (r > 0 && stream->chunk.size == 0 && !stream->chunk.failed);
    pthread_mutex_lock(&s->lock);
    stream->failed = r < 0 || stream->chunk.failed;
    stream->ended = r <= 0;
    stream->filling = false;
    x->filling_job = false;
    stream_wake_locked(stream);
    pthread_mutex_unlock(&s->lock);
}

struct MHD_Response *stream_response(struct exchange *x)
{
    x->stream.written_ns = clock_monotonic_ns();
    if (x->reply.has_events)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EVENTS_BLOCK_SIZE, events_read,
                                                 x, NULL);
    if (encode_wants_gzip(x))
        x->stream.deflate = encode_stream_new();
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, FEED_BLOCK_SIZE, feed_read, x, NULL);
}

void stream_done(struct exchange *x)
{
    struct http_server *s = x->listener->server;
    if (x->reply.has_events)
        x->reply.events.free(x->reply.events.ctx);
    if (x->reply.has_feed)
        x->reply.feed.free(x->reply.feed.ctx);
    if (x->counted_events)
        atomic_fetch_sub_explicit(&s->events_open, 1, memory_order_relaxed);
    if (x->counted_feed)
        atomic_fetch_sub_explicit(&s->feeds_open, 1, memory_order_relaxed);
    encode_stream_free(x->stream.deflate);
    http_text_done(&x->stream.chunk);
}

/* Take one of the server's places, or say that there is none. */
static bool place_take(_Atomic unsigned *used, unsigned max)
{
    if (atomic_fetch_add_explicit(used, 1, memory_order_relaxed) < max)
        return true;
    atomic_fetch_sub_explicit(used, 1, memory_order_relaxed);
    return false;
}

int http_reply_events(struct http_request *rq, struct http_reply *reply,
                      const struct http_events *events, struct http_stream **ret_stream,
                      struct err *e)
{
    struct exchange *x = (struct exchange *)rq;
    struct http_server *s = x->listener->server;
    if (!place_take(&s->events_open, s->config.events_max))
        return err_set(e, ERR_LIMIT, NULL, "%u event streams are open already",
                       s->config.events_max);
    x->counted_events = true;
    x->stream.exchange = x;
    reply->content_type = "text/event-stream";
    reply->events = *events;
    reply->has_events = true;
    *ret_stream = &x->stream;
    return 0;
}

void http_reply_feed(struct http_reply *reply, const char *content_type,
                     const struct http_feed *feed)
{
    struct exchange *x = (struct exchange *)((char *)reply - offsetof(struct exchange, reply));
    struct http_server *s = x->listener->server;
    reply->content_type = content_type;
    reply->feed = *feed;
    reply->has_feed = true;
    x->stream.exchange = x;
    x->counted_feed = place_take(&s->feeds_open, s->config.feeds_max);
    if (!x->counted_feed) {
        struct err e;
        err_set(&e, ERR_LIMIT, NULL, "%u exports are running already", s->config.feeds_max);
        reply_fail(x, ERR_LIMIT, &e);
    }
}
