/* One runner's trial into rows: identity, outcome, slices, values, vectors, the cell's counters.
 * Runs on the writer thread inside an attempt's transaction. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/store/pack.h"

int trial_rows(struct db *db, int64_t attempt_id, struct trial_row rows[RING_RUNNERS_MAX],
               struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "SELECT ring.job_id, cell.id, rr.runner_idx, rr.role, cell.allocator, cell.options_key"
            " FROM attempt JOIN ring ON ring.id = attempt.ring_id"
            " JOIN ring_runner rr ON rr.ring_id = ring.id"
            " JOIN cell ON cell.job_id = ring.job_id AND cell.idx = rr.cell_idx"
            " WHERE attempt.id = ? ORDER BY rr.runner_idx");
    stmt_int(&st, attempt_id);
    int n = 0, r;
    while ((r = stmt_step(&st, e)) > 0) {
        if (n == RING_RUNNERS_MAX)
            return err_set(e, ERR_IO, NULL, "a ring has too many runners in the database");
        struct trial_row *row = &rows[n++];
        *row = (struct trial_row){.job_id = stmt_col_int(&st, 0),
                                  .attempt_id = attempt_id,
                                  .cell_id = stmt_col_int(&st, 1),
                                  .runner_idx = stmt_col_u32(&st, 2)};
        stmt_col_copy(&st, 3, row->role, sizeof row->role);
        stmt_col_copy(&st, 4, row->allocator, sizeof row->allocator);
        stmt_col_copy(&st, 5, row->options_key, sizeof row->options_key);
        r = stmt_row_check(&st, e);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : n;
}

/* "crashed: signal 11 after 40 of 410 turns: message" */
static void failure_text(const struct exec_runner_result *runner, char *buf, size_t size)
{
    char how[64] = "";
    if (runner->failure != FAIL_NONE)
        snprintf(how, sizeof how, ": %s", runner_failure_name(runner->failure));
    else if (runner->signal != 0)
        snprintf(how, sizeof how, ": signal %d", runner->signal);
    else if (runner->outcome == OUTCOME_EXITED)
        snprintf(how, sizeof how, ": exit status %d", runner->exit_status);
    snprintf(buf, size, "%s%s after %u of %u turns%s%s", wire_outcome_name(runner->outcome), how,
             runner->turns_done, runner->turns_total, runner->message[0] ? ": " : "",
             runner->message);
}

enum trial_fate { TRIAL_OK, TRIAL_FAILED, TRIAL_DISCARDED };

/* `failure` NULL leaves the last one standing. */
static int cell_count(struct db *db, int64_t cell_id, enum trial_fate fate, const char *failure,
                      struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE cell SET trials_ok = trials_ok + ?, trials_failed = trials_failed"
                       " + ?, trials_discarded = trials_discarded + ?,"
                       " last_failure = coalesce(?, last_failure) WHERE id = ?");
    stmt_int(&st, fate == TRIAL_OK);
    stmt_int(&st, fate == TRIAL_FAILED);
    stmt_int(&st, fate == TRIAL_DISCARDED);
    stmt_text(&st, failure);
    stmt_int(&st, cell_id);
    return stmt_run(&st, e);
}

static int trial_insert(struct db *db, const struct trial_row *row, int64_t subject_id,
                        const struct exec_runner_result *runner, int64_t *ret_id, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT INTO trial (job_id, attempt_id, runner_idx, cell_id, role, subject_id, outcome,"
            " failure, exit_status, signal, turns_done, turns_total, isolation, message, log)"
            " VALUES (?, ?, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    stmt_int(&st, row->job_id);
    stmt_int(&st, row->attempt_id);
    stmt_int(&st, row->runner_idx);
    stmt_int(&st, row->cell_id);
    stmt_text(&st, row->role);
    stmt_int(&st, subject_id);
    stmt_text(&st, wire_outcome_name(runner->outcome));
    stmt_text(&st, runner_failure_name(runner->failure));
    stmt_int(&st, runner->exit_status);
    stmt_int(&st, runner->signal);
    stmt_int(&st, runner->turns_done);
    stmt_int(&st, runner->turns_total);
    stmt_int(&st, runner->isolation);
    stmt_text(&st, runner->message);
    stmt_text(&st, runner->log);
    return stmt_insert(&st, ret_id, e);
}

static int slices_insert(struct db *db, int64_t trial_id, const struct exec_runner_result *runner,
                         struct err *e)
{
    if (runner->slices_count == 0)
        return 0;
    cleanup_(free_p) uint8_t *data = NULL;
    size_t size;
    int r = pack_slices(runner->slices, runner->slices_count, &data, &size);
    if (r < 0)
        return err_set_errno(e, ERR_LIMIT, -r, "packing slices");
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO slices (trial_id, count, data) VALUES (?, ?, ?)");
    stmt_int(&st, trial_id);
    stmt_int(&st, runner->slices_count);
    stmt_blob(&st, data, size);
    return stmt_run(&st, e);
}

static int vector_insert(struct db *db, int64_t trial_id, int64_t metric_id,
                         const struct exec_metric *metric, struct err *e)
{
    cleanup_(free_p) uint8_t *data = NULL;
    size_t size;
    int r = pack_doubles(metric->vector, metric->vector_count, &data, &size);
    if (r < 0)
        return err_set_errno(e, ERR_LIMIT, -r, "packing a vector");
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO vector (trial_id, metric_id, count, data) VALUES (?, ?, ?, ?)"
                       " ON CONFLICT DO UPDATE SET count = excluded.count, data = excluded.data");
    stmt_int(&st, trial_id);
    stmt_int(&st, metric_id);
    stmt_int(&st, metric->vector_count);
    stmt_blob(&st, data, size);
    return stmt_run(&st, e);
}

/* A metric reported twice: the last one counts, as in the runner. A value that is no number says
 * "not measured", which is the absence of a row. */
static int metrics_insert(struct store *s, struct db *db, int64_t trial_id,
                          const struct exec_runner_result *runner, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO value (trial_id, metric_id, value) VALUES (?, ?, ?)"
                       " ON CONFLICT DO UPDATE SET value = excluded.value");
    for (uint32_t i = 0; i < runner->metrics_count; i++) {
        const struct exec_metric *metric = &runner->metrics[i];
        if ((unsigned)metric->metric >= METRIC_COUNT_)
            return err_set(e, ERR_INTERNAL, NULL, "a result has metric %d", (int)metric->metric);
        int64_t metric_id = s->metrics.disk[metric->metric];
        int r = 0;
        if (metric->vector_count > 0) {
            r = vector_insert(db, trial_id, metric_id, metric, e);
        } else if (isfinite(metric->value)) {
            stmt_int(&st, trial_id);
            stmt_int(&st, metric_id);
            stmt_real(&st, metric->value);
            r = stmt_run(&st, e);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static bool metric_has_value(const struct exec_runner_result *runner, enum metric_id metric)
{
    for (uint32_t i = 0; i < runner->metrics_count; i++)
        if (runner->metrics[i].metric == metric &&
            (runner->metrics[i].vector_count > 0 || isfinite(runner->metrics[i].value)))
            return true;
    return false;
}

static int absences_insert(struct store *s, struct db *db, int64_t trial_id,
                           const struct exec_runner_result *runner, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO absence (trial_id, metric_id, reason) VALUES (?, ?, ?)"
                       " ON CONFLICT DO UPDATE SET reason = excluded.reason");
    for (uint32_t i = 0; i < runner->absent_count; i++) {
        const struct exec_absent *absent = &runner->absent[i];
        if ((unsigned)absent->metric >= METRIC_COUNT_)
            return err_set(e, ERR_INTERNAL, NULL, "a result lacks metric %d", (int)absent->metric);
        if (metric_has_value(runner, absent->metric))
            continue;
        stmt_int(&st, trial_id);
        stmt_int(&st, s->metrics.disk[absent->metric]);
        stmt_text(&st, absent->reason);
        int r = stmt_run(&st, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int trial_put(struct store *s, struct db *db, const struct trial_row *row,
              const struct exec_runner_result *runner, bool discard, struct err *e)
{
    int64_t subject_id = 0, trial_id;
    int r = 0;
    if (runner->sha256[0])
        r = subject_id_get(db, row->allocator, row->options_key, runner, &subject_id, e);
    if (r == 0)
        r = trial_insert(db, row, subject_id, runner, &trial_id, e);
    if (r == 0)
        r = slices_insert(db, trial_id, runner, e);
    if (r == 0)
        r = metrics_insert(s, db, trial_id, runner, e);
    if (r == 0)
        r = absences_insert(s, db, trial_id, runner, e);
    if (r < 0)
        return r;
    if (discard)
        return cell_count(db, row->cell_id, TRIAL_DISCARDED, NULL, e);
    if (runner->outcome == OUTCOME_OK)
        return cell_count(db, row->cell_id, TRIAL_OK, NULL, e);
    char failure[512];
    failure_text(runner, failure, sizeof failure);
    return cell_count(db, row->cell_id, TRIAL_FAILED, failure, e);
}

int trial_put_nothing(struct db *db, const struct trial_row *row, bool lost, const struct err *why,
                      struct err *e)
{
    const char *outcome = lost ? "lost" : "not_run";
    const char *failure = why ? err_code_name(why->code) : "none";
    const char *message = why ? why->message : "";
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT INTO trial (job_id, attempt_id, runner_idx, cell_id, role, outcome, failure,"
            " exit_status, signal, turns_done, turns_total, isolation, message, log)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, -1, 0, 0, 0, 0, ?, '')");
    stmt_int(&st, row->job_id);
    stmt_int(&st, row->attempt_id);
    stmt_int(&st, row->runner_idx);
    stmt_int(&st, row->cell_id);
    stmt_text(&st, row->role);
    stmt_text(&st, outcome);
    stmt_text(&st, failure);
    stmt_text(&st, message);
    int r = stmt_run(&st, e);
    if (r < 0 || lost) /* a lost attempt is tried again: it says nothing about the cell */
        return r;
    char text[640];
    snprintf(text, sizeof text, "%s: %s: %s", outcome, failure, message);
    return cell_count(db, row->cell_id, TRIAL_FAILED, text, e);
}
