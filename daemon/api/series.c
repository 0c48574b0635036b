/* /series: a subject's metric over time on one class of host. */
#include "daemon/api/internal.h"

#include <stdio.h>
#include <string.h>

#define POINTS_MAX     5000
#define POINTS_DEFAULT 500

static int series_each(void *ctx, const struct store_series *s)
{
    struct list_page *page = ctx;
    struct writer *w = page->w;
    if (!list_page_take(page, s->id))
        return 0;
    w_begin(w, '{');
    w_int(w, "id", s->id);
    w_str(w, "key", s->key);
    w_str(w, "workload", s->workload);
    w_str(w, "params_key", s->params_key);
    w_u64(w, "threads", s->threads);
    w_str(w, "pages", page_mode_name(s->pages));
    write_subject(w, s->allocator, s->options_key);
    w_str(w, "host_key", s->host_key);
    w_str(w, "protocol_key", s->protocol_key);
    w_str(w, "metric", metrics[s->metric].name);
    w_str(w, "unit", metrics[s->metric].unit);
    w_str(w, "direction", metric_direction_name(metrics[s->metric].direction));
    w_u64(w, "points", s->points_count);
    w_time(w, "last", s->last_us);
    w_end(w, '}');
    return 0;
}

static int series_list(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    const char *pages = http_query_get(rq, "pages");
    struct store_result_filter filter = {
        .workload = http_query_get(rq, "workload"),
        .params_key = http_query_get(rq, "params_key"),
        .allocator = http_query_get(rq, "allocator"),
        .metric = http_query_get(rq, "metric"),
        .host_key = http_query_get(rq, "host_key"),
        .threads = http_query_get(rq, "threads") ? (int)http_query_count(rq, "threads", 0) : -1,
        .pages = pages ? page_mode_parse(pages) : -1,
        .before_rowid = list_cursor(rq),
        .limit = list_limit(rq) + 1,
    };
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_writer struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, rq);
    int r = view_acquire(api_of(ctx), &v, e);
    if (r == 0)
        r = store_view_series(v, &filter, series_each, &page, e);
    return r < 0 ? r : list_page_reply(&page, rq, reply, e);
}

static int point_each(void *ctx, const struct store_point *p)
{
    struct writer *w = ctx;
    w_begin(w, '{');
    w_time(w, "time", p->time_us);
    w_str(w, "job", p->job_uuid);
    w_num(w, "value", p->value);
    w_num(w, "low", p->low);
    w_num(w, "high", p->high);
    w_num(w, "ratio", p->ratio);
    w_num(w, "ratio_low", p->ratio_low);
    w_num(w, "ratio_high", p->ratio_high);
    w_str_or_null(w, "sha256", p->sha256);
    w_str_or_null(w, "commit", p->commit);
    w_end(w, '}');
    return 0;
}

static int points_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    char *end;
    const char *text = rq->params[0];
    long long id = strtoll(text, &end, 10);
    if (*end || id <= 0 || text[0] < '0' || text[0] > '9')
        return err_set(e, ERR_NOT_FOUND, NULL, "no series has the id \"%.64s\"", text);
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    w_int(&w, "series", id);
    w_open(&w, "items", '[');
    int r = view_acquire(api_of(ctx), &v, e);
    if (r == 0)
        r = store_view_points(v, id, http_query_time(rq, "since"), http_query_time(rq, "until"),
                              (uint32_t)http_query_count(rq, "limit", POINTS_DEFAULT), point_each,
                              &w, e);
    if (r < 0)
        return r;
    w_end(&w, ']');
    w_end(&w, '}');
    http_reply_etag(reply);
    return w_reply(&w, reply, e);
}

static const struct http_query_row series_query[] = {
    {.name = "workload", .type = HTTP_TEXT, .help = "Only this workload."},
    {.name = "params_key", .type = HTTP_TEXT, .help = "Only these parameters."},
    {.name = "allocator", .type = HTTP_TEXT, .help = "Only this allocator."},
    {.name = "metric", .type = HTTP_TEXT, .help = "Only this metric."},
    {.name = "host_key", .type = HTTP_TEXT, .help = "Only of this class of host."},
    {.name = "threads",
     .type = HTTP_COUNT,
     .min = 1,
     .max = RING_THREADS_MAX,
     .help = "Only with so many threads."},
    {.name = "pages", .type = HTTP_CHOICE, .choices = pages_choices, .help = "Only this mode."},
    QUERY_LIMIT,
    QUERY_CURSOR,
    {0},
};
static const struct http_query_row points_query[] = {
    {.name = "since", .type = HTTP_TIME, .help = "Then or later."},
    {.name = "until", .type = HTTP_TIME, .help = "Before."},
    {.name = "limit",
     .type = HTTP_COUNT,
     .min = 1,
     .max = POINTS_MAX,
     .help = "At most so many, oldest first (default 500)."},
    {0},
};

const struct http_route series_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/series",
     .scope = SCOPE_READ,
     .handle = series_list,
     .query = series_query,
     .name = "listSeries",
     .summary = "Series: one subject, metric, point and class of host each.",
     .returns = "SeriesList"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/series/{id}/points",
     .scope = SCOPE_READ,
     .handle = points_get,
     .query = points_query,
     .name = "listPoints",
     .summary = "Points of a series in time order.",
     .returns = "PointList"},
    {0},
};
