/* Which route a request is for, and whether its query is one that route knows. */
#include "daemon/http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/text.h"

static const char *const method_names[HTTP_METHOD_COUNT_] = {
    [HTTP_GET] = "GET", [HTTP_POST] = "POST"};

const char *http_method_name(enum http_method method)
{
    return method_names[method];
}

/* Compare segment by segment; {name} takes any one segment. Fills params with pointers to the
 * starts of the segments in `path`, sizes beside. */
static bool pattern_match(const char *pattern, const char *path,
                          const char *params[HTTP_PARAMS_MAX], size_t sizes[HTTP_PARAMS_MAX])
{
    unsigned count = 0;
    while (*pattern && *path) {
        if (*pattern == '{') {
            size_t size = strcspn(path, "/");
            if (size == 0 || count == HTTP_PARAMS_MAX)
                return false;
            params[count] = path;
            sizes[count++] = size;
            path += size;
            pattern = strchr(pattern, '}') + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*pattern && !*path;
}

/* Cut the parameters out of a second copy of the path, behind the first and its query, so that
 * rq->path stays whole. */
static void params_keep(struct exchange *x, const char *params[HTTP_PARAMS_MAX],
                        const size_t sizes[HTTP_PARAMS_MAX])
{
    size_t path_size = strlen(x->rq.path) + 1;
    char *copy = x->path_buf + strlen(x->target) + 2;
    memcpy(copy, x->rq.path, path_size);
    for (unsigned i = 0; i < HTTP_PARAMS_MAX && params[i]; i++) {
        char *at = copy + (params[i] - x->rq.path);
        at[sizes[i]] = '\0';
        x->rq.params[i] = at;
    }
}

static int route_method_fault(unsigned allowed, unsigned *ret_fault, struct err *e)
{
    static const char *const lists[] = {"", "GET, HEAD", "POST", "GET, HEAD, POST", "GET"};
    *ret_fault = HTTP_FAULT_METHOD;
    return err_set(e, ERR_INVALID, NULL, "this address knows %s only", lists[allowed]);
}

int route_find(const struct http_server *s, struct exchange *x, const char *method,
               unsigned *ret_fault, struct err *e)
{
    bool head = strcmp(method, "HEAD") == 0;
    unsigned allowed = 0;
    for (const struct http_route *const *at = s->config.routes; *at; at++)
        for (const struct http_route *r = *at; r->pattern; r++) {
            const char *params[HTTP_PARAMS_MAX] = {0};
            size_t sizes[HTTP_PARAMS_MAX];
            if (!pattern_match(r->pattern, x->rq.path, params, sizes))
                continue;
            bool no_head = r->flags & HTTP_NO_HEAD;
            if (strcmp(method, method_names[r->method]) == 0 ||
                (head && r->method == HTTP_GET && !no_head)) {
                x->rq.route = r;
                x->rq.method = r->method;
                x->rq.head = head;
                params_keep(x, params, sizes);
                return 0;
            }
            allowed |= r->method == HTTP_POST ? 2u : no_head ? 4u : 1u;
        }
    if (allowed) {
        x->reply.allow = allowed == 1   ? "GET, HEAD"
                         : allowed == 2 ? "POST"
                         : allowed == 3 ? "GET, HEAD, POST"
                                        : "GET";
        return route_method_fault(allowed > 4 ? 4 : allowed, ret_fault, e);
    }
    *ret_fault = ERR_NOT_FOUND;
    return err_set(e, ERR_NOT_FOUND, NULL, "no such address: %.200s", x->rq.path);
}

int http_time_parse(const char *text, int64_t *ret_us)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    int64_t us = 0;
    if (rest && *rest == 'T') {
        rest = strptime(rest, "T%H:%M:%S", &tm);
        if (rest && *rest == '.') {
            int64_t scale = 100000;
            for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
                us += (*rest - '0') * scale;
        }
        if (!rest || strcmp(rest, "Z") != 0)
            return -EINVAL;
        rest++;
    }
    if (!rest || *rest)
        return -EINVAL;
    *ret_us = (int64_t)timegm(&tm) * 1000000 + us;
    return 0;
}

static int query_check_count(const struct http_query_row *row, const char *value, const char *field,
                             struct err *e)
{
    uint64_t number;
    int r = text_parse_u64(value, &number);
    if (r == -EINVAL)
        return err_set(e, ERR_MALFORMED, field, "%s must be a whole number", row->name);
    if (r < 0 || number < row->min || number > row->max)
        return err_set(e, ERR_OUT_OF_RANGE, field, "%s is %.24s, must be %llu to %llu", row->name,
                       value, (unsigned long long)row->min, (unsigned long long)row->max);
    return 0;
}

static int query_check_choice(const struct http_query_row *row, const char *value,
                              const char *field, struct err *e)
{
    char list[256] = "";
    for (const char *const *c = row->choices; *c; c++) {
        if (strcmp(*c, value) == 0)
            return 0;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *c);
    }
    return err_set(e, ERR_INVALID, field, "%s must be one of %s", row->name, list);
}

static int query_check_value(const struct http_query_row *row, const char *value, struct err *e)
{
    char field[80];
    snprintf(field, sizeof field, "?%s", row->name);
    int64_t time_us;
    switch (row->type) {
    case HTTP_COUNT:
        return query_check_count(row, value, field, e);
    case HTTP_CHOICE:
        return query_check_choice(row, value, field, e);
    case HTTP_TIME:
        return http_time_parse(value, &time_us) == 0
                   ? 0
                   : err_set(e, ERR_MALFORMED, field, "%s must be a time like 2026-01-31T12:00:00Z",
                             row->name);
    case HTTP_CURSOR:
        for (const char *p = value; *p; p++)
            if (*p < '0' || *p > '9' || p - value >= 18)
                return err_set(e, ERR_MALFORMED, field, "%s is not one this server gave",
                               row->name);
        return 0;
    case HTTP_TEXT:
        break;
    }
    return 0;
}

int route_query_check(const struct http_request *rq, struct err *e)
{
    if (rq->route->flags & HTTP_ANY_QUERY)
        return 0;
    for (unsigned i = 0; i < rq->query_count; i++) {
        const struct http_query_row *row = rq->route->query;
        while (row && row->name && strcmp(row->name, rq->query[i].name) != 0)
            row++;
        if (!row || !row->name) {
            char field[80];
            snprintf(field, sizeof field, "?%.70s", rq->query[i].name);
            return err_set(e, ERR_UNKNOWN_NAME, field, "this address knows no parameter \"%.64s\"",
                           rq->query[i].name);
        }
        int r = query_check_value(row, rq->query[i].value, e);
        if (r < 0)
            return r;
    }
    return 0;
}

const char *http_query_get(const struct http_request *rq, const char *name)
{
    for (unsigned i = 0; i < rq->query_count; i++)
        if (strcmp(rq->query[i].name, name) == 0 && *rq->query[i].value)
            return rq->query[i].value;
    return NULL;
}

uint64_t http_query_count(const struct http_request *rq, const char *name, uint64_t otherwise)
{
    const char *value = http_query_get(rq, name);
    uint64_t number;
    return value && text_parse_u64(value, &number) == 0 ? number : otherwise;
}

int64_t http_query_time(const struct http_request *rq, const char *name)
{
    const char *value = http_query_get(rq, name);
    int64_t time_us;
    return value && http_time_parse(value, &time_us) == 0 ? time_us : 0;
}
