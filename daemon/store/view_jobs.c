/* Reading jobs, their steps and cells. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <string.h>

#include "daemon/store/query.h"

int store_view_job(struct store_view *v, const char *uuid, struct store_job *ret, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(&v->db, "SELECT " JOB_COLUMNS ", spec FROM job WHERE uuid = ?");
    stmt_text(&st, uuid);
    int r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "there is no job %.40s", uuid);
    return r < 0 ? r : job_from_row_full(&st, ret, e);
}

int store_view_jobs(struct store_view *v, const struct store_job_filter *filter,
                    int (*each)(void *ctx, const struct store_job *job), void *ctx, struct err *e)
{
    struct query q = {0};
    query_add(&q, "SELECT " JOB_COLUMNS " FROM job WHERE 1");
    if (filter->state >= 0)
        query_text(&q, " AND state = ?", job_state_name((enum job_state)filter->state));
    /* The repeated condition lets the planner use the partial index. */
    query_text_if(&q, " AND label_project <> '' AND label_project = ?", filter->project);
    query_text_if(&q, " AND label_branch = ?", filter->branch);
    query_text_if(&q, " AND label_commit <> '' AND label_commit = ?", filter->commit);
    query_text_if(&q, " AND preset <> '' AND preset = ?", filter->preset);
    query_int_if(&q, " AND id < ?", filter->before_id > 0, filter->before_id);
    query_add(&q, " ORDER BY id DESC");
    query_int_if(&q, " LIMIT ?", filter->limit > 0, filter->limit);
    cleanup_(stmt_end) struct stmt st = query_begin(&v->db, &q);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_job job;
        r = job_from_row(&st, &job, e);
        if (r == 0)
            r = each(ctx, &job);
        if (r != 0)
            return r;
    }
    return r;
}

int store_view_steps(struct store_view *v, int64_t job_id,
                     int (*each)(void *ctx, const struct store_step *step), void *ctx,
                     struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(&v->db, "SELECT group_idx, repetition, position,"
                           " coalesce(max(a.state = 'accepted'), 0),"
                           " coalesce(max(a.state = 'failed'), 0), count(a.id),"
                           " count(*) FILTER (WHERE a.state = 'discarded')"
                           " FROM ring LEFT JOIN attempt a ON a.ring_id = ring.id"
                           " WHERE ring.job_id = ? GROUP BY ring.id"
                           " ORDER BY group_idx, repetition, position");
    stmt_int(&st, job_id);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_step step = {.group_idx = stmt_col_u32(&st, 0),
                                  .repetition = stmt_col_u32(&st, 1),
                                  .position = stmt_col_u32(&st, 2),
                                  .accepted = stmt_col_int(&st, 3) != 0,
                                  .failed = stmt_col_int(&st, 4) != 0,
                                  .attempts = stmt_col_u32(&st, 5),
                                  .discards = stmt_col_u32(&st, 6)};
        r = each(ctx, &step);
        if (r != 0)
            return r;
    }
    return r;
}

static int cell_from_row(struct stmt *st, struct store_cell *ret, struct err *e)
{
    int pages = page_mode_parse(stmt_col_text(st, 4));
    int role = store_role_parse(stmt_col_text(st, 9));
    *ret = (struct store_cell){.id = stmt_col_int(st, 0),
                               .idx = stmt_col_u32(st, 1),
                               .group_idx = stmt_col_u32(st, 2),
                               .threads = stmt_col_u32(st, 3),
                               .pages = (uint32_t)pages,
                               .workload = stmt_col_text(st, 5),
                               .params_key = stmt_col_text(st, 6),
                               .allocator = stmt_col_text(st, 7),
                               .options_key = stmt_col_text(st, 8),
                               .role = (enum exec_role)role,
                               .trials_ok = stmt_col_u32(st, 10),
                               .trials_failed = stmt_col_u32(st, 11),
                               .trials_discarded = stmt_col_u32(st, 12),
                               .last_failure = stmt_col_text(st, 13),
                               .trials_crowded = stmt_col_u32(st, 14)};
    int r = stmt_row_check(st, e);
    if (r == 0 && (pages < 0 || role < 0))
        r = err_set(e, ERR_IO, NULL, "cell %u has unknown names in the database", ret->idx);
    return r;
}

int store_view_cells(struct store_view *v, int64_t job_id,
                     int (*each)(void *ctx, const struct store_cell *cell), void *ctx,
                     struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        &v->db, "SELECT id, idx, group_idx, threads, pages, workload, params_key, allocator,"
                " options_key, role, trials_ok, trials_failed, trials_discarded, last_failure,"
                " (SELECT count(*) FROM trial t JOIN attempt a ON a.id = t.attempt_id"
                " WHERE t.cell_id = cell.id AND a.state = 'accepted' AND NOT a.housekeeping)"
                " FROM cell WHERE job_id = ? ORDER BY idx");
    stmt_int(&st, job_id);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_cell cell;
        r = cell_from_row(&st, &cell, e);
        if (r == 0)
            r = each(ctx, &cell);
        if (r != 0)
            return r;
    }
    return r;
}
