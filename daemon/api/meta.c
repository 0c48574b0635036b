/* What is said about the server itself: health, readiness, version, figures, the API's own
 * description, and what each type of problem means. */
#include "daemon/api/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#ifndef HEAPMARK_VERSION
#error "the build gives HEAPMARK_VERSION"
#endif

char *meta_version_text(void)
{
    struct writer w = {0};
    w_begin(&w, '{');
    w_str(&w, "name", "heapmark");
    w_str(&w, "version", HEAPMARK_VERSION);
    w_str(&w, "build_id", ring_build_id());
    w_str(&w, "sqlite", store_sqlite_version());
    w_str(&w, "libmicrohttpd", http_library_version());
    w_end(&w, '}');
    if (w.text.failed)
        http_text_done(&w.text);
    return w.text.data;
}

static int version_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)rq, (void)e;
    const char *text = api_of(ctx)->private_->version;
    http_reply_constant(reply, "application/json", text, strlen(text));
    return 0;
}

static int openapi_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)rq, (void)e;
    const char *text = api_of(ctx)->private_->openapi;
    http_reply_constant(reply, "application/json", text, strlen(text));
    return 0;
}

static int health_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    static const char text[] = "{\"status\":\"alive\"}";
    (void)ctx, (void)rq, (void)e;
    http_reply_constant(reply, "application/json", text, sizeof text - 1);
    return 0;
}

static int ready_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)rq;
    struct api_context *api = api_of(ctx);
    struct err why = {0};
    int r = api_draining(api) ? err_set(&why, ERR_CANCELLED, NULL, "the server is stopping")
                              : store_ready(api->store, &why);
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    w_bool(&w, "ready", r == 0);
    w_str_or_null(&w, "reason", why.message);
    w_end(&w, '}');
    http_reply_status(reply, r == 0 ? 200 : 503);
    return w_reply(&w, reply, e);
}

/* ---- /metrics ---- */

/* A family of figures in the text format of Prometheus; OpenMetrics differs in the name of a
 * counter's family (without _total) and in its end. */
struct exposition {
    struct http_text text;
    bool open;
};

static void family(struct exposition *x, const char *name, const char *type, const char *help)
{
    const char *suffix = strcmp(type, "counter") == 0 && !x->open ? "_total" : "";
    http_text_printf(&x->text, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
                     type);
}

static void gauge(struct exposition *x, const char *name, const char *help, double value)
{
    family(x, name, "gauge", help);
    http_text_printf(&x->text, "%s %.17g\n", name, value);
}

static void counter(struct exposition *x, const char *name, const char *help, uint64_t value)
{
    family(x, name, "counter", help);
    http_text_printf(&x->text, "%s_total %" PRIu64 "\n", name, value);
}

static void expose_http(struct exposition *x, struct http_server *server)
{
    struct http_stats s;
    http_server_stats(server, &s);
    gauge(x, "heapmark_http_connections", "Open connections.", s.connections);
    gauge(x, "heapmark_http_event_streams", "Open event streams.", s.events_open);
    gauge(x, "heapmark_http_waiting_requests", "Requests put aside by wait=.", s.parked);
    gauge(x, "heapmark_http_exports", "Streamed exports running.", s.feeds_open);
    counter(x, "heapmark_http_connections_accepted", "Connections accepted.", s.connections_total);
    counter(x, "heapmark_http_connections_refused", "Connections over the bound per address.",
            s.connections_refused);
    counter(x, "heapmark_http_connections_overdue", "Connections closed at a deadline.",
            s.connections_overdue);
    counter(x, "heapmark_http_body_bytes", "Bytes of request bodies received.", s.body_bytes_total);
    family(x, "heapmark_http_requests", "counter", "Requests by class of status.");
    for (unsigned i = 1; i < 6; i++)
        http_text_printf(&x->text, "heapmark_http_requests_total{status=\"%uxx\"} %" PRIu64 "\n", i,
                         s.requests_total[i]);
    http_text_printf(&x->text, "heapmark_http_requests_total{status=\"none\"} %" PRIu64 "\n",
                     s.requests_total[0]);
}

static void expose_store(struct exposition *x, const struct store_stats *s)
{
    gauge(x, "heapmark_store_database_bytes", "Size of the database.", (double)s->database_bytes);
    gauge(x, "heapmark_store_wal_bytes", "Size of the write-ahead log.", (double)s->wal_bytes);
    gauge(x, "heapmark_store_disk_free_bytes", "Free space beside the database.",
          (double)s->disk_free_bytes);
    counter(x, "heapmark_store_commits", "Commits; one may hold many transactions.", s->commits);
    counter(x, "heapmark_store_transactions", "Units of work committed.", s->transactions);
    counter(x, "heapmark_store_rows_written", "Rows written.", s->rows_written);
    counter(x, "heapmark_store_checkpoints", "Checkpoints of the log.", s->checkpoints);
    family(x, "heapmark_jobs", "gauge", "Jobs by state.");
    for (unsigned i = 0; i < JOB_STATE_COUNT_; i++)
        http_text_printf(&x->text, "heapmark_jobs{state=\"%s\"} %" PRIu64 "\n",
                         job_state_name((enum job_state)i), s->jobs_by_state[i]);
}

static int figures_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct api_context *api = api_of(ctx);
    struct store_stats stats;
    struct exposition x = {.open = http_prefers(rq, "application/openmetrics-text")};
    int r = store_stats(api->store, &stats, e);
    if (r < 0)
        return r;
    family(&x, "heapmark_build", x.open ? "info" : "gauge", "Version of the running program.");
    http_text_printf(&x.text, "%s{version=\"%s\"} 1\n",
                     x.open ? "heapmark_build_info" : "heapmark_build", HEAPMARK_VERSION);
    gauge(&x, "heapmark_uptime_seconds", "Since the start.",
          (double)(clock_monotonic_ns() - api->private_->started_ns) / (double)NS_PER_S);
    gauge(&x, "heapmark_event_subscriptions", "Clients that follow a job.",
          events_subscribers(api->events));
    expose_store(&x, &stats);
    struct http_server *server = atomic_load_explicit(&api->private_->http, memory_order_acquire);
    if (server)
        expose_http(&x, server);
    if (x.open)
        http_text_puts(&x.text, "# EOF\n");
    if (x.text.failed) {
        http_text_done(&x.text);
        return err_set(e, ERR_IO, NULL, "out of memory");
    }
    http_reply_take(reply,
                    x.open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                           : "text/plain; version=0.0.4; charset=utf-8",
                    x.text.data, x.text.size);
    return 0;
}

/* ---- problems ---- */

static int problem_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)ctx;
    for (unsigned i = 1; i < HTTP_FAULT_COUNT_; i++) {
        const struct http_problem *p = http_problem(i);
        if (strcmp(p->slug, rq->params[0]) != 0)
            continue;
        cleanup_writer struct writer w = {0};
        w_begin(&w, '{');
        char type[64];
        snprintf(type, sizeof type, "/problems/%s", p->slug);
        w_str(&w, "type", type);
        w_str(&w, "title", p->title);
        w_u64(&w, "status", p->status);
        w_str(&w, "help", p->help);
        w_end(&w, '}');
        return w_reply(&w, reply, e);
    }
    return err_set(e, ERR_NOT_FOUND, NULL, "no problem is called \"%.64s\"", rq->params[0]);
}

const struct http_route meta_routes[] = {
    {.method = HTTP_GET,
     .pattern = "/version",
     .flags = HTTP_INLINE,
     .handle = version_get,
     .name = "getVersion",
     .summary = "Version and build of the server and its libraries.",
     .returns = "Version"},
    {.method = HTTP_GET,
     .pattern = "/healthz",
     .flags = HTTP_INLINE,
     .handle = health_get,
     .name = "getHealth",
     .summary = "Answers while the server's loop is alive.",
     .returns = "Health"},
    {.method = HTTP_GET,
     .pattern = "/readyz",
     .handle = ready_get,
     .name = "getReadiness",
     .summary = "200 while jobs can be taken: database writable, disk above low water; else 503.",
     .returns = "Readiness"},
    {.method = HTTP_GET,
     .pattern = "/metrics",
     .scope = SCOPE_READ,
     .handle = figures_get,
     .name = "getFigures",
     .summary = "Figures of the server for Prometheus; OpenMetrics when Accept names it."},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/openapi.json",
     .flags = HTTP_INLINE,
     .handle = openapi_get,
     .name = "getOpenApi",
     .summary = "This description.",
     .returns = "Any"},
    {.method = HTTP_GET,
     .pattern = "/problems/{name}",
     .flags = HTTP_INLINE,
     .handle = problem_get,
     .name = "getProblem",
     .summary = "What a type of problem means.",
     .returns = "ProblemHelp"},
    {0},
};
