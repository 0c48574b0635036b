/* Attempts: durable before anything is started, ended exactly once, whatever happens between. */
#include "daemon/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "daemon/store/pack.h"

/* Random UUID, version 4 (RFC 9562). */
static int uuid_make(char ret[37], struct err *e)
{
    uint8_t bytes[16];
    char hex[33];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_set_errno(e, ERR_IO, errno, "asking the kernel for random bytes");
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    text_hex(bytes, sizeof bytes, hex);
    snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return 0;
}

/* ---- begin ---- */

struct attempt_begin {
    const struct store_ring_new *ring;
    const char *executor;
    char uuid[37];
    int64_t attempt_id;
};

static int begin_check_job(struct db *db, int64_t job_id, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(db, "SELECT state FROM job WHERE id = ?");
    stmt_int(&st, job_id);
    int r = stmt_step(&st, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "there is no job number %" PRId64, job_id);
    const char *state = stmt_col_text(&st, 0);
    if (strcmp(state, "claimed") != 0 && strcmp(state, "running") != 0)
        return err_set(e, ERR_CONFLICT, NULL, "job number %" PRId64 " is %s: nothing of it may run",
                       job_id, state);
    return 0;
}

static int ring_runners_insert(struct db *db, int64_t ring_id, const struct store_ring_new *ring,
                               struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO ring_runner (ring_id, runner_idx, cell_idx, role)"
                       " SELECT ?1, ?2, idx, ?3 FROM cell WHERE job_id = ?4 AND idx = ?5");
    for (uint32_t i = 0; i < ring->cells_count; i++) {
        stmt_int(&st, ring_id);
        stmt_int(&st, i);
        stmt_text(&st, store_role_name(ring->roles[i]));
        stmt_int(&st, ring->job_id);
        stmt_int(&st, ring->cells[i]);
        int r = stmt_run(&st, e);
        if (r < 0)
            return r;
        if (sqlite3_changes(db->handle) != 1)
            return err_set(e, ERR_INVALID, NULL, "job number %" PRId64 " has no cell %u",
                           ring->job_id, ring->cells[i]);
    }
    return 0;
}

static int ring_insert(struct db *db, const struct store_ring_new *ring, int64_t *ret_id,
                       struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO ring (job_id, group_idx, repetition, position, oneshot,"
                       " runners_count) VALUES (?, ?, ?, ?, ?, ?)");
    stmt_int(&st, ring->job_id);
    stmt_int(&st, ring->group_idx);
    stmt_int(&st, ring->repetition);
    stmt_int(&st, ring->position);
    stmt_int(&st, ring->oneshot);
    stmt_int(&st, ring->cells_count);
    int r = stmt_insert(&st, ret_id, e);
    return r < 0 ? r : ring_runners_insert(db, *ret_id, ring, e);
}

/* An attempt again: it must be the same step, and nothing of it may run or be settled. */
static int ring_check_again(struct db *db, int64_t ring_id, const struct store_ring_new *ring,
                            int64_t *ret_number, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT count(*), coalesce(max(state IN ('accepted', 'failed')), 0),"
                       " coalesce(max(state = 'running'), 0) FROM attempt WHERE ring_id = ?");
    stmt_int(&st, ring_id);
    int r = stmt_step(&st, e);
    if (r < 0)
        return r;
    if (stmt_col_int(&st, 1) || stmt_col_int(&st, 2))
        return err_set(e, ERR_CONFLICT, NULL, "step %u/%u/%u of job number %" PRId64 " %s",
                       ring->group_idx, ring->repetition, ring->position, ring->job_id,
                       stmt_col_int(&st, 1) ? "is settled already" : "is running already");
    *ret_number = stmt_col_int(&st, 0) + 1;
    cleanup_(stmt_end) struct stmt same =
        stmt_begin(db, "SELECT cell_idx, role FROM ring_runner WHERE ring_id = ?"
                       " ORDER BY runner_idx");
    stmt_int(&same, ring_id);
    uint32_t i = 0;
    for (; (r = stmt_step(&same, e)) > 0; i++)
        if (i >= ring->cells_count || stmt_col_u32(&same, 0) != ring->cells[i] ||
            strcmp(stmt_col_text(&same, 1), store_role_name(ring->roles[i])) != 0)
            break;
    if (r == 0 && i != ring->cells_count)
        r = 1;
    return r <= 0 ? r
                  : err_set(e, ERR_CONFLICT, NULL,
                            "step %u/%u/%u of job number %" PRId64 " had other runners before",
                            ring->group_idx, ring->repetition, ring->position, ring->job_id);
}

static int ring_get(struct db *db, const struct store_ring_new *ring, int64_t *ret_id,
                    int64_t *ret_number, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT id FROM ring WHERE job_id = ? AND group_idx = ? AND repetition = ?"
                       " AND position = ?");
    stmt_int(&st, ring->job_id);
    stmt_int(&st, ring->group_idx);
    stmt_int(&st, ring->repetition);
    stmt_int(&st, ring->position);
    int r = stmt_step(&st, e);
    if (r < 0)
        return r;
    if (r == 0) {
        *ret_number = 1;
        return ring_insert(db, ring, ret_id, e);
    }
    *ret_id = stmt_col_int(&st, 0);
    return ring_check_again(db, *ret_id, ring, ret_number, e);
}

static int attempt_begin_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    struct attempt_begin *begin = arg;
    int64_t ring_id = 0, number = 0;
    int r = begin_check_job(db, begin->ring->job_id, e);
    if (r == 0)
        r = ring_get(db, begin->ring, &ring_id, &number, e);
    if (r < 0)
        return r;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO attempt (uuid, ring_id, number, state, executor, seed,"
                       " tape_seed, started_us) VALUES (?, ?, ?, 'running', ?, ?, ?, ?)");
    stmt_text(&st, begin->uuid);
    stmt_int(&st, ring_id);
    stmt_int(&st, number);
    stmt_text(&st, begin->executor);
    stmt_u64(&st, begin->ring->seed);
    stmt_u64(&st, begin->ring->tape_seed);
    stmt_int(&st, clock_realtime_us());
    return stmt_insert(&st, &begin->attempt_id, e);
}

int store_attempt_begin(struct store *s, const struct store_ring_new *ring, const char *executor,
                        char ret_attempt_uuid[37], int64_t *ret_attempt_id, struct err *e)
{
    assert(ring->cells_count >= 1 && ring->cells_count <= RING_RUNNERS_MAX);
    struct attempt_begin begin = {.ring = ring, .executor = executor};
    int r = uuid_make(begin.uuid, e);
    if (r == 0)
        r = store_write(s, attempt_begin_task, &begin, e);
    if (r < 0)
        return r;
    memcpy(ret_attempt_uuid, begin.uuid, sizeof begin.uuid);
    *ret_attempt_id = begin.attempt_id;
    return 0;
}

/* ---- end ---- */

static int attempt_check_running(struct db *db, int64_t attempt_id, int64_t *ret_job_id,
                                 struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT attempt.state, ring.job_id FROM attempt"
                       " JOIN ring ON ring.id = attempt.ring_id WHERE attempt.id = ?");
    stmt_int(&st, attempt_id);
    int r = stmt_step(&st, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "there is no attempt number %" PRId64, attempt_id);
    const char *state = stmt_col_text(&st, 0);
    if (strcmp(state, "running") != 0)
        return err_set(e, ERR_CONFLICT, NULL,
                       "attempt number %" PRId64 " is %s already: its result comes too late",
                       attempt_id, state);
    *ret_job_id = stmt_col_int(&st, 1);
    return 0;
}

static int job_count(struct db *db, int64_t job_id, int done, int failed, int discarded,
                     struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE job SET steps_done = steps_done + ?, steps_failed = steps_failed"
                       " + ?, steps_discarded = steps_discarded + ?,"
                       " claims_fruitless = iif(?, 0, claims_fruitless) WHERE id = ?");
    stmt_int(&st, done);
    stmt_int(&st, failed);
    stmt_int(&st, discarded);
    stmt_int(&st, done);
    stmt_int(&st, job_id);
    return stmt_run(&st, e);
}

static void cpus_text(const struct exec_result *result, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; i < result->cpus_count && i < RING_THREADS_MAX && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, i ? ",%u" : "%u", result->cpus[i]);
}

static int attempt_update(struct db *db, int64_t attempt_id, const struct exec_request *request,
                          const struct exec_result *result, struct err *e)
{
    char cpus[RING_THREADS_MAX * 6 + 1];
    cleanup_(free_p) uint8_t *turns = NULL;
    size_t turns_size;
    int r = pack_turns(result->turns, result->turns_count, &turns, &turns_size);
    if (r < 0)
        return err_set_errno(e, ERR_LIMIT, -r, "packing turns");
    cpus_text(result, cpus, sizeof cpus);
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "UPDATE attempt SET state = ?, started_us = ?, finished_us = ?, rotations = ?,"
            " slice_ops = ?, replay_ops = ?, warm_ops = ?, cpus = ?, housekeeping = ?, steal_ratio "
            "= ?, psi_cpu_ratio = ?,"
            " migrations = ?, discard_reason = ?, turns_count = ?, turns = ? WHERE id = ?");
    stmt_text(&st, result->discard ? "discarded" : "accepted");
    stmt_u64(&st, result->started_us);
    stmt_u64(&st, result->finished_us);
    stmt_int(&st, request->rotations);
    stmt_u64(&st, request->slice_ops);
    stmt_u64(&st, request->replay_ops);
    stmt_u64(&st, request->warm_ops);
    stmt_text(&st, cpus);
    stmt_int(&st, result->housekeeping);
    stmt_real(&st, result->steal_ratio);
    stmt_real(&st, result->psi_cpu_ratio);
    stmt_u64(&st, result->migrations);
    stmt_text(&st, result->discard ? result->discard_reason : "");
    stmt_int(&st, result->turns_count);
    stmt_blob(&st, result->turns_count ? turns : NULL, turns_size);
    stmt_int(&st, attempt_id);
    return stmt_run(&st, e);
}

struct attempt_finish {
    int64_t attempt_id;
    const struct exec_request *request;
    const struct exec_result *result;
};

static int attempt_finish_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    const struct attempt_finish *finish = arg;
    const struct exec_result *result = finish->result;
    struct trial_row rows[RING_RUNNERS_MAX];
    int64_t job_id;
    bool failed = false;
    int r = attempt_check_running(db, finish->attempt_id, &job_id, e);
    if (r < 0)
        return r;
    int rows_count = trial_rows(db, finish->attempt_id, rows, e);
    if (rows_count < 0)
        return rows_count;
    if ((uint32_t)rows_count != result->runners_count)
        return err_set(e, ERR_INVALID, NULL, "a result of %u runners for a ring of %d",
                       result->runners_count, rows_count);
    for (int i = 0; i < rows_count; i++) {
        r = trial_put(s, db, &rows[i], &result->runners[i], result->discard, e);
        if (r < 0)
            return r;
        failed |= result->runners[i].outcome != OUTCOME_OK;
    }
    r = attempt_update(db, finish->attempt_id, finish->request, result, e);
    if (r < 0)
        return r;
    return job_count(db, job_id, !result->discard, !result->discard && failed, result->discard, e);
}

int store_attempt_finish(struct store *s, int64_t attempt_id, const struct exec_request *request,
                         const struct exec_result *result, struct err *e)
{
    assert(result->runners_count <= RING_RUNNERS_MAX);
    struct attempt_finish finish = {.attempt_id = attempt_id, .request = request, .result = result};
    return store_write(s, attempt_finish_task, &finish, e);
}

int attempt_end_without_result(struct db *db, int64_t attempt_id, bool lost, const struct err *why,
                               struct err *e)
{
    static const struct err none = {0};
    struct trial_row rows[RING_RUNNERS_MAX];
    int64_t job_id;
    int r = attempt_check_running(db, attempt_id, &job_id, e);
    if (r < 0)
        return r;
    int rows_count = trial_rows(db, attempt_id, rows, e);
    if (rows_count < 0)
        return rows_count;
    for (int i = 0; i < rows_count; i++) {
        r = trial_put_nothing(db, &rows[i], lost, why, e);
        if (r < 0)
            return r;
    }
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE attempt SET state = ?, finished_us = ?, error_code = ?,"
                       " error_message = ? WHERE id = ?");
    stmt_text(&st, lost ? "lost" : "failed");
    stmt_int(&st, clock_realtime_us());
    stmt_text(&st, err_code_name((why ? why : &none)->code));
    stmt_text(&st, (why ? why : &none)->message);
    stmt_int(&st, attempt_id);
    r = stmt_run(&st, e);
    return r < 0 || lost ? r : job_count(db, job_id, 1, 1, 0, e);
}

struct attempt_abandon {
    int64_t attempt_id;
    bool lost;
    const struct err *why;
};

static int attempt_abandon_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const struct attempt_abandon *abandon = arg;
    return attempt_end_without_result(db, abandon->attempt_id, abandon->lost, abandon->why, e);
}

int store_attempt_abandon(struct store *s, int64_t attempt_id, bool lost, const struct err *why,
                          struct err *e)
{
    struct attempt_abandon abandon = {.attempt_id = attempt_id, .lost = lost, .why = why};
    return store_write(s, attempt_abandon_task, &abandon, e);
}
