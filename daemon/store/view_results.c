/* Reading summaries, results over all jobs, series and their points, builds. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <inttypes.h>

#include "daemon/store/query.h"

#define SUMMARY_COLUMNS                                                                           \
    "cell.idx, s.metric_id, s.count, s.value, s.low, s.high, s.confidence, s.ratio, s.ratio_low," \
    " s.ratio_high, s.noise, s.null_share, s.harness_bound, s.unsteady, s.reason, s.measured"
#define SUMMARY_COLUMNS_COUNT 16

/* 1: filled; 0: a metric this program no longer has. */
static int summary_from_row(const struct store *s, struct stmt *st, struct store_summary *ret)
{
    int metric = store_metric_of(s, stmt_col_int(st, 1));
    if (metric < 0)
        return 0;
    *ret = (struct store_summary){.cell_idx = stmt_col_u32(st, 0),
                                  .metric = (enum metric_id)metric,
                                  .count = stmt_col_u32(st, 2),
                                  .value = stmt_col_real(st, 3),
                                  .low = stmt_col_real(st, 4),
                                  .high = stmt_col_real(st, 5),
                                  .confidence = stmt_col_real(st, 6),
                                  .ratio = stmt_col_real(st, 7),
                                  .ratio_low = stmt_col_real(st, 8),
                                  .ratio_high = stmt_col_real(st, 9),
                                  .noise = stmt_col_real(st, 10),
                                  .null_share = stmt_col_real(st, 11),
                                  .harness_bound = stmt_col_int(st, 12) != 0,
                                  .unsteady = stmt_col_int(st, 13) != 0,
                                  .reason = stmt_col_text(st, 14),
                                  .measured = store_measured_parse(stmt_col_text(st, 15)),
                                  .protocol_key = ""};
    return 1;
}

int store_view_summaries(struct store_view *v, int64_t job_id,
                         int (*each)(void *ctx, const struct store_summary *row), void *ctx,
                         struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(&v->db, "SELECT " SUMMARY_COLUMNS " FROM summary s"
                           " JOIN cell ON cell.id = s.cell_id WHERE s.job_id = ?"
                           " ORDER BY cell.idx, s.metric_id");
    stmt_int(&st, job_id);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_summary row;
        if (!summary_from_row(v->store, &st, &row))
            continue;
        r = each(ctx, &row);
        if (r != 0)
            return r;
    }
    return r;
}

/* ---- results ---- */

static int result_from_row(struct stmt *st, struct store_result *ret, struct err *e)
{
    int c = SUMMARY_COLUMNS_COUNT;
    int pages = page_mode_parse(stmt_col_text(st, c + 14));
    ret->job_uuid = stmt_col_text(st, c);
    ret->workload = stmt_col_text(st, c + 1);
    ret->params_key = stmt_col_text(st, c + 2);
    ret->allocator = stmt_col_text(st, c + 3);
    ret->options_key = stmt_col_text(st, c + 4);
    ret->sha256 = stmt_col_text(st, c + 5);
    ret->version = stmt_col_text(st, c + 6);
    ret->host_key = stmt_col_text(st, c + 7);
    ret->protocol_key = stmt_col_text(st, c + 8);
    ret->summary.protocol_key = ret->protocol_key;
    ret->project = stmt_col_text(st, c + 9);
    ret->branch = stmt_col_text(st, c + 10);
    ret->commit = stmt_col_text(st, c + 11);
    ret->finished_us = stmt_col_int(st, c + 12);
    ret->threads = stmt_col_u32(st, c + 13);
    ret->pages = (uint32_t)pages;
    ret->job_id = stmt_col_int(st, c + 15);
    int r = stmt_row_check(st, e);
    if (r == 0 && pages < 0)
        r = err_set(e, ERR_IO, NULL, "a cell has an unknown page mode in the database");
    return r;
}

/* -1 and an error for a page mode outside the enum (the caller's bug), else the name or NULL. */
static const char *pages_name_of(int pages)
{
    return pages >= 0 && pages < PAGES_COUNT_ ? page_mode_name((enum page_mode)pages) : NULL;
}

int store_view_results(struct store_view *v, const struct store_result_filter *filter,
                       int (*each)(void *ctx, const struct store_result *row, int64_t rowid),
                       void *ctx, struct err *e)
{
    struct query q = {0};
    query_add(&q, "SELECT " SUMMARY_COLUMNS ", job.uuid, cell.workload, cell.params_key,"
                  " cell.allocator, cell.options_key, build.sha256, build.version, host.key,"
                  " protocol.key, label_project, label_branch, label_commit, s.created_us,"
                  " cell.threads, cell.pages, job.id, s.id FROM summary s"
                  " JOIN cell ON cell.id = s.cell_id JOIN job ON job.id = s.job_id"
                  " JOIN host ON host.id = s.host_id JOIN protocol ON protocol.id = s.protocol_id"
                  " LEFT JOIN build ON build.id = s.build_id WHERE 1");
    query_text_if(&q, " AND s.job_id = (SELECT id FROM job WHERE uuid = ?)", filter->job_uuid);
    query_text_if(&q, " AND cell.workload = ?", filter->workload);
    query_text_if(&q, " AND cell.params_key = ?", filter->params_key);
    query_text_if(&q, " AND cell.allocator = ?", filter->allocator);
    query_text_if(&q, " AND s.metric_id = (SELECT id FROM metric WHERE name = ?)", filter->metric);
    query_text_if(&q, " AND s.host_id = (SELECT id FROM host WHERE key = ?)", filter->host_key);
    query_text_if(&q, " AND label_project <> '' AND label_project = ?", filter->project);
    query_text_if(&q, " AND label_branch = ?", filter->branch);
    query_text_if(&q, " AND label_commit <> '' AND label_commit = ?", filter->commit);
    query_int_if(&q, " AND cell.threads = ?", filter->threads >= 0, filter->threads);
    query_text_if(&q, " AND cell.pages = ?", pages_name_of(filter->pages));
    query_int_if(&q, " AND s.created_us >= ?", filter->since_us != 0, filter->since_us);
    query_int_if(&q, " AND s.created_us < ?", filter->until_us != 0, filter->until_us);
    query_int_if(&q, " AND s.id < ?", filter->before_rowid > 0, filter->before_rowid);
    query_add(&q, " ORDER BY s.id DESC");
    query_int_if(&q, " LIMIT ?", filter->limit > 0, filter->limit);
    cleanup_(stmt_end) struct stmt st = query_begin(&v->db, &q);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_result row;
        if (!summary_from_row(v->store, &st, &row.summary))
            continue;
        r = result_from_row(&st, &row, e);
        if (r == 0)
            r = each(ctx, &row, stmt_col_int(&st, SUMMARY_COLUMNS_COUNT + 16));
        if (r != 0)
            return r;
    }
    return r;
}

/* ---- series ---- */

/* Conditions on jobs: a series counts when one of its points comes from such a job. */
static void series_jobs_condition(struct query *q, const struct store_result_filter *filter)
{
    if (!filter->job_uuid && !filter->project && !filter->branch && !filter->commit &&
        filter->since_us == 0 && filter->until_us == 0)
        return;
    query_add(q, " AND EXISTS (SELECT 1 FROM point JOIN job ON job.id = point.job_id"
                 " WHERE point.series_id = s.id");
    query_text_if(q, " AND job.uuid = ?", filter->job_uuid);
    query_text_if(q, " AND label_project = ?", filter->project);
    query_text_if(q, " AND label_branch = ?", filter->branch);
    query_text_if(q, " AND label_commit = ?", filter->commit);
    query_int_if(q, " AND point.time_us >= ?", filter->since_us != 0, filter->since_us);
    query_int_if(q, " AND point.time_us < ?", filter->until_us != 0, filter->until_us);
    query_add(q, ")");
}

static int series_from_row(const struct store *s, struct stmt *st, struct store_series *ret,
                           struct err *e)
{
    int metric = store_metric_of(s, stmt_col_int(st, 8));
    int pages = page_mode_parse(stmt_col_text(st, 10));
    if (metric < 0)
        return 0;
    *ret = (struct store_series){.id = stmt_col_int(st, 0),
                                 .key = stmt_col_text(st, 1),
                                 .workload = stmt_col_text(st, 2),
                                 .params_key = stmt_col_text(st, 3),
                                 .allocator = stmt_col_text(st, 4),
                                 .options_key = stmt_col_text(st, 5),
                                 .host_key = stmt_col_text(st, 6),
                                 .protocol_key = stmt_col_text(st, 7),
                                 .metric = (enum metric_id)metric,
                                 .threads = stmt_col_u32(st, 9),
                                 .pages = (uint32_t)pages,
                                 .points_count = stmt_col_u32(st, 11),
                                 .last_us = stmt_col_int(st, 12)};
    int r = stmt_row_check(st, e);
    if (r == 0 && pages < 0)
        r = err_set(e, ERR_IO, NULL, "a series has an unknown page mode in the database");
    return r < 0 ? r : 1;
}

int store_view_series(struct store_view *v, const struct store_result_filter *filter,
                      int (*each)(void *ctx, const struct store_series *series), void *ctx,
                      struct err *e)
{
    struct query q = {0};
    query_add(&q, "SELECT s.id, s.key, s.workload, s.params_key, s.allocator, s.options_key,"
                  " host.key, protocol.key, s.metric_id, s.threads, s.pages,"
                  " (SELECT count(*) FROM point WHERE series_id = s.id),"
                  " coalesce((SELECT max(time_us) FROM point WHERE series_id = s.id), 0)"
                  " FROM series s JOIN host ON host.id = s.host_id"
                  " JOIN protocol ON protocol.id = s.protocol_id WHERE 1");
    query_text_if(&q, " AND s.workload = ?", filter->workload);
    query_text_if(&q, " AND s.params_key = ?", filter->params_key);
    query_text_if(&q, " AND s.allocator = ?", filter->allocator);
    query_text_if(&q, " AND s.metric_id = (SELECT id FROM metric WHERE name = ?)", filter->metric);
    query_text_if(&q, " AND host.key = ?", filter->host_key);
    query_int_if(&q, " AND s.threads = ?", filter->threads >= 0, filter->threads);
    query_text_if(&q, " AND s.pages = ?", pages_name_of(filter->pages));
    series_jobs_condition(&q, filter);
    query_int_if(&q, " AND s.id < ?", filter->before_rowid > 0, filter->before_rowid);
    query_add(&q, " ORDER BY s.id DESC");
    query_int_if(&q, " LIMIT ?", filter->limit > 0, filter->limit);
    cleanup_(stmt_end) struct stmt st = query_begin(&v->db, &q);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_series series;
        r = series_from_row(v->store, &st, &series, e);
        if (r == 0)
            continue;
        if (r > 0)
            r = each(ctx, &series);
        if (r != 0)
            return r;
    }
    return r;
}

static int point_from_row(struct stmt *st, struct store_point *ret, struct err *e)
{
    *ret = (struct store_point){.time_us = stmt_col_int(st, 0),
                                .job_id = stmt_col_int(st, 1),
                                .value = stmt_col_real(st, 2),
                                .low = stmt_col_real(st, 3),
                                .high = stmt_col_real(st, 4),
                                .ratio = stmt_col_real(st, 5),
                                .ratio_low = stmt_col_real(st, 6),
                                .ratio_high = stmt_col_real(st, 7),
                                .job_uuid = stmt_col_text(st, 8),
                                .sha256 = stmt_col_text(st, 9),
                                .commit = stmt_col_text(st, 10)};
    return stmt_row_check(st, e);
}

static int series_check(struct store_view *v, int64_t series_id, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(&v->db, "SELECT 1 FROM series WHERE id = ?");
    stmt_int(&st, series_id);
    int r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "no series has the id %" PRId64, series_id);
    return r < 0 ? r : 0;
}

int store_view_points(struct store_view *v, int64_t series_id, int64_t since_us, int64_t until_us,
                      uint32_t limit, int (*each)(void *ctx, const struct store_point *point),
                      void *ctx, struct err *e)
{
    /* One text for all ranges, so that it stays prepared: open ends are the ends of the type. */
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        &v->db, "SELECT p.time_us, p.job_id, p.value, p.low, p.high, p.ratio, p.ratio_low,"
                " p.ratio_high, job.uuid, build.sha256, job.label_commit FROM point p"
                " CROSS JOIN job ON job.id = p.job_id LEFT JOIN build ON build.id = p.build_id"
                " WHERE p.series_id = ? AND p.time_us >= ? AND p.time_us < ?"
                " ORDER BY p.time_us, p.job_id LIMIT ?");
    stmt_int(&st, series_id);
    stmt_int(&st, since_us != 0 ? since_us : INT64_MIN);
    stmt_int(&st, until_us != 0 ? until_us : INT64_MAX);
    stmt_int(&st, limit != 0 ? (int64_t)limit : -1);
    uint32_t count = 0;
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_point point;
        r = point_from_row(&st, &point, e);
        if (r == 0)
            r = each(ctx, &point);
        if (r != 0)
            return r;
        count++;
    }
    return r == 0 && count == 0 ? series_check(v, series_id, e) : r;
}

/* ---- builds ---- */

int store_view_builds(struct store_view *v, const char *allocator,
                      int (*each)(void *ctx, const struct store_build *build), void *ctx,
                      struct err *e)
{
    struct query q = {0};
    query_add(&q, "SELECT allocator, sha256, version, path, first_seen_us, last_seen_us FROM build"
                  " WHERE 1");
    query_text_if(&q, " AND allocator = ?", allocator);
    query_add(&q, " ORDER BY allocator, last_seen_us DESC, id DESC");
    cleanup_(stmt_end) struct stmt st = query_begin(&v->db, &q);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_build build = {.allocator = stmt_col_text(&st, 0),
                                    .sha256 = stmt_col_text(&st, 1),
                                    .version = stmt_col_text(&st, 2),
                                    .path = stmt_col_text(&st, 3),
                                    .first_seen_us = stmt_col_int(&st, 4),
                                    .last_seen_us = stmt_col_int(&st, 5)};
        r = stmt_row_check(&st, e);
        if (r == 0)
            r = each(ctx, &build);
        if (r != 0)
            return r;
    }
    return r;
}
