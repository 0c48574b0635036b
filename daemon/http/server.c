/* Start and stop. Stopping follows an order libmicrohttpd dictates: no new connections, no new
 * suspensions, everything suspended resumed, and only then its daemons. */
#include "daemon/http/internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define WORKERS_MAX    8
#define DRAIN_NS_MAX   (2 * NS_PER_S)
#define RESUME_WAIT_NS (5 * NS_PER_MS)

static void config_defaults(struct http_config *c)
{
#define DEFAULT(member, value) c->member = c->member ? c->member : (value)
    DEFAULT(workers_count, 3);
    DEFAULT(connections_max, 256);
    DEFAULT(connections_per_ip_max, 32);
    DEFAULT(events_max, 64);
    DEFAULT(feeds_max, 8);
    DEFAULT(body_bytes_max, 64 * 1024);
    DEFAULT(request_ms_max, 10 * 1000);
    DEFAULT(reply_ms_max, 60 * 1000);
    DEFAULT(feed_ms_max, 600 * 1000);
    DEFAULT(idle_s_max, 30);
    DEFAULT(heartbeat_ms, 15 * 1000);
    DEFAULT(tick_ms, 1000);
#undef DEFAULT
    if (c->workers_count > WORKERS_MAX)
        c->workers_count = WORKERS_MAX;
}

/* Tables are ours: a row that breaks a rule is a bug found at the first start. */
static void routes_assert(const struct http_config *c)
{
    for (const struct http_route *const *at = c->routes; *at; at++)
        for (const struct http_route *r = *at; r->pattern; r++) {
            assert(r->pattern[0] == '/' && r->handle && r->name && r->summary);
            assert(!(r->flags & HTTP_INLINE) || (!r->scope && !(r->flags & HTTP_BODY)));
            assert(!(r->flags & HTTP_BODY) || r->method == HTTP_POST);
        }
}

static void hosts_fill(struct listener *l, const struct http_config *c)
{
    for (unsigned i = 0; i < c->hosts_count; i++)
        l->hosts[l->hosts_count++] = c->hosts[i];
    if (l->config->loopback) {
        l->hosts[l->hosts_count++] = "localhost";
        l->hosts[l->hosts_count++] = "127.0.0.1";
        l->hosts[l->hosts_count++] = "[::1]";
    }
    if (l->config->kind != HTTP_LISTEN_INET)
        return;
    snprintf(l->literal, sizeof l->literal, strchr(l->config->address, ':') ? "[%s]" : "%s",
             l->config->address);
    l->hosts[l->hosts_count++] = l->literal;
}

static int listener_start(struct http_server *s, unsigned index, struct err *e)
{
    struct listener *l = &s->listeners[index];
    l->server = s;
    l->config = &s->config.listen[index];
    hosts_fill(l, &s->config);
    int r = listen_open(l->config, &l->fd, &l->port, e);
    if (r < 0)
        return r;
    s->listeners_count = index + 1;
    r = loop_start(l, e);
    if (r < 0) {
        close(l->fd);
        s->listeners_count = index;
    }
    return r;
}

static int threads_start(struct http_server *s, struct err *e)
{
    int r = pthread_create(&s->ticker, NULL, conn_ticker, s);
    if (r)
        return err_set_errno(e, ERR_IO, r, "cannot start a thread");
    for (unsigned i = 0; i < s->config.workers_count; i++) {
        r = pthread_create(&s->workers[i], NULL, worker_main, s);
        if (r)
            break;
        s->workers_count++;
    }
    return s->workers_count ? 0 : err_set_errno(e, ERR_IO, r, "cannot start a thread");
}

static void threads_stop(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->workers_stop = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->workers_count; i++)
        pthread_join(s->workers[i], NULL);
}

static void ticker_stop(struct http_server *s)
{
    pthread_mutex_lock(&s->conns_lock);
    s->ticker_stop = true;
    pthread_cond_broadcast(&s->ticker_wake);
    pthread_mutex_unlock(&s->conns_lock);
    if (s->ticker)
        pthread_join(s->ticker, NULL);
}

static void server_free(struct http_server *s)
{
    for (unsigned i = 0; i < s->constants_count; i++) {
        MHD_destroy_response(s->constants[i].plain);
        MHD_destroy_response(s->constants[i].unchanged);
        if (s->constants[i].gzip)
            MHD_destroy_response(s->constants[i].gzip);
    }
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->ticker_wake);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->conns_lock);
    pthread_mutex_destroy(&s->constants_lock);
    free(s);
}

static void server_init(struct http_server *s, const struct http_config *config)
{
    s->config = *config;
    config_defaults(&s->config);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->conns_lock, NULL);
    pthread_mutex_init(&s->constants_lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->ticker_wake, &attr);
    pthread_condattr_destroy(&attr);
    uint32_t prefix = 0;
    (void)!getrandom(&prefix, sizeof prefix, 0);
    s->request_prefix = prefix;
}

int http_server_start(const struct http_config *config, struct http_server **ret, struct err *e)
{
    routes_assert(config);
    if (config->listen_count == 0 || config->listen_count > HTTP_LISTEN_MAX ||
        config->hosts_count > HTTP_HOSTS_MAX)
        return err_set(e, ERR_INVALID, "listen", "1 to %d listen addresses and at most %d hosts",
                       HTTP_LISTEN_MAX, HTTP_HOSTS_MAX);
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_IO, NULL, "out of memory");
    server_init(s, config);
    int r = threads_start(s, e);
    for (unsigned i = 0; i < config->listen_count && r == 0; i++)
        r = listener_start(s, i, e);
    if (r < 0) {
        http_server_stop(s);
        return r;
    }
    *ret = s;
    return 0;
}

const char *http_library_version(void)
{
    return MHD_get_version();
}

uint16_t http_server_port(const struct http_server *server, unsigned index)
{
    return index < server->listeners_count ? server->listeners[index].port : 0;
}

/* Wake everything that is suspended: parked requests are answered, streams end. */
static void waiting_release(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    for (struct exchange *x = s->waiting, *next; x; x = next) {
        next = x->list_next;
        if (x->state == EXCHANGE_PARKED) {
            struct err e;
            err_set(&e, ERR_CANCELLED, NULL, "the server is stopping; ask again");
            waiting_remove_locked(s, x);
            reply_fail(x, HTTP_FAULT_STOPPING, &e);
            exchange_resume_locked(x);
        } else {
            x->stream.ended = true;
            stream_wake_locked(&x->stream);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

/* Workers may still be at a handler; each ends with its connection resumed. */
static void workers_drain(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->queue_head || s->running) {
        pthread_mutex_unlock(&s->lock);
        struct timespec pause = {.tv_nsec = RESUME_WAIT_NS};
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Let the last replies reach their clients, within reason. */
static void replies_drain(struct http_server *s)
{
    uint64_t until = clock_monotonic_ns() + DRAIN_NS_MAX;
    while (atomic_load_explicit(&s->exchanges, memory_order_relaxed) > 0 &&
           clock_monotonic_ns() < until) {
        struct timespec pause = {.tv_nsec = RESUME_WAIT_NS};
        nanosleep(&pause, NULL);
    }
}

void http_server_stop(struct http_server *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->listeners_count; i++) {
        struct listener *l = &s->listeners[i];
        loop_quiesce(l);
        if (l->config->kind == HTTP_LISTEN_UNIX)
            (void)unlink(l->config->address);
    }
    ticker_stop(s);
    waiting_release(s);
    workers_drain(s);
    threads_stop(s);
    replies_drain(s);
    for (unsigned i = 0; i < s->listeners_count; i++)
        loop_stop(&s->listeners[i]);
    server_free(s);
}

void http_server_stats(struct http_server *s, struct http_stats *ret)
{
    struct http_stats stats = {
        .events_open = atomic_load_explicit(&s->events_open, memory_order_relaxed),
        .parked = atomic_load_explicit(&s->parked, memory_order_relaxed),
        .feeds_open = atomic_load_explicit(&s->feeds_open, memory_order_relaxed),
        .connections_total = atomic_load_explicit(&s->connections_total, memory_order_relaxed),
        .connections_refused = atomic_load_explicit(&s->connections_refused, memory_order_relaxed),
        .connections_overdue = atomic_load_explicit(&s->connections_overdue, memory_order_relaxed),
        .body_bytes_total = atomic_load_explicit(&s->body_bytes_total, memory_order_relaxed),
    };
    for (unsigned i = 0; i < 6; i++)
        stats.requests_total[i] = atomic_load_explicit(&s->requests_total[i], memory_order_relaxed);
    pthread_mutex_lock(&s->conns_lock);
    stats.connections = s->conns_count;
    pthread_mutex_unlock(&s->conns_lock);
    *ret = stats;
}
