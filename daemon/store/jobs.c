/* Jobs: adding (durable before 202), the queue, legal transitions, cancellation. */
#include "daemon/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

/* The state machine, whole. Rows are where a job is, columns where it may go. */
static const bool legal[JOB_STATE_COUNT_][JOB_STATE_COUNT_] = {
    [JOB_QUEUED] = {[JOB_CLAIMED] = true, [JOB_CANCELLED] = true},
    [JOB_CLAIMED] = {[JOB_RUNNING] = true,
                     [JOB_QUEUED] = true,
                     [JOB_FAILED] = true,
                     [JOB_CANCELLED] = true,
                     [JOB_LOST] = true},
    [JOB_RUNNING] = {[JOB_QUEUED] = true,
                     [JOB_SUCCEEDED] = true,
                     [JOB_FAILED] = true,
                     [JOB_CANCELLED] = true,
                     [JOB_LOST] = true},
};

bool store_job_transition_legal(enum job_state from, enum job_state to)
{
    return (unsigned)from < JOB_STATE_COUNT_ && (unsigned)to < JOB_STATE_COUNT_ && legal[from][to];
}

/* ---- rows ---- */

static void job_labels_from_row(struct stmt *st, int column, struct job_labels *ret)
{
    stmt_col_copy(st, column, ret->project, sizeof ret->project);
    stmt_col_copy(st, column + 1, ret->commit, sizeof ret->commit);
    stmt_col_copy(st, column + 2, ret->parent, sizeof ret->parent);
    ret->sequence = stmt_col_u64(st, column + 3);
    stmt_col_copy(st, column + 4, ret->branch, sizeof ret->branch);
    stmt_col_copy(st, column + 5, ret->tag, sizeof ret->tag);
    ret->time_us = stmt_col_int(st, column + 6);
}

int job_from_row(struct stmt *st, struct store_job *ret, struct err *e)
{
    *ret = (struct store_job){.id = stmt_col_int(st, 0)};
    stmt_col_copy(st, 1, ret->uuid, sizeof ret->uuid);
    int state = job_state_parse(stmt_col_text(st, 2));
    if (state < 0)
        return err_set(e, ERR_IO, NULL, "job %s has an unknown state in the database", ret->uuid);
    ret->state = (enum job_state)state;
    stmt_col_copy(st, 3, ret->name, sizeof ret->name);
    stmt_col_copy(st, 4, ret->preset, sizeof ret->preset);
    stmt_col_copy(st, 5, ret->profile, sizeof ret->profile);
    stmt_col_copy(st, 6, ret->principal, sizeof ret->principal);
    job_labels_from_row(st, 7, &ret->labels);
    stmt_col_copy(st, 14, ret->host_key, sizeof ret->host_key);
    ret->created_us = stmt_col_int(st, 15);
    ret->started_us = stmt_col_int(st, 16);
    ret->finished_us = stmt_col_int(st, 17);
    ret->cells_count = stmt_col_u32(st, 18);
    ret->steps_total = stmt_col_u32(st, 19);
    ret->steps_done = stmt_col_u32(st, 20);
    ret->steps_failed = stmt_col_u32(st, 21);
    ret->steps_discarded = stmt_col_u32(st, 22);
    ret->attempts = stmt_col_u32(st, 23);
    ret->cancel_requested = stmt_col_int(st, 24) != 0;
    ret->error.code = err_code_parse(stmt_col_text(st, 25));
    stmt_col_copy(st, 26, ret->error.field, sizeof ret->error.field);
    stmt_col_copy(st, 27, ret->error.message, sizeof ret->error.message);
    ret->steps_given_up = stmt_col_u32(st, 28);
    stmt_col_copy(st, 29, ret->harness_build, sizeof ret->harness_build);
    return stmt_row_check(st, e);
}

int job_from_row_full(struct stmt *st, struct store_job *ret, struct err *e)
{
    struct store_job job;
    int r = job_from_row(st, &job, e);
    if (r < 0)
        return r;
    const char *spec = stmt_col_text(st, JOB_COLUMNS_COUNT);
    r = stmt_row_check(st, e);
    if (r < 0)
        return r;
    char *spec_json = strdup(spec);
    if (!spec_json)
        return err_set_errno(e, ERR_LIMIT, ENOMEM, "reading job %s", job.uuid);
    *ret = job;
    ret->spec_json = spec_json;
    return 0;
}

void store_job_done(struct store_job *job)
{
    free(job->spec_json);
    job->spec_json = NULL;
}

/* ---- adding ---- */

struct job_add {
    const struct store_job_new *job;
    int64_t now_us;
    char uuid[37];
    bool replayed;
};

/* 1: the key was used before, its job's uuid is in *add; 0: it is new. */
static int idempotency_find(struct db *db, struct job_add *add, struct err *e)
{
    const struct store_job_new *job = add->job;
    if (!job->idempotency_key)
        return 0;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT i.body_sha256, job.uuid FROM idempotency i"
                       " JOIN job ON job.id = i.job_id WHERE i.principal = ? AND i.key = ?");
    stmt_text(&st, job->principal);
    stmt_text(&st, job->idempotency_key);
    int r = stmt_step(&st, e);
    if (r <= 0)
        return r;
    bool same = strcmp(stmt_col_text(&st, 0), job->body_sha256) == 0;
    stmt_col_copy(&st, 1, add->uuid, sizeof add->uuid);
    r = stmt_row_check(&st, e);
    if (r < 0)
        return r;
    if (!same)
        return err_set(e, ERR_INVALID, "Idempotency-Key",
                       "this key was sent before with another body (job %s); use a new key",
                       add->uuid);
    return 1;
}

static int idempotency_purge(struct db *db, int64_t now_us, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "DELETE FROM idempotency WHERE (principal, key) IN"
                       " (SELECT principal, key FROM idempotency WHERE created_us < ?"
                       "  ORDER BY created_us LIMIT ?)");
    stmt_int(&st, now_us - STORE_IDEMPOTENCY_US);
    stmt_int(&st, STORE_PURGE_ROWS_MAX);
    return stmt_run(&st, e);
}

static int idempotency_put(struct db *db, const struct job_add *add, int64_t job_id, struct err *e)
{
    if (!add->job->idempotency_key)
        return 0;
    int r = idempotency_purge(db, add->now_us, e);
    if (r < 0)
        return r;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO idempotency (principal, key, body_sha256, job_id, created_us)"
                       " VALUES (?, ?, ?, ?, ?)");
    stmt_text(&st, add->job->principal);
    stmt_text(&st, add->job->idempotency_key);
    stmt_text(&st, add->job->body_sha256);
    stmt_int(&st, job_id);
    stmt_int(&st, add->now_us);
    return stmt_run(&st, e);
}

static int job_insert(struct db *db, const struct job_add *add, int64_t *ret_id, struct err *e)
{
    const struct store_job_new *job = add->job;
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT INTO job (uuid, state, name, preset, profile, spec, principal, label_project,"
            " label_commit, label_parent, label_sequence, label_branch, label_tag, label_time_us,"
            " created_us, cells_count, steps_total)"
            " VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    stmt_text(&st, job->uuid);
    stmt_text(&st, job->name);
    stmt_text(&st, job->preset);
    stmt_text(&st, job->profile);
    stmt_text(&st, job->spec_json);
    stmt_text(&st, job->principal);
    stmt_text(&st, job->labels->project);
    stmt_text(&st, job->labels->commit);
    stmt_text(&st, job->labels->parent);
    stmt_u64(&st, job->labels->sequence);
    stmt_text(&st, job->labels->branch);
    stmt_text(&st, job->labels->tag);
    stmt_int(&st, job->labels->time_us);
    stmt_int(&st, add->now_us);
    stmt_int(&st, job->cells_count);
    stmt_int(&st, job->steps_total);
    return stmt_insert(&st, ret_id, e);
}

static int cells_insert(struct db *db, const struct store_job_new *job, int64_t job_id,
                        struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT INTO cell (job_id, idx, group_idx, workload, params_key, threads,"
            " pages, allocator, options_key, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    for (uint32_t i = 0; i < job->cells_count; i++) {
        const struct store_cell_new *cell = &job->cells[i];
        if (cell->pages >= PAGES_COUNT_)
            return err_set(e, ERR_INTERNAL, NULL, "cell %u has page mode %u", i, cell->pages);
        stmt_int(&st, job_id);
        stmt_int(&st, cell->idx);
        stmt_int(&st, cell->group_idx);
        stmt_text(&st, cell->workload);
        stmt_text(&st, cell->params_key);
        stmt_int(&st, cell->threads);
        stmt_text(&st, page_mode_name((enum page_mode)cell->pages));
        stmt_text(&st, cell->allocator);
        stmt_text(&st, cell->options_key);
        stmt_text(&st, store_role_name(cell->role));
        int r = stmt_run(&st, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int job_add_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    struct job_add *add = arg;
    int64_t job_id;
    int r = idempotency_find(db, add, e);
    add->replayed = r > 0;
    if (r != 0)
        return r < 0 ? r : 0;
    memcpy(add->uuid, add->job->uuid, sizeof add->uuid);
    r = job_insert(db, add, &job_id, e);
    if (r == 0)
        r = cells_insert(db, add->job, job_id, e);
    return r < 0 ? r : idempotency_put(db, add, job_id, e);
}

int store_job_add(struct store *s, const struct store_job_new *job, char ret_uuid[37],
                  bool *ret_replayed, struct err *e)
{
    assert(strlen(job->uuid) == 36);
    assert(!job->idempotency_key || job->body_sha256);
    struct job_add add = {.job = job, .now_us = clock_realtime_us()};
    int r = store_space_check(s, e);
    if (r == 0)
        r = store_write(s, job_add_task, &add, e);
    if (r < 0)
        return r;
    memcpy(ret_uuid, add.uuid, sizeof add.uuid);
    *ret_replayed = add.replayed;
    return 0;
}

/* ---- the queue ---- */

struct job_claim {
    const char *host_key;
    struct store_job job;
};

static int job_claim_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    struct job_claim *claim = arg;
    store_job_done(&claim->job); /* of a run that did not commit */
    int64_t host_id;
    int r = host_id_get(db, claim->host_key, &host_id, e);
    if (r < 0)
        return r;
    cleanup_(stmt_end) struct stmt update = stmt_begin(
        db, "UPDATE job SET state = 'claimed', host_id = ?, attempts = attempts + 1,"
            " claims_fruitless = claims_fruitless + 1, steps_given_up = 0,"
            " harness_build = iif(steps_done = 0, ?, harness_build) WHERE id ="
            " (SELECT id FROM job WHERE state = 'queued' ORDER BY id LIMIT 1) RETURNING id");
    stmt_int(&update, host_id);
    stmt_text(&update, ring_build_id());
    r = stmt_step(&update, e);
    if (r <= 0)
        return r;
    int64_t id = stmt_col_int(&update, 0);
    r = stmt_run(&update, e); /* to its end, or the change is taken back */
    if (r < 0)
        return r;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT " JOB_COLUMNS ", spec FROM job WHERE id = ?");
    stmt_int(&st, id);
    r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_INTERNAL, NULL, "a claimed job vanished");
    if (r > 0)
        r = job_from_row_full(&st, &claim->job, e);
    return r < 0 ? r : 1;
}

int store_job_claim(struct store *s, const char *host_key, struct store_job *ret, struct err *e)
{
    struct job_claim claim = {.host_key = host_key};
    int r = store_write(s, job_claim_task, &claim, e);
    if (r > 0)
        *ret = claim.job;
    else
        store_job_done(&claim.job);
    return r;
}

/* ---- transitions ---- */

static int job_state_get(struct db *db, const char *uuid, enum job_state *ret_state,
                         bool *ret_cancel_requested, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT state, cancel_requested FROM job WHERE uuid = ?");
    stmt_text(&st, uuid);
    int r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "there is no job %.40s", uuid);
    if (r < 0)
        return r;
    int state = job_state_parse(stmt_col_text(&st, 0));
    r = stmt_row_check(&st, e);
    if (r < 0)
        return r;
    if (state < 0)
        return err_set(e, ERR_IO, NULL, "job %.40s has an unknown state in the database", uuid);
    *ret_state = (enum job_state)state;
    *ret_cancel_requested = stmt_col_int(&st, 1) != 0;
    return 0;
}

static int job_state_put(struct db *db, const char *uuid, enum job_state state,
                         const struct err *why, struct err *e)
{
    static const struct err none = {0};
    const struct err *error = why ? why : &none;
    int64_t now_us = clock_realtime_us();
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE job SET state = ?1, error_code = ?2, error_field = ?3,"
                       " error_message = ?4,"
                       " started_us = iif(?1 = 'running' AND started_us = 0, ?5, started_us),"
                       " attempts = attempts - (?1 = 'queued' AND attempts > 0),"
                       " claims_fruitless = claims_fruitless"
                       " - (?1 = 'queued' AND claims_fruitless > 0),"
                       " finished_us = iif(?6, ?5, 0) WHERE uuid = ?7");
    stmt_text(&st, job_state_name(state));
    stmt_text(&st, err_code_name(error->code));
    stmt_text(&st, error->field);
    stmt_text(&st, error->message);
    stmt_int(&st, now_us);
    stmt_int(&st, job_state_final(state));
    stmt_text(&st, uuid);
    return stmt_run(&st, e);
}

struct job_state_set {
    const char *uuid;
    enum job_state state;
    const struct err *why;
};

static int job_set_state_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const struct job_state_set *set = arg;
    enum job_state from;
    bool cancel_requested;
    int r = job_state_get(db, set->uuid, &from, &cancel_requested, e);
    if (r < 0)
        return r;
    if (!store_job_transition_legal(from, set->state))
        return err_set(e, ERR_CONFLICT, NULL, "job %.40s is %s and cannot become %s", set->uuid,
                       job_state_name(from), job_state_name(set->state));
    /* Nobody would take a cancelled job out of the queue again. */
    bool cancel = set->state == JOB_QUEUED && cancel_requested;
    return job_state_put(db, set->uuid, cancel ? JOB_CANCELLED : set->state, set->why, e);
}

int store_job_set_state(struct store *s, const char *uuid, enum job_state state,
                        const struct err *why, struct err *e)
{
    struct job_state_set set = {.uuid = uuid, .state = state, .why = why};
    return store_write(s, job_set_state_task, &set, e);
}

struct job_steps {
    int64_t job_id;
    uint32_t total, given_up;
};

static int job_steps_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const struct job_steps *steps = arg;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE job SET steps_total = ?, steps_given_up = ? WHERE id = ?");
    stmt_int(&st, steps->total);
    stmt_int(&st, steps->given_up);
    stmt_int(&st, steps->job_id);
    return stmt_run(&st, e);
}

int store_job_steps(struct store *s, int64_t job_id, uint32_t steps_total, uint32_t given_up,
                    struct err *e)
{
    struct job_steps steps = {.job_id = job_id, .total = steps_total, .given_up = given_up};
    return store_write(s, job_steps_task, &steps, e);
}

struct job_cancel {
    const char *uuid;
    enum job_state state;
};

static int job_cancel_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    struct job_cancel *cancel = arg;
    bool requested;
    int r = job_state_get(db, cancel->uuid, &cancel->state, &requested, e);
    if (r < 0 || requested || job_state_final(cancel->state))
        return r;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "UPDATE job SET cancel_requested = 1 WHERE uuid = ?");
    stmt_text(&st, cancel->uuid);
    r = stmt_run(&st, e);
    if (r < 0 || cancel->state != JOB_QUEUED)
        return r;
    cancel->state = JOB_CANCELLED;
    return job_state_put(db, cancel->uuid, JOB_CANCELLED, NULL, e);
}

int store_job_cancel(struct store *s, const char *uuid, enum job_state *ret_state, struct err *e)
{
    struct job_cancel cancel = {.uuid = uuid};
    int r = store_write(s, job_cancel_task, &cancel, e);
    if (r == 0)
        *ret_state = cancel.state;
    return r;
}
