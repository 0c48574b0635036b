/* Workers: the threads that may wait. A queue of exchanges whose connections are suspended; each
 * is run (its handler, or a piece of its streamed body) and its connection resumed. */
#include "daemon/http/internal.h"

#include <string.h>

void worker_push_locked(struct http_server *s, struct exchange *x)
{
    x->queue_next = NULL;
    if (s->queue_tail)
        s->queue_tail->queue_next = x;
    else
        s->queue_head = x;
    s->queue_tail = x;
    if (!x->filling_job)
        x->state = EXCHANGE_QUEUED;
    pthread_cond_signal(&s->work);
}

void waiting_add_locked(struct http_server *s, struct exchange *x)
{
    if (x->listed)
        return;
    x->listed = true;
    x->list_prev = NULL;
    x->list_next = s->waiting;
    if (x->list_next)
        x->list_next->list_prev = x;
    s->waiting = x;
}

void waiting_remove_locked(struct http_server *s, struct exchange *x)
{
    if (!x->listed)
        return;
    x->listed = false;
    if (x->list_prev)
        x->list_prev->list_next = x->list_next;
    else
        s->waiting = x->list_next;
    if (x->list_next)
        x->list_next->list_prev = x->list_prev;
}

void exchange_resume_locked(struct exchange *x)
{
    x->state = EXCHANGE_DONE;
    loop_resume(x->listener, x->connection);
}

/* The token first, then the handler. HTTP_PARKED, 0, or the reply says what went wrong. */
static int worker_handle(struct exchange *x)
{
    const struct http_config *config = &x->listener->server->config;
    struct err e = {0};
    int r = 0;
    if (x->bearer) {
        r = config->auth.verify(config->ctx, x->bearer, &x->rq.principal, &e);
        if (r == 0 && (x->rq.route->scope & ~x->rq.principal.scopes))
            r = err_set(&e, ERR_FORBIDDEN, NULL, "token %s does not have the scope this needs",
                        x->rq.principal.name);
        x->bearer = NULL;
    }
    if (r == 0)
        r = x->rq.route->handle(config->ctx, &x->rq, &x->reply, &e);
    if (r < 0)
        reply_fail(x, e.code ? e.code : ERR_INTERNAL, &e);
    return r;
}

/* Put aside, or run again at once when the news came before the handler had returned. */
static void worker_park_locked(struct http_server *s, struct exchange *x)
{
    if (s->stopping) {
        struct err e;
        err_set(&e, ERR_CANCELLED, NULL, "the server is stopping; ask again");
        reply_fail(x, HTTP_FAULT_STOPPING, &e);
        exchange_resume_locked(x);
        return;
    }
    if (!x->counted_parked) {
        x->counted_parked = true;
        /* No place left: the handler answers now, as if the wait were over. */
        if (atomic_fetch_add_explicit(&s->parked, 1, memory_order_relaxed) >= s->config.events_max)
            x->rq.park_expired = x->unparked = true;
    }
    if (x->unparked) {
        x->unparked = false;
        worker_push_locked(s, x);
        return;
    }
    if (!x->park_until_ns)
        x->park_until_ns = clock_monotonic_ns() + ms_to_ns(x->park_ms);
    x->state = EXCHANGE_PARKED;
    waiting_add_locked(s, x);
}

static void worker_run(struct http_server *s, struct exchange *x)
{
    if (x->filling_job) {
        stream_fill(x);
        return;
    }
    int r = worker_handle(x);
    pthread_mutex_lock(&s->lock);
    if (r == HTTP_PARKED)
        worker_park_locked(s, x);
    else
        exchange_resume_locked(x);
    pthread_mutex_unlock(&s->lock);
}

void *worker_main(void *server)
{
    struct http_server *s = server;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct exchange *x = s->queue_head;
        if (!x) {
            if (s->workers_stop)
                break;
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        s->queue_head = x->queue_next;
        if (!s->queue_head)
            s->queue_tail = NULL;
        if (!x->filling_job)
            x->state = EXCHANGE_RUNNING;
        s->running++;
        pthread_mutex_unlock(&s->lock);
        worker_run(s, x);
        pthread_mutex_lock(&s->lock);
        s->running--;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void http_park(struct http_request *rq, uint32_t wait_ms)
{
    struct exchange *x = (struct exchange *)rq;
    x->park_ms = wait_ms;
}

void http_unpark(struct http_request *rq)
{
    struct exchange *x = (struct exchange *)rq;
    struct http_server *s = x->listener->server;
    pthread_mutex_lock(&s->lock);
    if (x->state == EXCHANGE_PARKED) {
        waiting_remove_locked(s, x);
        worker_push_locked(s, x);
    } else if (x->state == EXCHANGE_RUNNING) {
        x->unparked = true;
    }
    pthread_mutex_unlock(&s->lock);
}
