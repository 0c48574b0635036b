/* One request from its first line to its last byte, as libmicrohttpd calls us: begin (request
 * line), handle (head; each piece of body; all here; resumed), completed. Epoll thread. */
#include "daemon/http/internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PATH_COPIES 2 /* the decoded path, and the one cut at its parameters */

void *exchange_begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct listener *l = cls;
    struct http_server *s = l->server;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *c = info ? info->socket_context : NULL;
    size_t size = uri ? strlen(uri) : 0;
    struct exchange *x = c ? calloc(1, sizeof *x) : NULL;
    char *target = x ? malloc((size + 2) * (1 + PATH_COPIES)) : NULL;
    if (!target) {
        free(x);
        return NULL;
    }
    memcpy(target, uri ? uri : "", size + 1);
    atomic_fetch_add_explicit(&s->exchanges, 1, memory_order_relaxed);
    x->target = target;
    x->path_buf = target + size + 1;
    x->rq.target = target;
    x->rq.body = "";
    x->listener = l;
    x->conn = c;
    x->connection = connection;
    x->started_ns = clock_monotonic_ns();
    /* Relaxed: only uniqueness matters. */
    uint64_t number = atomic_fetch_add_explicit(&s->request_number, 1, memory_order_relaxed);
    snprintf(x->rq.id, sizeof x->rq.id, "%08llx-%llx", (unsigned long long)s->request_prefix,
             (unsigned long long)number & 0xffffffffff);
    /* From the first line on the clock of the request runs, also on a connection kept alive. */
    conn_deadline(s, c, x->started_ns + ms_to_ns(s->config.request_ms_max), true);
    return x;
}

struct header_list {
    struct precheck_header headers[HTTP_HEADERS_MAX];
    unsigned count;
    bool overflow;
};

static enum MHD_Result header_collect(void *cls, enum MHD_ValueKind kind, const char *name,
                                      size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    struct header_list *list = cls;
    if (list->count == HTTP_HEADERS_MAX) {
        list->overflow = true;
        return MHD_NO;
    }
    list->headers[list->count++] = (struct precheck_header){.name = name,
                                                            .name_size = name_size,
                                                            .value = value ? value : "",
                                                            .value_size = value_size};
    return MHD_YES;
}

static int admit_head(struct exchange *x, const char *method, const char *version,
                      unsigned *ret_fault, struct err *e)
{
    struct header_list list;
    list.count = 0;
    list.overflow = false;
    (void)MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, header_collect, &list);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    *ret_fault = HTTP_FAULT_HEADERS_TOO_LARGE;
    if (list.overflow || !info || info->header_size > HTTP_HEAD_MAX)
        return err_set(e, ERR_TOO_LARGE, NULL, "more than %d header lines or %d bytes",
                       HTTP_HEADERS_MAX, HTTP_HEAD_MAX);
    struct precheck_head head = {.method = method,
                                 .version = version,
                                 .size = info->header_size,
                                 .headers = list.headers,
                                 .headers_count = list.count};
    *ret_fault = HTTP_FAULT_BAD_REQUEST;
    int r = precheck_lines(&head, e);
    return r < 0 ? r : precheck_headers(&head, &x->facts, ret_fault, e);
}

/* A page of another origin must not change anything here, whatever the browser lets it send. */
static int admit_origin(const struct exchange *x, unsigned *ret_fault, struct err *e)
{
    const char *origin = x->facts.origin;
    if (!origin || x->rq.method == HTTP_GET)
        return 0;
    const char *host = strstr(origin, "://");
    if (host && strcasecmp(host + 3, x->facts.host) == 0)
        return 0;
    *ret_fault = HTTP_FAULT_CROSS_ORIGIN;
    return err_set(e, ERR_FORBIDDEN, NULL, "requests from pages of %.100s are refused", origin);
}

static int admit_body(const struct exchange *x, unsigned *ret_fault, struct err *e)
{
    size_t max = x->listener->server->config.body_bytes_max;
    if (x->facts.body_size == 0)
        return 0;
    if (!(x->rq.route->flags & HTTP_BODY)) {
        *ret_fault = HTTP_FAULT_BODY_UNEXPECTED;
        return err_set(e, ERR_INVALID, NULL, "%s %.200s takes no body",
                       http_method_name(x->rq.method), x->rq.path);
    }
    if (x->facts.body_size > max) {
        *ret_fault = HTTP_FAULT_BODY_TOO_LARGE;
        return err_set(e, ERR_TOO_LARGE, NULL, "the body has %llu bytes, at most %zu are taken",
                       (unsigned long long)x->facts.body_size, max);
    }
    if (!precheck_is_json(x->facts.content_type)) {
        *ret_fault = HTTP_FAULT_MEDIA_TYPE;
        return err_set(e, ERR_INVALID, NULL, "send Content-Type: application/json");
    }
    return 0;
}

static int admit_principal(struct exchange *x, unsigned *ret_fault, struct err *e)
{
    const struct http_config *config = &x->listener->server->config;
    unsigned scope = x->rq.route->scope;
    x->rq.principal = (struct http_principal){.name = "local", .scopes = x->conn->open_scopes};
    if (!scope)
        return 0;
    *ret_fault = ERR_UNAUTHORIZED;
    const char *credentials = x->facts.authorization;
    if (!credentials) {
        return scope & ~x->conn->open_scopes
                   ? err_set(e, ERR_UNAUTHORIZED, NULL, "this needs Authorization: Bearer TOKEN")
                   : 0;
    }
    if (strncasecmp(credentials, "Bearer ", 7) != 0)
        return err_set(e, ERR_UNAUTHORIZED, NULL, "only Authorization: Bearer is known here");
    credentials += 7;
    credentials += strspn(credentials, " ");
    if (!config->auth.plausible(config->ctx, credentials))
        return err_set(e, ERR_UNAUTHORIZED, NULL, "this is not a token of heapmark, or has a typo");
    x->bearer = credentials;
    return 0;
}

int exchange_admit(struct exchange *x, const char *method, const char *version, unsigned *ret_fault,
                   struct err *e)
{
    const struct listener *l = x->listener;
    int r = admit_head(x, method, version, ret_fault, e);
    if (r < 0)
        return r;
    *ret_fault = HTTP_FAULT_MISDIRECTED;
    if (!precheck_host(x->facts.host, l->hosts, l->hosts_count))
        return err_set(e, ERR_INVALID, NULL,
                       "this server does not answer for host %.100s (see hosts in its "
                       "configuration)",
                       x->facts.host);
    struct target target;
    r = target_parse(x->target, x->path_buf, &target, e);
    if (r < 0) {
        *ret_fault = e->code == ERR_TOO_LARGE ? HTTP_FAULT_URI_TOO_LONG : HTTP_FAULT_BAD_REQUEST;
        return r;
    }
    x->rq.path = target.path;
    memcpy(x->rq.query, target.query, sizeof x->rq.query);
    x->rq.query_count = target.query_count;
    x->rq.accept = x->facts.accept;
    x->rq.idempotency_key = x->facts.idempotency_key;
    x->rq.last_event_id = x->facts.last_event_id;
    r = route_find(l->server, x, method, ret_fault, e);
    if (r == 0)
        r = admit_origin(x, ret_fault, e);
    if (r == 0)
        r = admit_principal(x, ret_fault, e);
    if (r == 0)
        r = admit_body(x, ret_fault, e);
    if (r == 0 && (r = route_query_check(&x->rq, e)) < 0)
        *ret_fault = e->code;
    return r;
}

/* The reply is complete: hand it to libmicrohttpd and set the deadline for taking it. */
static enum MHD_Result exchange_reply(struct exchange *x)
{
    struct http_server *s = x->listener->server;
    uint64_t until = clock_monotonic_ns() + ms_to_ns(s->config.reply_ms_max);
    if (x->reply.has_feed && !x->reply.has_error)
        until = clock_monotonic_ns() + ms_to_ns(s->config.feed_ms_max);
    if (x->reply.has_events && !x->reply.has_error)
        until = 0;
    conn_deadline(s, x->conn, until, false);
    pthread_mutex_lock(&s->lock);
    x->state = EXCHANGE_REPLYING;
    if (x->reply.has_events && !x->reply.has_error)
        waiting_add_locked(s, x);
    pthread_mutex_unlock(&s->lock);
    return reply_send(x);
}

static enum MHD_Result exchange_first(struct exchange *x, const char *method, const char *version)
{
    struct err e = {0};
    unsigned fault = ERR_INTERNAL;
    x->state = EXCHANGE_BODY;
    if (exchange_admit(x, method, version, &fault, &e) < 0) {
        reply_fail(x, fault, &e);
        return exchange_reply(x);
    }
    if (x->facts.body_size == 0)
        return MHD_YES;
    char *body = malloc((size_t)x->facts.body_size + 1);
    if (!body)
        return MHD_NO;
    x->body = body;
    return MHD_YES;
}

static enum MHD_Result exchange_upload(struct exchange *x, const char *upload, size_t *size)
{
    if (*size > x->facts.body_size - x->rq.body_size)
        return MHD_NO; /* libmicrohttpd counts too; never trust one counter */
    memcpy(x->body + x->rq.body_size, upload, *size);
    x->rq.body_size += *size;
    atomic_fetch_add_explicit(&x->listener->server->body_bytes_total, *size, memory_order_relaxed);
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result exchange_run(struct exchange *x)
{
    struct http_server *s = x->listener->server;
    if (x->body) {
        x->body[x->rq.body_size] = '\0';
        x->rq.body = x->body;
    }
    if (x->rq.route->flags & HTTP_INLINE) {
        struct err e = {0};
        if (x->rq.route->handle(s->config.ctx, &x->rq, &x->reply, &e) < 0)
            reply_fail(x, e.code ? e.code : ERR_INTERNAL, &e);
        return exchange_reply(x);
    }
    conn_deadline(s, x->conn, 0, false);
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    if (!stopping) {
        MHD_suspend_connection(x->connection);
        worker_push_locked(s, x);
    }
    pthread_mutex_unlock(&s->lock);
    if (!stopping)
        return MHD_YES;
    struct err e;
    err_set(&e, ERR_CANCELLED, NULL, "the server is stopping; ask again");
    reply_fail(x, HTTP_FAULT_STOPPING, &e);
    return exchange_reply(x);
}

enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **con_cls)
{
    (void)cls;
    (void)connection;
    (void)url; /* already decoded by libmicrohttpd, and not as strictly as we want */
    struct exchange *x = *con_cls;
    if (!x)
        return MHD_NO;
    /* Relaxed: in the states this thread handles nobody else writes it; a worker's DONE was made
     * visible by the lock inside the resume. */
    switch (atomic_load_explicit(&x->state, memory_order_relaxed)) {
    case EXCHANGE_NEW:
        return exchange_first(x, method, version);
    case EXCHANGE_BODY:
        return *upload_size ? exchange_upload(x, upload, upload_size) : exchange_run(x);
    case EXCHANGE_DONE:
        return exchange_reply(x);
    case EXCHANGE_REPLYING: /* body of a request already refused */
        *upload_size = 0;
        return MHD_YES;
    default:
        return MHD_YES; /* suspended: libmicrohttpd does not call */
    }
}

static void exchange_log(const struct exchange *x, const char *how)
{
    log_debug("%s %s %s -> %u %s in %llu us by %s", x->rq.id,
              x->rq.route ? http_method_name(x->rq.method) : "-", x->rq.path ? x->rq.path : "-",
              x->status, how, (unsigned long long)((clock_monotonic_ns() - x->started_ns) / 1000),
              x->rq.principal.name[0] ? x->rq.principal.name : "-");
}

void exchange_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode code)
{
    (void)connection;
    struct listener *l = cls;
    struct http_server *s = l->server;
    struct exchange *x = *con_cls;
    if (!x)
        return;
    *con_cls = NULL;
    pthread_mutex_lock(&s->lock);
    waiting_remove_locked(s, x);
    x->state = EXCHANGE_REPLYING; /* a late http_unpark finds nothing to do */
    pthread_mutex_unlock(&s->lock);
    if (x->rq.user_free)
        x->rq.user_free(x->rq.user);
    stream_done(x);
    unsigned digit = x->status / 100;
    atomic_fetch_add_explicit(&s->requests_total[digit < 6 ? digit : 0], 1, memory_order_relaxed);
    exchange_log(x, code == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "sent" : "broken off");
    /* Now idle; the next request must be complete within idle time and request time. */
    conn_deadline(s, x->conn,
                  clock_monotonic_ns() + ms_to_ns(s->config.request_ms_max) +
                      s->config.idle_s_max * NS_PER_S,
                  true);
    reply_done(&x->reply);
    if (x->counted_parked)
        atomic_fetch_sub_explicit(&s->parked, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->exchanges, 1, memory_order_relaxed);
    free(x->body);
    free(x->target);
    free(x);
}
