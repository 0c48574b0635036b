/* What a job consists of: its cells, its trials, and both put together as results. */
#include "daemon/api/internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/stats/stats.h"

#define TRIALS_SLICES_MAX 20 /* items of a page that carries raw slices */

/* A cell with its texts copied: a store row lives only during its callback. */
struct cell_row {
    struct store_cell cell;
    char *texts; /* owned: the strings of cell, one behind the other */
    uint32_t summaries_first, summaries_count;
    bool takes_part; /* in who is best */
};

struct cell_table {
    struct cell_row *rows;
    uint32_t count, capacity;
    struct store_summary *summaries; /* by cell index, then metric; each owns its reason */
    uint32_t summaries_count, summaries_capacity;
    enum stats_standing *standings; /* of each summary, among its group */
};

static void cell_table_done(struct cell_table *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        free(t->rows[i].texts);
    for (uint32_t i = 0; i < t->summaries_count; i++)
        free((char *)(uintptr_t)t->summaries[i].reason);
    free(t->rows);
    free(t->summaries);
    free(t->standings);
}

/* Room for one more element of `size` bytes in a doubling array. */
static int table_grow(void **array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return 0;
    uint32_t larger = *capacity ? *capacity * 2 : 64;
    void *p = reallocarray(*array, larger, size);
    if (!p)
        return -ENOMEM;
    *array = p;
    *capacity = larger;
    return 0;
}

/* The texts `ret` points to, owned by the caller; NULL without memory. */
static char *cell_copy(const struct store_cell *cell, struct store_cell *ret)
{
    const char *const from[] = {cell->workload, cell->params_key, cell->allocator,
                                cell->options_key, cell->last_failure};
    const char **const to[] = {&ret->workload, &ret->params_key, &ret->allocator, &ret->options_key,
                               &ret->last_failure};
    size_t total = 0;
    for (unsigned i = 0; i < 5; i++)
        total += strlen(from[i] ? from[i] : "") + 1;
    char *texts = malloc(total), *at = texts;
    if (!texts)
        return NULL;
    *ret = *cell;
    for (unsigned i = 0; i < 5; i++) {
        size_t size = strlen(from[i] ? from[i] : "") + 1;
        memcpy(at, from[i] ? from[i] : "", size);
        *to[i] = at;
        at += size;
    }
    return texts;
}

static int cell_each(void *ctx, const struct store_cell *cell)
{
    struct cell_table *t = ctx;
    if (t->count >= JOB_CELLS_MAX)
        return -E2BIG;
    if (table_grow((void **)&t->rows, t->count, &t->capacity, sizeof *t->rows) < 0)
        return -ENOMEM;
    struct cell_row row = {0};
    row.texts = cell_copy(cell, &row.cell);
    if (!row.texts)
        return -ENOMEM;
    t->rows[t->count++] = row;
    return 0;
}

static int summary_each(void *ctx, const struct store_summary *s)
{
    struct cell_table *t = ctx;
    if (table_grow((void **)&t->summaries, t->summaries_count, &t->summaries_capacity,
                   sizeof *t->summaries) < 0)
        return -ENOMEM;
    char *reason = s->reason && *s->reason ? strdup(s->reason) : NULL;
    if (!reason && s->reason && *s->reason)
        return -ENOMEM;
    t->summaries[t->summaries_count] = *s;
    t->summaries[t->summaries_count++].reason = reason;
    return 0;
}

static int summary_compare(const void *a, const void *b)
{
    const struct store_summary *x = a, *y = b;
    if (x->cell_idx != y->cell_idx)
        return x->cell_idx < y->cell_idx ? -1 : 1;
    return x->metric < y->metric ? -1 : x->metric > y->metric;
}

static int cell_compare(const void *a, const void *b)
{
    const struct cell_row *x = a, *y = b;
    return x->cell.idx < y->cell.idx ? -1 : x->cell.idx > y->cell.idx;
}

/* Baselines are the harness's own rows, and what the catalogue no longer has may be one. */
static bool cell_takes_part(const struct catalog *catalog, const struct store_cell *cell)
{
    const struct catalog_entry *entry = catalog_find(catalog, cell->allocator);
    return entry && entry->kind != CATALOG_BASELINE && cell->role != ROLE_CONTROL;
}

static struct stats_contestant contestant_of(const struct cell_row *row,
                                             const struct store_summary *s)
{
    struct stats_contestant c = {
        .ratio = s->ratio,
        .low = s->ratio_low,
        .high = s->ratio_high,
        .judged = stats_judged(s->count, s->confidence),
        .takes_part = row->takes_part && isfinite(s->value),
    };
    if (row->cell.role == ROLE_REFERENCE)
        c.ratio = c.low = c.high = 1;
    return c;
}

/* Room for the contestants of one group: at[i] is the summary of contestants[i]. */
struct ranking {
    struct stats_contestant *contestants;
    enum stats_standing *standings;
    uint32_t *at;
};

static void ranking_done(struct ranking *r)
{
    free(r->contestants);
    free(r->standings);
    free(r->at);
}

/* Standings of rows first to end, one group, in one metric. */
static void standings_rank(struct cell_table *t, uint32_t first, uint32_t end,
                           enum metric_id metric, struct ranking *ranking)
{
    uint32_t count = 0;
    for (uint32_t i = first; i < end; i++) {
        const struct cell_row *row = &t->rows[i];
        for (uint32_t k = 0; k < row->summaries_count; k++) {
            const struct store_summary *s = &t->summaries[row->summaries_first + k];
            if (s->metric != metric)
                continue;
            ranking->contestants[count] = contestant_of(row, s);
            ranking->at[count++] = row->summaries_first + k;
            break;
        }
    }
    stats_standings(ranking->contestants, count, metrics[metric].direction == METRIC_HIGHER,
                    ranking->standings);
    for (uint32_t i = 0; i < count; i++)
        t->standings[ranking->at[i]] = ranking->standings[i];
}

static uint32_t group_end(const struct cell_table *t, uint32_t first)
{
    uint32_t end = first + 1;
    while (end < t->count && t->rows[end].cell.group_idx == t->rows[first].cell.group_idx)
        end++;
    return end;
}

/* Metrics without a good direction have no best: their summaries stay without standing. */
static int standings_make(struct cell_table *t, const struct catalog *catalog)
{
    const size_t room = (size_t)t->count + 1;
    cleanup_(ranking_done) struct ranking ranking = {
        .contestants = calloc(room, sizeof *ranking.contestants),
        .standings = calloc(room, sizeof *ranking.standings),
        .at = calloc(room, sizeof *ranking.at),
    };
    t->standings = calloc((size_t)t->summaries_count + 1, sizeof *t->standings);
    if (!t->standings || !ranking.contestants || !ranking.standings || !ranking.at)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->count; i++)
        t->rows[i].takes_part = cell_takes_part(catalog, &t->rows[i].cell);
    for (uint32_t first = 0, end; first < t->count; first = end) {
        end = group_end(t, first);
        for (unsigned m = 0; m < METRIC_COUNT_; m++)
            if (metrics[m].direction != METRIC_NEUTRAL)
                standings_rank(t, first, end, (enum metric_id)m, &ranking);
    }
    return 0;
}

static int cell_table_load(struct store_view *v, int64_t job_id, const struct catalog *catalog,
                           struct cell_table *t, struct err *e)
{
    int r = store_view_cells(v, job_id, cell_each, t, e);
    if (r == 0)
        r = store_view_summaries(v, job_id, summary_each, t, e);
    if (r == -ENOMEM)
        return err_set(e, ERR_IO, NULL, "out of memory");
    if (r < 0)
        return r;
    if (t->count)
        qsort(t->rows, t->count, sizeof *t->rows, cell_compare);
    if (t->summaries_count)
        qsort(t->summaries, t->summaries_count, sizeof *t->summaries, summary_compare);
    uint32_t s = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        while (s < t->summaries_count && t->summaries[s].cell_idx < t->rows[i].cell.idx)
            s++;
        t->rows[i].summaries_first = s;
        while (s < t->summaries_count && t->summaries[s].cell_idx == t->rows[i].cell.idx)
            s++;
        t->rows[i].summaries_count = s - t->rows[i].summaries_first;
    }
    if (standings_make(t, catalog) < 0)
        return err_set(e, ERR_IO, NULL, "out of memory");
    return 0;
}

static void write_cell(struct writer *w, const struct cell_table *t, const struct cell_row *row)
{
    const struct store_cell *c = &row->cell;
    w_begin(w, '{');
    w_u64(w, "index", c->idx);
    w_u64(w, "group", c->group_idx);
    w_str(w, "workload", c->workload);
    write_key_params(w, c->workload, c->params_key);
    w_str(w, "params_key", c->params_key);
    w_u64(w, "threads", c->threads);
    w_str(w, "pages", page_mode_name(c->pages));
    write_subject(w, c->allocator, c->options_key);
    w_str(w, "role", store_role_name(c->role));
    w_open(w, "trials", '{');
    w_u64(w, "ok", c->trials_ok);
    w_u64(w, "failed", c->trials_failed);
    w_u64(w, "discarded", c->trials_discarded);
    w_u64(w, "crowded", c->trials_crowded);
    w_end(w, '}');
    w_str(w, "last_failure", c->last_failure);
    w_open(w, "summaries", '{');
    for (uint32_t i = 0; i < row->summaries_count; i++) {
        const struct store_summary *s = &t->summaries[row->summaries_first + i];
        w_open(w, metrics[s->metric].name, '{');
        write_summary_members(w, s);
        w_str_or_null(w, "standing", stats_standing_name(t->standings[row->summaries_first + i]));
        w_end(w, '}');
    }
    w_end(w, '}');
    w_end(w, '}');
}

static int cells_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_(store_job_done) struct store_job job = {0};
    cleanup_(cell_table_done) struct cell_table t = {0};
    int r = view_acquire(api_of(ctx), &v, e);
    if (r == 0)
        r = view_job(v, rq->params[0], &job, e);
    if (r == 0)
        r = cell_table_load(v, job.id, api_of(ctx)->catalog, &t, e);
    if (r < 0)
        return r;
    /* The cursor is how many cells the client has: their number and order are fixed. */
    cleanup_writer struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, rq);
    for (uint64_t i = (uint64_t)list_cursor(rq); i < t.count; i++) {
        if (!list_page_take(&page, (int64_t)i + 1))
            break;
        write_cell(&w, &t, &t.rows[i]);
    }
    return list_page_reply(&page, rq, reply, e);
}

/* ---- results ---- */

static void write_group(struct writer *w, const struct cell_table *t, uint32_t first,
                        uint32_t count)
{
    const struct store_cell *c = &t->rows[first].cell;
    const struct workload *wl = workload_find(c->workload);
    w_begin(w, '{');
    w_u64(w, "group", c->group_idx);
    w_str(w, "workload", c->workload);
    write_key_params(w, c->workload, c->params_key);
    w_str(w, "params_key", c->params_key);
    w_u64(w, "threads", c->threads);
    w_str(w, "pages", page_mode_name(c->pages));
    w_str(w, "axis", wl && wl->axis == AXIS_PAGES ? "pages" : "allocator");
    w_open(w, "cells", '[');
    for (uint32_t i = first; i < first + count; i++)
        write_cell(w, t, &t->rows[i]);
    w_end(w, ']');
    w_end(w, '}');
}

static int results_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_(store_job_done) struct store_job job = {0};
    cleanup_(cell_table_done) struct cell_table t = {0};
    int r = view_acquire(api_of(ctx), &v, e);
    if (r == 0)
        r = view_job(v, rq->params[0], &job, e);
    if (r == 0)
        r = cell_table_load(v, job.id, api_of(ctx)->catalog, &t, e);
    if (r < 0)
        return r;
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    write_job(&w, "job", &job, false);
    w_open(&w, "groups", '[');
    for (uint32_t first = 0, end; first < t.count; first = end) {
        end = group_end(&t, first);
        write_group(&w, &t, first, end - first);
    }
    w_end(&w, ']');
    w_end(&w, '}');
    http_reply_etag(reply);
    return w_reply(&w, reply, e);
}

/* ---- trials ---- */

struct trials_page {
    struct list_page list;
    struct store_view *view;
    int64_t job_id;
    bool with_slices;
};

static int value_each(void *ctx, const struct store_value *value)
{
    w_num(ctx, metrics[value->metric].name, value->value);
    return 0;
}

static int absence_each(void *ctx, const struct store_absence *absence)
{
    w_null(ctx, metrics[absence->metric].name);
    return 0;
}

static int reason_each(void *ctx, const struct store_absence *absence)
{
    w_str(ctx, metrics[absence->metric].name, absence->reason);
    return 0;
}

/* Values, null for what has a reason not to have one; and those reasons. */
static int write_values(const struct trials_page *page, int64_t trial_id)
{
    struct writer *w = page->list.w;
    w_open(w, "values", '{');
    int r = store_view_values(page->view, page->job_id, trial_id, value_each, w, NULL);
    if (r == 0)
        r = store_view_absences(page->view, page->job_id, trial_id, absence_each, w, NULL);
    w_end(w, '}');
    w_open(w, "reasons", '{');
    if (r == 0)
        r = store_view_absences(page->view, page->job_id, trial_id, reason_each, w, NULL);
    w_end(w, '}');
    return r;
}

static void write_isolation(struct writer *w, uint32_t bits)
{
    w_open(w, "isolation", '[');
    for (unsigned i = 0; i < ISOLATION_BIT_COUNT_; i++)
        if (bits & (1u << i))
            w_string(w, isolation_bit_name(i));
    w_end(w, ']');
    w_str(w, "isolation_level", isolation_level(bits));
}

static void write_slices(struct writer *w, const struct store_trial *t)
{
    w_open(w, "slices", '[');
    for (uint32_t i = 0; i < t->slices_count; i++) {
        w_begin(w, '[');
        w_integer(w, (int64_t)t->slices[i].start_ns);
        w_integer(w, (int64_t)t->slices[i].end_ns);
        w_integer(w, (int64_t)t->slices[i].ops);
        w_end(w, ']');
    }
    w_end(w, ']');
}

static void write_trial_identity(struct writer *w, const struct store_trial *t)
{
    w_str(w, "outcome", t->outcome);
    bool failed = t->failure && strcmp(t->failure, "none") != 0;
    w_str_or_null(w, "failure", failed ? t->failure : NULL);
    w_int(w, "exit_status", t->exit_status);
    w_int(w, "signal", t->signal);
    w_u64(w, "turns_done", t->turns_done);
    w_u64(w, "turns_total", t->turns_total);
    w_str(w, "message", t->message ? t->message : "");
    w_str(w, "log", t->log ? t->log : "");
    w_str_or_null(w, "sha256", t->sha256);
    w_str(w, "version", t->version ? t->version : "");
}

static int write_trial(struct trials_page *page, const struct store_trial *t)
{
    struct writer *w = page->list.w;
    w_begin(w, '{');
    w_int(w, "id", t->id);
    w_int(w, "ring", t->ring_id);
    w_u64(w, "cell", t->cell_idx);
    w_u64(w, "repetition", t->repetition);
    w_u64(w, "position", t->position);
    w_u64(w, "runner", t->runner_idx);
    w_str(w, "role", store_role_name(t->role));
    w_u64(w, "attempt", t->attempt);
    w_str(w, "attempt_state", t->attempt_state);
    write_trial_identity(w, t);
    write_isolation(w, t->isolation);
    w_time(w, "started", t->started_us);
    w_time(w, "finished", t->finished_us);
    w_num(w, "steal_ratio", t->steal_ratio);
    w_num(w, "psi_cpu_ratio", t->psi_cpu_ratio);
    w_bool(w, "housekeeping", t->housekeeping);
    w_str_or_null(w, "discard_reason", t->discard_reason);
    int r = write_values(page, t->id);
    if (page->with_slices)
        write_slices(w, t);
    w_end(w, '}');
    return r;
}

static int trial_each(void *ctx, const struct store_trial *t)
{
    struct trials_page *page = ctx;
    return list_page_take(&page->list, t->id) ? write_trial(page, t) : 0;
}

static int trials_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_(store_job_done) struct store_job job = {0};
    int r = view_acquire(api_of(ctx), &v, e);
    if (r == 0)
        r = view_job(v, rq->params[0], &job, e);
    if (r < 0)
        return r;
    cleanup_writer struct writer w = {0};
    struct trials_page page = {
        .view = v, .job_id = job.id, .with_slices = http_query_count(rq, "slices", 0)};
    list_page_begin(&page.list, &w, rq);
    if (page.with_slices && page.list.limit > TRIALS_SLICES_MAX)
        page.list.limit = TRIALS_SLICES_MAX;
    struct store_trial_filter filter = {
        .job_id = job.id,
        .cell_idx = (int)(int64_t)http_query_count(rq, "cell", UINT64_MAX),
        .with_slices = page.with_slices,
        .after_id = list_cursor(rq),
        .limit = page.list.limit + 1,
    };
    r = store_view_trials(v, &filter, trial_each, &page, e);
    return r < 0 ? r : list_page_reply(&page.list, rq, reply, e);
}

static const struct http_query_row cells_query[] = {QUERY_LIMIT, QUERY_CURSOR, {0}};
static const struct http_query_row trials_query[] = {
    {.name = "cell", .type = HTTP_COUNT, .max = JOB_CELLS_MAX - 1, .help = "Only of this cell."},
    {.name = "slices",
     .type = HTTP_COUNT,
     .max = 1,
     .help = "1: with the raw slices; a page then has at most 20 items."},
    QUERY_LIMIT,
    QUERY_CURSOR,
    {0},
};

const struct http_route parts_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/jobs/{id}/cells",
     .scope = SCOPE_READ,
     .handle = cells_get,
     .query = cells_query,
     .name = "listCells",
     .summary = "Points of the job's matrix, with summaries of what was measured.",
     .returns = "CellList"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/jobs/{id}/trials",
     .scope = SCOPE_READ,
     .handle = trials_get,
     .query = trials_query,
     .name = "listTrials",
     .summary = "Every runner process of every attempt, discarded and failed ones included.",
     .returns = "TrialList"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/jobs/{id}/results",
     .scope = SCOPE_READ,
     .handle = results_get,
     .name = "getResults",
     .summary = "The job and its cells by group: what a page or a table shows.",
     .returns = "Results"},
    {0},
};
