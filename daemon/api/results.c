/* /results: every summary of every job as flat rows, by page or streamed whole as NDJSON or CSV. */
#include "daemon/api/internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define EXPORT_ROWS 500 /* of one piece of a streamed export: one short query each */

static void results_filter(const struct http_request *rq, struct store_result_filter *f)
{
    *f = (struct store_result_filter){
        .job_uuid = http_query_get(rq, "job"),
        .workload = http_query_get(rq, "workload"),
        .params_key = http_query_get(rq, "params_key"),
        .allocator = http_query_get(rq, "allocator"),
        .metric = http_query_get(rq, "metric"),
        .host_key = http_query_get(rq, "host_key"),
        .project = http_query_get(rq, "project"),
        .branch = http_query_get(rq, "branch"),
        .commit = http_query_get(rq, "commit"),
        .threads = http_query_get(rq, "threads") ? (int)http_query_count(rq, "threads", 0) : -1,
        .pages = -1,
        .since_us = http_query_time(rq, "since"),
        .until_us = http_query_time(rq, "until"),
        .before_rowid = list_cursor(rq),
    };
    const char *pages = http_query_get(rq, "pages");
    if (pages)
        f->pages = page_mode_parse(pages);
}

static void write_result(struct writer *w, const struct store_result *row)
{
    w_begin(w, '{');
    w_str(w, "job", row->job_uuid);
    w_time(w, "finished", row->finished_us);
    w_str_or_null(w, "project", row->project);
    w_str_or_null(w, "branch", row->branch);
    w_str_or_null(w, "commit", row->commit);
    w_str(w, "workload", row->workload);
    w_str(w, "params_key", row->params_key);
    w_u64(w, "threads", row->threads);
    w_str(w, "pages", page_mode_name(row->pages));
    write_subject(w, row->allocator, row->options_key);
    w_str_or_null(w, "sha256", row->sha256);
    w_str_or_null(w, "version", row->version);
    w_str_or_null(w, "host_key", row->host_key);
    w_str_or_null(w, "protocol_key", row->protocol_key);
    w_str(w, "metric", metrics[row->summary.metric].name);
    write_summary_members(w, &row->summary);
    w_end(w, '}');
}

/* ---- one page ---- */

static int results_page_each(void *ctx, const struct store_result *row, int64_t rowid)
{
    struct list_page *page = ctx;
    if (list_page_take(page, rowid))
        write_result(page->w, row);
    return 0;
}

static int results_page_reply(struct api_context *api, const struct http_request *rq,
                              struct store_result_filter *filter, struct http_reply *reply,
                              struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_writer struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, rq);
    filter->limit = page.limit + 1;
    int r = view_acquire(api, &v, e);
    if (r == 0)
        r = store_view_results(v, filter, results_page_each, &page, e);
    return r < 0 ? r : list_page_reply(&page, rq, reply, e);
}

/* ---- export ---- */

static const char csv_head[] =
    "job,finished,project,branch,commit,workload,params_key,threads,pages,allocator,options,"
    "sha256,version,host_key,protocol_key,metric,unit,direction,value,low,high,confidence,count,"
    "ratio,ratio_low,ratio_high,noise,null_share,net,harness_bound,steady,reason,measured\r\n";

/* A field a spreadsheet would take for a formula gets an apostrophe before it (OWASP), and is
 * quoted as RFC 4180 says. */
static void csv_field(struct http_text *out, const char *value)
{
    value = value ? value : "";
    bool formula = value[0] && strchr("=+-@\t\r", value[0]);
    bool quoted = formula || strpbrk(value, ",\"\r\n");
    if (quoted)
        http_text_add(out, "\"", 1);
    if (formula)
        http_text_add(out, "'", 1);
    for (const char *p = value; *p; p++) {
        if (*p == '"')
            http_text_add(out, "\"", 1);
        http_text_add(out, p, 1);
    }
    if (quoted)
        http_text_add(out, "\"", 1);
}

static void csv_text(struct http_text *out, const char *value)
{
    csv_field(out, value);
    http_text_add(out, ",", 1);
}

static void csv_number(struct http_text *out, double value)
{
    char buf[32];
    writer_format_number(value, buf);
    http_text_printf(out, "%s,", strcmp(buf, "null") == 0 ? "" : buf);
}

static void csv_row(struct http_text *out, const struct store_result *row)
{
    const struct store_summary *s = &row->summary;
    const struct metric *m = &metrics[s->metric];
    char finished[32] = "";
    if (row->finished_us)
        clock_format_utc(row->finished_us, finished);
    const char *const before[] = {row->job_uuid, finished,      row->project,   row->branch,
                                  row->commit,   row->workload, row->params_key};
    for (unsigned i = 0; i < sizeof before / sizeof before[0]; i++)
        csv_text(out, before[i]);
    http_text_printf(out, "%u,", row->threads);
    const char *const between[] = {page_mode_name(row->pages),
                                   row->allocator,
                                   row->options_key,
                                   row->sha256,
                                   row->version,
                                   row->host_key,
                                   row->protocol_key,
                                   m->name,
                                   m->unit,
                                   metric_direction_name(m->direction)};
    for (unsigned i = 0; i < sizeof between / sizeof between[0]; i++)
        csv_text(out, between[i]);
    const double first[] = {s->value, s->low, s->high, s->confidence};
    for (unsigned i = 0; i < sizeof first / sizeof first[0]; i++)
        csv_number(out, first[i]);
    http_text_printf(out, "%u,", s->count);
    const double last[] = {s->ratio, s->ratio_low,  s->ratio_high,
                           s->noise, s->null_share, summary_net(s)};
    for (unsigned i = 0; i < sizeof last / sizeof last[0]; i++)
        csv_number(out, last[i]);
    http_text_puts(out, s->harness_bound ? "true," : "false,");
    http_text_puts(out, !isfinite(s->value) ? "," : s->unsteady ? "false," : "true,");
    csv_text(out, s->reason);
    csv_field(out, store_measured_name(s->measured));
    http_text_puts(out, "\r\n");
}

/* A running export: the filter with its strings copied, and where it is. */
struct export
{
    struct api_context *api;
    struct store_result_filter filter;
    char *texts; /* owned */
    bool csv, head_written;
    /* of the piece being made */
    struct writer w;
    uint32_t count;
    int64_t last;
};

static void export_free(void *ctx)
{
    struct export *x = ctx;
    free(x->texts);
    free(x);
}

static int export_each(void *ctx, const struct store_result *row, int64_t rowid)
{
    struct export *x = ctx;
    x->count++;
    x->last = rowid;
    if (x->csv) {
        csv_row(&x->w.text, row);
        return 0;
    }
    x->w.comma = false;
    write_result(&x->w, row);
    http_text_add(&x->w.text, "\n", 1);
    return 0;
}

/* Rows come newest first and rows already given never change: going on below the last row id in a
 * query of its own leaves nothing out and gives nothing twice. */
static int export_next(void *ctx, struct http_text *out)
{
    struct export *x = ctx;
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    int r = store_view_acquire(x->api->store, API_DEADLINE_MS, &v, NULL);
    if (r < 0)
        return r;
    x->w = (struct writer){.text = *out};
    x->count = 0;
    x->filter.limit = EXPORT_ROWS;
    if (x->csv && !x->head_written)
        http_text_puts(&x->w.text, csv_head);
    x->head_written = true;
    r = store_view_results(v, &x->filter, export_each, x, NULL);
    *out = x->w.text;
    if (r < 0)
        return r;
    x->filter.before_rowid = x->last;
    return x->count > 0;
}

/* The request's strings end with the request's handler; the export outlives it. */
static int export_copy(struct export *x, const struct store_result_filter *filter)
{
    const char **const texts[] = {
        &x->filter.job_uuid,  &x->filter.workload, &x->filter.params_key,
        &x->filter.allocator, &x->filter.metric,   &x->filter.host_key,
        &x->filter.project,   &x->filter.branch,   &x->filter.commit,
    };
    enum { TEXTS = sizeof texts / sizeof texts[0] };
    x->filter = *filter;
    size_t total = 1;
    for (unsigned i = 0; i < TEXTS; i++)
        total += *texts[i] ? strlen(*texts[i]) + 1 : 0;
    x->texts = malloc(total);
    if (!x->texts)
        return -ENOMEM;
    char *at = x->texts;
    for (unsigned i = 0; i < TEXTS; i++) {
        if (!*texts[i])
            continue;
        size_t size = strlen(*texts[i]) + 1;
        memcpy(at, *texts[i], size);
        *texts[i] = at;
        at += size;
    }
    return 0;
}

static int export_reply(struct api_context *api, const struct store_result_filter *filter, bool csv,
                        struct http_reply *reply, struct err *e)
{
    struct export *x = calloc(1, sizeof *x);
    if (!x || export_copy(x, filter) < 0) {
        free(x);
        return err_set(e, ERR_IO, NULL, "out of memory");
    }
    x->api = api;
    x->csv = csv;
    struct http_feed feed = {.next = export_next, .free = export_free, .ctx = x};
    http_reply_header(reply, "Content-Disposition",
                      csv ? "attachment; filename=\"heapmark-results.csv\""
                          : "attachment; filename=\"heapmark-results.ndjson\"");
    http_reply_feed(reply, csv ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson",
                    &feed);
    return 0;
}

static int results_list(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct store_result_filter filter;
    results_filter(rq, &filter);
    if (filter.metric && metric_find(filter.metric) < 0)
        return err_set(e, ERR_UNKNOWN_NAME, "?metric", "no metric is called \"%.64s\"",
                       filter.metric);
    const char *format = http_query_get(rq, "format");
    bool csv = format ? strcmp(format, "csv") == 0 : http_prefers(rq, "text/csv");
    bool ndjson = format ? strcmp(format, "ndjson") == 0 : http_prefers(rq, "application/x-ndjson");
    if (csv || ndjson)
        return export_reply(api_of(ctx), &filter, csv, reply, e);
    return results_page_reply(api_of(ctx), rq, &filter, reply, e);
}

static const char *const format_choices[] = {"json", "ndjson", "csv", NULL};

#define TEXT_ROW(n, h)                          \
    {                                           \
        .name = n, .type = HTTP_TEXT, .help = h \
    }
static const struct http_query_row results_query[] = {
    TEXT_ROW("job", "Only of this job."),
    TEXT_ROW("workload", "Only this workload."),
    TEXT_ROW("params_key", "Only these parameters, in canonical form."),
    TEXT_ROW("allocator", "Only this allocator."),
    TEXT_ROW("metric", "Only this metric."),
    TEXT_ROW("host_key", "Only of this class of host."),
    TEXT_ROW("project", "Only this label."),
    TEXT_ROW("branch", "Only this label."),
    TEXT_ROW("commit", "Only this label."),
    {.name = "threads",
     .type = HTTP_COUNT,
     .min = 1,
     .max = RING_THREADS_MAX,
     .help = "Only with so many threads."},
    {.name = "pages", .type = HTTP_CHOICE, .choices = pages_choices, .help = "Only this mode."},
    {.name = "since", .type = HTTP_TIME, .help = "Finished then or later."},
    {.name = "until", .type = HTTP_TIME, .help = "Finished before."},
    {.name = "format",
     .type = HTTP_CHOICE,
     .choices = format_choices,
     .help = "ndjson and csv stream every row; also chosen by Accept."},
    QUERY_LIMIT,
    QUERY_CURSOR,
    {0},
};

const struct http_route results_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/results",
     .scope = SCOPE_READ,
     .handle = results_list,
     .query = results_query,
     .name = "queryResults",
     .summary = "Summaries of all jobs as flat rows, newest first; or all of them as NDJSON, CSV.",
     .returns = "ResultList"},
    {0},
};
