/* What the program is made of, as lists that never change while it runs: presets, workloads with
 * their parameter rows, metrics. */
#include "daemon/api/internal.h"

#include <stdio.h>
#include <string.h>

static char *list_take(const struct list_page *page)
{
    struct http_text *text = &page->w->text;
    list_page_end(page, NULL, NULL);
    if (text->failed) {
        http_text_done(text);
        return NULL;
    }
    return text->data;
}

/* ---- workloads ---- */

static void write_bound(struct writer *w, const char *key, const struct param_row *row,
                        union param_value value)
{
    if (row->type == PARAM_F64)
        w_num(w, key, value.f);
    else if (row->type == PARAM_U64 || row->type == PARAM_SIZE)
        w_u64(w, key, value.u);
    else
        w_null(w, key);
}

static void write_row(struct writer *w, const struct param_row *row)
{
    w_begin(w, '{');
    w_str(w, "name", row->name);
    w_str(w, "type", param_type_name(row->type));
    w_str(w, "unit", row->unit);
    w_str(w, "help", row->help);
    struct param_row as_default = *row; /* the default under its own key */
    as_default.name = "default";
    write_param(w, &as_default, row->def);
    write_bound(w, "min", row, row->min);
    write_bound(w, "max", row, row->max);
    if (row->type == PARAM_ENUM) {
        w_open(w, "choices", '[');
        for (const char *const *c = row->choices; *c; c++)
            w_string(w, *c);
        w_end(w, ']');
    } else {
        w_null(w, "choices");
    }
    w_end(w, '}');
}

static void write_metric(struct writer *w, const struct metric *m)
{
    w_begin(w, '{');
    w_str(w, "name", m->name);
    w_str(w, "unit", m->unit);
    w_str(w, "direction", metric_direction_name(m->direction));
    w_str(w, "help", m->help);
    w_end(w, '}');
}

static void write_workload(struct writer *w, const struct workload *wl)
{
    w_begin(w, '{');
    w_str(w, "name", wl->name);
    w_str(w, "family", wl->family);
    w_str(w, "summary", wl->summary);
    w_str(w, "kind", wl->kind == WORKLOAD_STEADY ? "steady" : "oneshot");
    w_str(w, "axis", wl->axis == AXIS_PAGES ? "pages" : "allocator");
    w_open(w, "pages", '[');
    for (unsigned p = 0; p < PAGES_COUNT_; p++)
        if (wl->pages_mask & PAGES_BIT(p))
            w_string(w, page_mode_name(p));
    w_end(w, ']');
    if (wl->threads_max == UINT32_MAX)
        w_null(w, "threads_max");
    else
        w_u64(w, "threads_max", wl->threads_max);
    w_open(w, "params", '[');
    for (unsigned i = 0; i < wl->params_count; i++)
        write_row(w, &wl->params[i]);
    w_end(w, ']');
    w_open(w, "metrics", '[');
    for (unsigned i = 0; i < wl->metrics_count; i++)
        write_metric(w, &metrics[wl->metrics[i]]);
    w_end(w, ']');
    w_end(w, '}');
}

char *rows_workloads_text(void)
{
    struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, NULL);
    for (const struct workload *const *at = workloads; *at; at++)
        write_workload(&w, *at);
    return list_take(&page);
}

char *rows_metrics_text(void)
{
    struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, NULL);
    for (unsigned i = 0; i < METRIC_COUNT_; i++)
        write_metric(&w, &metrics[i]);
    return list_take(&page);
}

/* ---- presets ---- */

static void write_preset(struct writer *w, const struct job_preset *preset)
{
    json_t *job = json_loads(preset->text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *title = json_object_get(job, "title"), *summary = json_object_get(job, "summary");
    w_begin(w, '{');
    w_str(w, "name", preset->name);
    w_str(w, "title", title ? json_string_value(title) : preset->name);
    w_str(w, "summary", summary ? json_string_value(summary) : "");
    json_t *changes = json_incref(json_object_get(job, "profiles"));
    json_object_del(job, "title");
    json_object_del(job, "summary");
    json_object_del(job, "profiles"); /* POST takes what is left as it is */
    w_json(w, "job", job);            /* embedded at build time; not JSON would fail every start */
    w_json(w, "profiles", changes ? changes : json_object());
    w_end(w, '}');
}

char *rows_presets_text(void)
{
    struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, NULL);
    for (unsigned i = 0; job_preset_at(i); i++)
        write_preset(&w, job_preset_at(i));
    return list_take(&page);
}

/* ---- handlers ---- */

static int constant_reply(struct http_reply *reply, const char *text)
{
    http_reply_constant(reply, "application/json", text, strlen(text));
    return 0;
}

static int workloads_get(void *ctx, struct http_request *rq, struct http_reply *reply,
                         struct err *e)
{
    (void)rq, (void)e;
    return constant_reply(reply, api_of(ctx)->private_->workloads);
}

static int metrics_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)rq, (void)e;
    return constant_reply(reply, api_of(ctx)->private_->metrics);
}

static int presets_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)rq, (void)e;
    return constant_reply(reply, api_of(ctx)->private_->presets);
}

static int workload_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)ctx;
    const struct workload *wl = workload_find(rq->params[0]);
    if (!wl)
        return err_set(e, ERR_NOT_FOUND, NULL, "no workload is called \"%.64s\"", rq->params[0]);
    cleanup_writer struct writer w = {0};
    write_workload(&w, wl);
    http_reply_etag(reply);
    return w_reply(&w, reply, e);
}

static int preset_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)ctx;
    for (unsigned i = 0; job_preset_at(i); i++) {
        if (strcmp(job_preset_at(i)->name, rq->params[0]) != 0)
            continue;
        cleanup_writer struct writer w = {0};
        write_preset(&w, job_preset_at(i));
        http_reply_etag(reply);
        return w_reply(&w, reply, e);
    }
    return err_set(e, ERR_NOT_FOUND, NULL, "no preset is called \"%.64s\"", rq->params[0]);
}

const struct http_route rows_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/workloads",
     .scope = SCOPE_READ,
     .handle = workloads_get,
     .name = "listWorkloads",
     .summary = "Workloads with their parameter rows and metrics.",
     .returns = "WorkloadList"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/workloads/{name}",
     .scope = SCOPE_READ,
     .handle = workload_get,
     .name = "getWorkload",
     .summary = "One workload.",
     .returns = "Workload"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/presets",
     .scope = SCOPE_READ,
     .handle = presets_get,
     .name = "listPresets",
     .summary = "Job files that come with the program.",
     .returns = "PresetList"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/presets/{name}",
     .scope = SCOPE_READ,
     .handle = preset_get,
     .name = "getPreset",
     .summary = "One preset.",
     .returns = "Preset"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/metrics",
     .scope = SCOPE_READ,
     .handle = metrics_get,
     .name = "listMetrics",
     .summary = "Every metric a result can have.",
     .returns = "MetricList"},
    {0},
};
