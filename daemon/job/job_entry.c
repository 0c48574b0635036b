/* One entry of a job's "workloads": its lists of parameters, threads and pages. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/job/job_field.h"

/* A value or a list of values: item i, or NULL past the end. */
static const json_t *list_item(const json_t *json, size_t i)
{
    if (json_is_array(json))
        return json_array_get(json, i);
    return i == 0 ? json : NULL;
}

static int list_size(const json_t *json, const char *at, size_t *ret_count, struct err *e)
{
    size_t count = json_is_array(json) ? json_array_size(json) : 1;
    if (count == 0)
        return err_set(e, ERR_INVALID, at, "an empty list measures nothing");
    if (count > JOB_VALUES_MAX)
        return err_set(e, ERR_TOO_LARGE, at, "%zu values, at most %d", count, JOB_VALUES_MAX);
    *ret_count = count;
    return 0;
}

static int value_parse(const json_t *json, const struct param_row *row, const char *at,
                       union param_value *ret, struct err *e)
{
    union param_value value = {0};
    if (json_is_string(json) && row->type != PARAM_BOOL && row->type != PARAM_F64)
        return param_parse(row, json_string_value(json), at, ret, e);
    if (row->type == PARAM_F64 && json_is_number(json))
        value.f = json_number_value(json);
    else if (row->type == PARAM_BOOL && json_is_boolean(json))
        value.u = json_is_true(json);
    else if ((row->type == PARAM_U64 || row->type == PARAM_SIZE) && json_is_integer(json)) {
        if (json_integer_value(json) < 0)
            return err_set(e, ERR_OUT_OF_RANGE, at, "%s: %lld is outside %llu to %llu %s",
                           row->name, (long long)json_integer_value(json),
                           (unsigned long long)row->min.u, (unsigned long long)row->max.u,
                           row->unit);
        value.u = (uint64_t)json_integer_value(json);
    } else {
        return err_set(e, ERR_INVALID, at, "%s: a value of type %s is needed", row->name,
                       param_type_name(row->type));
    }
    int r = param_check(row, value, at, e);
    if (r == 0)
        *ret = value;
    return r;
}

static int parse_params(const json_t *json, const char *at, struct job_entry *entry, struct err *e)
{
    const struct workload *w = entry->workload;
    const char *key;
    json_t *value;
    if (json && !json_is_object(json))
        return err_set(e, ERR_INVALID, at, "params: an object is needed");
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        char where[160];
        snprintf(where, sizeof where, "%.90s/params/%.60s", at, key);
        int row = param_find(w->params, w->params_count, key);
        if (row < 0)
            return err_set(e, ERR_UNKNOWN_NAME, where,
                           "%s has no parameter \"%.60s\"; GET /api/v1/workloads/%s lists them",
                           w->name, key, w->name);
        size_t count = 0;
        int r = list_size(value, where, &count, e);
        for (size_t i = 0; r == 0 && i < count; i++)
            r = value_parse(list_item(value, i), &w->params[row], where, &entry->values[row][i], e);
        if (r < 0)
            return r;
        entry->values_count[row] = (uint32_t)count;
    }
    return 0;
}

/* "max": every physical core; "powers": 1, 2, 4, … and every core. */
static int threads_add(struct job_entry *entry, uint32_t threads)
{
    for (uint32_t i = 0; i < entry->threads_count; i++)
        if (entry->threads[i] == threads)
            return 0;
    if (entry->threads_count == JOB_VALUES_MAX)
        return -ENOSPC;
    entry->threads[entry->threads_count++] = threads;
    return 0;
}

static int threads_parse(const json_t *json, const char *where, uint32_t max, uint32_t cores,
                         struct job_entry *entry, struct err *e)
{
    const char *text = json_string_value(json);
    if (text && strcmp(text, "powers") == 0) {
        for (uint32_t t = 1; t < cores; t *= 2)
            (void)threads_add(entry, t);
        return threads_add(entry, cores);
    }
    if (text && strcmp(text, "max") == 0)
        return threads_add(entry, cores);
    if (!json_is_integer(json))
        return err_set(e, ERR_INVALID, where,
                       "threads: whole numbers, \"max\" or \"powers\" are needed");
    json_int_t threads = json_integer_value(json);
    if (threads < 1 || threads > max)
        return err_set(e, ERR_OUT_OF_RANGE, where, "threads: %lld is outside 1 to %u%s",
                       (long long)threads, max,
                       max == entry->workload->threads_max ? " (by nature of the workload)"
                                                           : " (CPUs of this host)");
    return threads_add(entry, (uint32_t)threads);
}

static int parse_threads(const json_t *json, const char *at, const struct job_limits *limits,
                         struct job_entry *entry, struct err *e)
{
    char where[160];
    snprintf(where, sizeof where, "%.120s/threads", at);
    uint32_t bound = entry->workload->threads_max < RING_THREADS_MAX ? entry->workload->threads_max
                                                                     : RING_THREADS_MAX;
    uint32_t max = limits->cpus_max < bound ? limits->cpus_max : bound;
    uint32_t cores = limits->cores_max < bound ? limits->cores_max : bound;
    if (!json)
        return threads_add(entry, 1);
    size_t count = 0;
    int r = list_size(json, where, &count, e);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = threads_parse(list_item(json, i), where, max, cores, entry, e);
    return r;
}

static int parse_pages(const json_t *json, const char *at, const struct job_limits *limits,
                       struct job_entry *entry, struct err *e)
{
    char where[160];
    snprintf(where, sizeof where, "%.120s/pages", at);
    if (!json) {
        entry->pages[entry->pages_count++] = PAGES_4K;
        return 0;
    }
    size_t count = 0;
    int r = list_size(json, where, &count, e);
    unsigned seen = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const char *name = json_string_value(list_item(json, i));
        int mode = name ? page_mode_parse(name) : -ENOENT;
        if (mode < 0)
            return err_set(e, ERR_UNKNOWN_NAME, where,
                           "pages: \"%.32s\" is not one of 4k, thp, hugetlb-2m, hugetlb-1g",
                           name ? name : "?");
        if (!(entry->workload->pages_mask & PAGES_BIT(mode)))
            return err_set(e, ERR_INVALID, where, "pages: %s cannot run on %s",
                           entry->workload->name, name);
        if (seen & PAGES_BIT(mode))
            return err_set(e, ERR_INVALID, where, "pages: \"%s\" is listed twice", name);
        seen |= PAGES_BIT(mode);
        if (!entry->optional_pages)
            r = limits->pages_check(limits->ctx, (enum page_mode)mode, where, e);
        entry->pages[entry->pages_count++] = (uint32_t)mode;
    }
    return r;
}

int job_entry_parse(const json_t *json, const char *at, const struct job_limits *limits,
                    struct job_entry *entry, struct err *e)
{
    static const char *const known[] = {"workload", "params",    "threads",   "pages",
                                        "repeats",  "rotations", "slice_ops", NULL};
    char name[48] = "", where[160];
    int r = field_object(json, at, known, e);
    if (r == 0)
        r = field_text(json, at, "workload", name, sizeof name, e);
    if (r < 0)
        return r;
    entry->workload = workload_find(name);
    if (!entry->workload) {
        snprintf(where, sizeof where, "%.120s/workload", at);
        return err_set(e, ERR_UNKNOWN_NAME, where,
                       "no workload \"%.48s\"; GET /api/v1/workloads lists them", name);
    }
    r = parse_params(json_object_get(json, "params"), at, entry, e);
    if (r == 0)
        r = parse_threads(json_object_get(json, "threads"), at, limits, entry, e);
    if (r == 0)
        r = parse_pages(json_object_get(json, "pages"), at, limits, entry, e);
    if (r == 0)
        r = field_u32(json, at, "repeats", 1, JOB_REPEATS_MAX, &entry->repeats, e);
    if (r == 0)
        r = field_rotations(json, at, &entry->rotations, e);
    if (r == 0)
        r = field_u64(json, at, "slice_ops", 100, UINT64_C(100000000), &entry->slice_ops, e);
    return r;
}
