/* Reading trials, their slices, values and vectors. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/store/pack.h"
#include "daemon/store/query.h"

#define TRIAL_COLUMNS                                                                            \
    "t.id, a.ring_id, cell.idx, ring.repetition, ring.position, t.runner_idx, a.number, t.role," \
    " a.state, t.outcome, t.failure, t.message, t.log, build.sha256, build.version,"             \
    " a.discard_reason, t.exit_status, t.signal, t.turns_done, t.turns_total, t.isolation,"      \
    " a.started_us, a.finished_us, a.steal_ratio, a.psi_cpu_ratio, a.housekeeping"

static int trial_from_row(struct stmt *st, struct store_trial *ret, struct err *e)
{
    int role = store_role_parse(stmt_col_text(st, 7));
    *ret = (struct store_trial){
        .id = stmt_col_int(st, 0),
        .ring_id = stmt_col_int(st, 1),
        .cell_idx = stmt_col_u32(st, 2),
        .repetition = stmt_col_u32(st, 3),
        .position = stmt_col_u32(st, 4),
        .runner_idx = stmt_col_u32(st, 5),
        .attempt = stmt_col_u32(st, 6),
        .role = (enum exec_role)role,
        .attempt_state = stmt_col_text(st, 8),
        .outcome = stmt_col_text(st, 9),
        .failure = stmt_col_text(st, 10),
        .message = stmt_col_text(st, 11),
        .log = stmt_col_text(st, 12),
        .sha256 = stmt_col_text(st, 13),
        .version = stmt_col_text(st, 14),
        .discard_reason = stmt_col_text(st, 15),
        .exit_status = (int)stmt_col_int(st, 16),
        .signal = (int)stmt_col_int(st, 17),
        .turns_done = stmt_col_u32(st, 18),
        .turns_total = stmt_col_u32(st, 19),
        .isolation = stmt_col_u32(st, 20),
        .started_us = stmt_col_int(st, 21),
        .finished_us = stmt_col_int(st, 22),
        .steal_ratio = stmt_col_real(st, 23),
        .psi_cpu_ratio = stmt_col_real(st, 24),
        .housekeeping = stmt_col_int(st, 25) != 0,
    };
    int r = stmt_row_check(st, e);
    if (r == 0 && role < 0)
        r = err_set(e, ERR_IO, NULL, "a trial has an unknown role in the database");
    return r;
}

/* A damaged count must not become a huge allocation: RING_ROTATIONS_MAX bounds it. */
static int slices_from_row(struct stmt *st, int column, struct store_trial *trial,
                           struct ring_slice **ret_slices, struct err *e)
{
    uint32_t count = stmt_col_u32(st, column);
    if (count == 0)
        return 0;
    size_t size;
    const void *data = stmt_col_blob(st, column + 1, &size);
    int r = stmt_row_check(st, e);
    if (r < 0)
        return r;
    if (count > RING_ROTATIONS_MAX)
        return err_set(e, ERR_IO, NULL, "trial %" PRId64 " has %u slices in the database",
                       trial->id, count);
    struct ring_slice *slices = malloc(count * sizeof *slices);
    if (!slices)
        return err_set_errno(e, ERR_LIMIT, ENOMEM, "reading slices");
    *ret_slices = slices;
    if (unpack_slices(data, size, slices, count) < 0)
        return err_set(e, ERR_IO, NULL, "the slices of trial %" PRId64 " are damaged", trial->id);
    trial->slices = slices;
    trial->slices_count = count;
    return 0;
}

int store_view_trials(struct store_view *v, const struct store_trial_filter *filter,
                      int (*each)(void *ctx, const struct store_trial *trial), void *ctx,
                      struct err *e)
{
    struct query q = {0};
    query_add(&q, "SELECT " TRIAL_COLUMNS);
    query_add(&q, filter->with_slices ? ", slices.count, slices.data" : "");
    query_add(&q, " FROM trial t JOIN attempt a ON a.id = t.attempt_id"
                  " JOIN ring ON ring.id = a.ring_id JOIN cell ON cell.id = t.cell_id"
                  " LEFT JOIN subject ON subject.id = t.subject_id"
                  " LEFT JOIN build ON build.id = subject.build_id");
    query_add(&q, filter->with_slices ? " LEFT JOIN slices ON slices.trial_id = t.id" : "");
    query_int(&q, " WHERE t.job_id = ?", filter->job_id);
    query_int_if(&q, " AND t.cell_id = (SELECT id FROM cell WHERE job_id = t.job_id AND idx = ?)",
                 filter->cell_idx >= 0, filter->cell_idx);
    query_int_if(&q, " AND t.id > ?", filter->after_id > 0, filter->after_id);
    query_add(&q, " ORDER BY t.id");
    query_int_if(&q, " LIMIT ?", filter->limit > 0, filter->limit);
    cleanup_(stmt_end) struct stmt st = query_begin(&v->db, &q);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        struct store_trial trial;
        cleanup_(free_p) struct ring_slice *slices = NULL;
        r = trial_from_row(&st, &trial, e);
        if (r == 0 && filter->with_slices)
            r = slices_from_row(&st, 26, &trial, &slices, e);
        if (r == 0)
            r = each(ctx, &trial);
        if (r != 0)
            return r;
    }
    return r;
}

/* ---- values ---- */

int store_view_values(struct store_view *v, int64_t job_id, int64_t trial_id,
                      int (*each)(void *ctx, const struct store_value *value), void *ctx,
                      struct err *e)
{
    struct query q = {0};
    query_add(&q, "SELECT t.id, cell.idx, cell.group_idx, ring.repetition, ring.position,"
                  " t.runner_idx, t.role, value.metric_id, value.value"
                  " FROM trial t JOIN attempt a ON a.id = t.attempt_id"
                  " JOIN ring ON ring.id = a.ring_id JOIN cell ON cell.id = t.cell_id"
                  " JOIN value ON value.trial_id = t.id WHERE a.state = 'accepted'");
    query_int_if(&q, " AND t.job_id = ?", job_id != 0, job_id);
    query_int_if(&q, " AND t.id = ?", trial_id != 0, trial_id);
    query_add(&q, " ORDER BY cell.idx, ring.repetition, ring.position, t.runner_idx,"
                  " value.metric_id");
    cleanup_(stmt_end) struct stmt st = query_begin(&v->db, &q);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        int metric = store_metric_of(v->store, stmt_col_int(&st, 7));
        int role = store_role_parse(stmt_col_text(&st, 6));
        r = stmt_row_check(&st, e);
        if (r < 0)
            return r;
        if (role < 0)
            return err_set(e, ERR_IO, NULL, "a trial has an unknown role in the database");
        if (metric < 0) /* a metric this program no longer has */
            continue;
        struct store_value value = {.trial_id = stmt_col_int(&st, 0),
                                    .cell_idx = stmt_col_u32(&st, 1),
                                    .group_idx = stmt_col_u32(&st, 2),
                                    .repetition = stmt_col_u32(&st, 3),
                                    .position = stmt_col_u32(&st, 4),
                                    .runner_idx = stmt_col_u32(&st, 5),
                                    .role = (enum exec_role)role,
                                    .metric = (enum metric_id)metric,
                                    .value = stmt_col_real(&st, 8)};
        r = each(ctx, &value);
        if (r != 0)
            return r;
    }
    return r;
}

int store_view_absences(struct store_view *v, int64_t job_id, int64_t trial_id,
                        int (*each)(void *ctx, const struct store_absence *absence), void *ctx,
                        struct err *e)
{
    struct query q = {0};
    query_add(&q, "SELECT t.id, cell.idx, absence.metric_id, absence.reason"
                  " FROM trial t JOIN attempt a ON a.id = t.attempt_id"
                  " JOIN cell ON cell.id = t.cell_id"
                  " JOIN absence ON absence.trial_id = t.id WHERE a.state = 'accepted'");
    query_int_if(&q, " AND t.job_id = ?", job_id != 0, job_id);
    query_int_if(&q, " AND t.id = ?", trial_id != 0, trial_id);
    query_add(&q, " ORDER BY cell.idx, t.id, absence.metric_id");
    cleanup_(stmt_end) struct stmt st = query_begin(&v->db, &q);
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        int metric = store_metric_of(v->store, stmt_col_int(&st, 2));
        struct store_absence absence = {.trial_id = stmt_col_int(&st, 0),
                                        .cell_idx = stmt_col_u32(&st, 1),
                                        .metric = (enum metric_id)metric,
                                        .reason = stmt_col_text(&st, 3)};
        r = stmt_row_check(&st, e);
        if (r == 0 && metric >= 0) /* else a metric this program no longer has */
            r = each(ctx, &absence);
        if (r != 0)
            return r;
    }
    return r;
}

int store_view_vector(struct store_view *v, int64_t trial_id, enum metric_id metric,
                      int (*each)(void *ctx, const double *values, uint32_t count), void *ctx,
                      struct err *e)
{
    if ((unsigned)metric >= METRIC_COUNT_)
        return err_set(e, ERR_INTERNAL, NULL, "there is no metric %d", (int)metric);
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(&v->db, "SELECT count, data FROM vector WHERE trial_id = ? AND metric_id = ?");
    stmt_int(&st, trial_id);
    stmt_int(&st, v->store->metrics.disk[metric]);
    int r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "trial %" PRId64 " has no vector of %s", trial_id,
                       metrics[metric].name);
    if (r < 0)
        return r;
    size_t size;
    uint32_t count = stmt_col_u32(&st, 0);
    const void *data = stmt_col_blob(&st, 1, &size);
    r = stmt_row_check(&st, e);
    if (r < 0)
        return r;
    cleanup_(free_p) double *values = malloc(size + 1);
    if (!values)
        return err_set_errno(e, ERR_LIMIT, ENOMEM, "reading a vector");
    if (unpack_doubles(data, size, values, count) < 0)
        return err_set(e, ERR_IO, NULL, "the vector of trial %" PRId64 " is damaged", trial_id);
    return each(ctx, values, count);
}
