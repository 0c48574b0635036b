/* What several resources render or look up alike. Workers. */
#include "daemon/api/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"

const char *const pages_choices[] = {"4k", "thp", "hugetlb-2m", "hugetlb-1g", NULL};

uint32_t list_limit(const struct http_request *rq)
{
    return (uint32_t)http_query_count(rq, "limit", API_LIST_DEFAULT);
}

int64_t list_cursor(const struct http_request *rq)
{
    return (int64_t)http_query_count(rq, "cursor", 0);
}

/* The target of this request with another cursor. It is pure ASCII without quotes or brackets:
 * the pre-check let no other character pass. */
static void link_next(const struct http_request *rq, int64_t next, struct http_text *out)
{
    const char *query = strchr(rq->target, '?');
    http_text_puts(out, "<");
    http_text_add(out, rq->target, query ? (size_t)(query - rq->target) : strlen(rq->target));
    const char *at = query ? query : ""; /* on the '?' or '&' before each parameter */
    char separator = '?';
    while (*at && *++at) {
        size_t size = strcspn(at, "&");
        if (size > 0 && strncmp(at, "cursor=", 7) != 0) {
            http_text_add(out, &separator, 1);
            http_text_add(out, at, size);
            separator = '&';
        }
        at += size;
    }
    http_text_printf(out, "%ccursor=%lld>; rel=\"next\"", separator, (long long)next);
}

/* Write "next" and the Link header. */
static void list_next(struct writer *w, const struct http_request *rq, struct http_reply *reply,
                      int64_t next)
{
    if (next == 0) {
        w_null(w, "next");
        return;
    }
    char cursor[24];
    snprintf(cursor, sizeof cursor, "%lld", (long long)next);
    w_str(w, "next", cursor);
    struct http_text link = {0};
    link_next(rq, next, &link);
    if (!link.failed)
        http_reply_header(reply, "Link", link.data);
    http_text_done(&link);
}

void list_page_begin(struct list_page *page, struct writer *w, const struct http_request *rq)
{
    *page = (struct list_page){.w = w, .limit = rq ? list_limit(rq) : UINT32_MAX};
    w_begin(w, '{');
    w_open(w, "items", '[');
}

bool list_page_take(struct list_page *page, int64_t id)
{
    if (page->count == page->limit) {
        page->next = page->last;
        return false;
    }
    page->count++;
    page->last = id;
    return true;
}

void list_page_end(const struct list_page *page, const struct http_request *rq,
                   struct http_reply *reply)
{
    w_end(page->w, ']');
    list_next(page->w, rq, reply, page->next);
    w_end(page->w, '}');
}

int list_page_reply(const struct list_page *page, const struct http_request *rq,
                    struct http_reply *reply, struct err *e)
{
    list_page_end(page, rq, reply);
    http_reply_etag(reply);
    return w_reply(page->w, reply, e);
}

int view_acquire(struct api_context *api, struct store_view **ret, struct err *e)
{
    return store_view_acquire(api->store, API_DEADLINE_MS, ret, e);
}

static bool is_uuid(const char *text)
{
    if (strlen(text) != 36)
        return false;
    for (unsigned i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        char c = text[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (dash ? c != '-' : !hex)
            return false;
    }
    return true;
}

int view_job(struct store_view *v, const char *uuid, struct store_job *ret, struct err *e)
{
    if (!is_uuid(uuid))
        return err_set(e, ERR_NOT_FOUND, NULL, "no job has the id \"%.64s\"", uuid);
    return store_view_job(v, uuid, ret, e);
}

void format_subject(const char *allocator, const char *options_key, char *buf, size_t size)
{
    int n = snprintf(buf, size, "%s%s%s", allocator, options_key && *options_key ? "+" : "",
                     options_key ? options_key : "");
    for (char *p = buf; n > 0 && *p; p++)
        if (*p == ',')
            *p = '+';
}

void write_subject(struct writer *w, const char *allocator, const char *options_key)
{
    char subject[512];
    w_str(w, "allocator", allocator);
    w_open(w, "options", '[');
    for (const char *p = options_key; p && *p;) {
        char option[64];
        size_t size = strcspn(p, ",");
        snprintf(option, sizeof option, "%.*s", (int)size, p);
        w_string(w, option);
        p += size + (p[size] == ',');
    }
    w_end(w, ']');
    format_subject(allocator, options_key, subject, sizeof subject);
    w_str(w, "subject", subject);
}

void write_param(struct writer *w, const struct param_row *row, union param_value value)
{
    switch (row->type) {
    case PARAM_F64:
        w_num(w, row->name, value.f);
        break;
    case PARAM_ENUM:
        w_str(w, row->name, row->choices[value.u]);
        break;
    case PARAM_BOOL:
        w_bool(w, row->name, value.u != 0);
        break;
    case PARAM_U64:
    case PARAM_SIZE:
        w_u64(w, row->name, value.u);
        break;
    }
}

void write_point_params(struct writer *w, const struct workload *wl,
                        const struct workload_point *point)
{
    w_open(w, "params", '{');
    for (unsigned i = 0; i < wl->params_count; i++)
        write_param(w, &wl->params[i], point->params[i]);
    w_end(w, '}');
}

void write_key_params(struct writer *w, const char *workload, const char *params_key)
{
    const struct workload *wl = workload_find(workload);
    if (!wl) { /* of a version that had it */
        w_raw(w, "params", "{}");
        return;
    }
    struct workload_point point;
    workload_defaults(wl, &point);
    for (const char *p = params_key; *p;) {
        char name[64], value[64];
        size_t size = strcspn(p, ",");
        const char *equals = memchr(p, '=', size);
        if (equals) {
            snprintf(name, sizeof name, "%.*s", (int)(equals - p), p);
            snprintf(value, sizeof value, "%.*s", (int)(size - (size_t)(equals + 1 - p)),
                     equals + 1);
            int i = param_find(wl->params, wl->params_count, name);
            if (i >= 0)
                (void)param_parse(&wl->params[i], value, NULL, &point.params[i], NULL);
        }
        p += size + (p[size] == ',');
    }
    write_point_params(w, wl, &point);
}

double summary_net(const struct store_summary *s)
{
    return s->metric == METRIC_NS_PER_PAIR ? s->value * (1 - s->null_share) : NAN;
}

void write_summary_members(struct writer *w, const struct store_summary *s)
{
    const struct metric *m = &metrics[s->metric];
    w_num(w, "value", s->value);
    w_num(w, "low", s->low);
    w_num(w, "high", s->high);
    w_num(w, "confidence", s->confidence);
    w_u64(w, "count", s->count);
    w_str(w, "unit", m->unit);
    w_str(w, "direction", metric_direction_name(m->direction));
    w_num(w, "ratio", s->ratio);
    w_num(w, "ratio_low", s->ratio_low);
    w_num(w, "ratio_high", s->ratio_high);
    w_num(w, "noise", s->noise);
    w_num(w, "null_share", s->null_share);
    w_num(w, "net", summary_net(s));
    w_bool(w, "harness_bound", s->harness_bound);
    if (isfinite(s->value))
        w_bool(w, "steady", !s->unsteady);
    else
        w_null(w, "steady");
    w_str_or_null(w, "reason", s->reason);
    w_str_or_null(w, "measured", store_measured_name(s->measured));
}
