#include "tests/bench/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "daemon/store/pack.h"

enum bare_sql {
    BARE_BEGIN,
    BARE_COMMIT,
    BARE_RING,
    BARE_RUNNER,
    BARE_ATTEMPT,
    BARE_TRIAL,
    BARE_SLICES,
    BARE_VALUE,
    BARE_VECTOR,
    BARE_CELL,
    BARE_ATTEMPT_END,
    BARE_JOB,
    BARE_COUNT_
};

static const char *const bare_sql[BARE_COUNT_] = {
    [BARE_BEGIN] = "BEGIN IMMEDIATE",
    [BARE_COMMIT] = "COMMIT",
    [BARE_RING] = "INSERT INTO ring (job_id, group_idx, repetition, position, oneshot,"
                  " runners_count) VALUES (?, 0, ?, 0, 0, ?)",
    [BARE_RUNNER] = "INSERT INTO ring_runner VALUES (?, ?, ?, 'subject')",
    [BARE_ATTEMPT] = "INSERT INTO attempt (uuid, ring_id, number, state, executor, seed, tape_seed,"
                     " started_us) VALUES (?, ?, 1, 'running', 'local', 1, 2, 3)",
    [BARE_TRIAL] = "INSERT INTO trial (job_id, attempt_id, runner_idx, cell_id, role, subject_id,"
                   " outcome, failure, exit_status, signal, turns_done, turns_total, isolation,"
                   " message, log) VALUES (?, ?, ?, ?, 'subject', 1, 'ok', 'none', 0, 0, 20, 20, 1,"
                   " '', ?)",
    [BARE_SLICES] = "INSERT INTO slices VALUES (?, ?, ?)",
    [BARE_VALUE] = "INSERT INTO value VALUES (?, ?, ?)",
    [BARE_VECTOR] = "INSERT INTO vector VALUES (?, ?, ?, ?)",
    [BARE_CELL] = "UPDATE cell SET trials_ok = trials_ok + 1 WHERE id = ?",
    [BARE_ATTEMPT_END] = "UPDATE attempt SET state = 'accepted', finished_us = 4, rotations = 5,"
                         " slice_ops = 6, cpus = '0,1', steal_ratio = 0.1, turns_count = ?,"
                         " turns = ? WHERE id = ?",
    [BARE_JOB] = "UPDATE job SET steps_done = steps_done + 1 WHERE id = ?",
};

static const char bare_pragmas[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864;"
    "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON;";

struct bare {
    struct report *r;
    sqlite3 *db;
    sqlite3_stmt *st[BARE_COUNT_];
};

static void bare_check(struct bare *b, int rc)
{
    if (rc != SQLITE_OK)
        report_fail(b->r, "bare SQLite: %s", sqlite3_errmsg(b->db));
}

struct bare *bare_open(struct report *r, const char *path)
{
    struct bare *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    b->r = r;
    bare_check(b, sqlite3_open_v2(path, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));
    bare_check(b, sqlite3_exec(b->db, bare_pragmas, NULL, NULL, NULL));
    for (unsigned i = 0; i < BARE_COUNT_; i++)
        bare_check(b, sqlite3_prepare_v2(b->db, bare_sql[i], -1, &b->st[i], NULL));
    return b;
}

void bare_close(struct bare *b)
{
    for (unsigned i = 0; i < BARE_COUNT_; i++)
        (void)sqlite3_finalize(b->st[i]);
    bare_check(b, sqlite3_close(b->db));
    free(b);
}

static int64_t bare_run(struct bare *b, enum bare_sql sql)
{
    if (sqlite3_step(b->st[sql]) != SQLITE_DONE)
        report_fail(b->r, "bare SQLite: %s: %s", bare_sql[sql], sqlite3_errmsg(b->db));
    bare_check(b, sqlite3_reset(b->st[sql]));
    return sqlite3_last_insert_rowid(b->db);
}

static void bare_int(struct bare *b, enum bare_sql sql, int at, int64_t value)
{
    bare_check(b, sqlite3_bind_int64(b->st[sql], at, value));
}

static int64_t bare_begin(struct bare *b, const struct shape *shape, int64_t job_id,
                          uint32_t repetition)
{
    char uuid[37];
    snprintf(uuid, sizeof uuid, "%08x-bench-%020llx", repetition, (unsigned long long)job_id);
    (void)bare_run(b, BARE_BEGIN);
    bare_int(b, BARE_RING, 1, job_id);
    bare_int(b, BARE_RING, 2, repetition);
    bare_int(b, BARE_RING, 3, shape->runners);
    int64_t ring = bare_run(b, BARE_RING);
    for (uint32_t i = 0; i < shape->runners; i++) {
        bare_int(b, BARE_RUNNER, 1, ring);
        bare_int(b, BARE_RUNNER, 2, i);
        bare_int(b, BARE_RUNNER, 3, i);
        (void)bare_run(b, BARE_RUNNER);
    }
    bare_check(b, sqlite3_bind_text(b->st[BARE_ATTEMPT], 1, uuid, -1, SQLITE_TRANSIENT));
    bare_int(b, BARE_ATTEMPT, 2, ring);
    int64_t attempt = bare_run(b, BARE_ATTEMPT);
    (void)bare_run(b, BARE_COMMIT);
    return attempt;
}

static void bare_metrics(struct bare *b, int64_t trial, const struct exec_runner_result *runner)
{
    for (uint32_t i = 0; i < runner->metrics_count; i++) {
        const struct exec_metric *m = &runner->metrics[i];
        enum bare_sql sql = m->vector_count ? BARE_VECTOR : BARE_VALUE;
        bare_int(b, sql, 1, trial);
        bare_int(b, sql, 2, (int64_t)m->metric + 1);
        if (m->vector_count) {
            bare_int(b, sql, 3, m->vector_count);
            bare_check(b, sqlite3_bind_blob(b->st[sql], 4, m->vector, (int)m->vector_count * 8,
                                            SQLITE_STATIC));
        } else {
            bare_check(b, sqlite3_bind_double(b->st[sql], 3, m->value));
        }
        (void)bare_run(b, sql);
    }
}

static void bare_trial(struct bare *b, int64_t job_id, int64_t attempt, uint32_t i,
                       const struct exec_runner_result *runner)
{
    int64_t cell = (job_id - 1) * RING_RUNNERS_MAX + i + 1;
    bare_int(b, BARE_TRIAL, 1, job_id);
    bare_int(b, BARE_TRIAL, 2, attempt);
    bare_int(b, BARE_TRIAL, 3, i);
    bare_int(b, BARE_TRIAL, 4, cell);
    bare_check(b, sqlite3_bind_text(b->st[BARE_TRIAL], 5, runner->log, -1, SQLITE_STATIC));
    int64_t trial = bare_run(b, BARE_TRIAL);
    if (runner->slices_count) {
        uint8_t *data;
        size_t size;
        if (pack_slices(runner->slices, runner->slices_count, &data, &size) < 0)
            report_fail(b->r, "out of memory");
        bare_int(b, BARE_SLICES, 1, trial);
        bare_int(b, BARE_SLICES, 2, runner->slices_count);
        bare_check(b, sqlite3_bind_blob(b->st[BARE_SLICES], 3, data, (int)size, SQLITE_TRANSIENT));
        (void)bare_run(b, BARE_SLICES);
        free(data);
    }
    bare_metrics(b, trial, runner);
    bare_int(b, BARE_CELL, 1, cell);
    (void)bare_run(b, BARE_CELL);
}

void bare_step(struct bare *b, const struct shape *shape, int64_t job_id, uint32_t repetition,
               const struct exec_request *request, const struct exec_result *result)
{
    (void)request;
    uint8_t *turns;
    size_t turns_size;
    int64_t attempt = bare_begin(b, shape, job_id, repetition);
    (void)bare_run(b, BARE_BEGIN);
    for (uint32_t i = 0; i < shape->runners; i++)
        bare_trial(b, job_id, attempt, i, &result->runners[i]);
    if (pack_turns(result->turns, result->turns_count, &turns, &turns_size) < 0)
        report_fail(b->r, "out of memory");
    bare_int(b, BARE_ATTEMPT_END, 1, result->turns_count);
    bare_check(
        b, sqlite3_bind_blob(b->st[BARE_ATTEMPT_END], 2, turns, (int)turns_size, SQLITE_TRANSIENT));
    bare_int(b, BARE_ATTEMPT_END, 3, attempt);
    (void)bare_run(b, BARE_ATTEMPT_END);
    free(turns);
    bare_int(b, BARE_JOB, 1, job_id);
    (void)bare_run(b, BARE_JOB);
    (void)bare_run(b, BARE_COMMIT);
}

int64_t bare_rows(struct report *r, const char *path)
{
    static const char *const tables[] = {"ring",   "ring_runner", "attempt", "trial",
                                         "slices", "value",       "vector"};
    struct bare b = {.r = r};
    int64_t rows = 0;
    bare_check(&b, sqlite3_open_v2(path, &b.db, SQLITE_OPEN_READONLY, NULL));
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char sql[64];
        sqlite3_stmt *st;
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
        bare_check(&b, sqlite3_prepare_v2(b.db, sql, -1, &st, NULL));
        if (sqlite3_step(st) != SQLITE_ROW)
            report_fail(r, "counting rows: %s", sqlite3_errmsg(b.db));
        rows += sqlite3_column_int64(st, 0);
        sqlite3_finalize(st);
    }
    sqlite3_close(b.db);
    return rows;
}

void bare_points(struct report *r, const char *path, int series_count, int points_count)
{
    struct bare b = {.r = r};
    char sql[2048];
    snprintf(sql, sizeof sql,
             "PRAGMA foreign_keys=OFF; PRAGMA synchronous=OFF; BEGIN;"
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO job (uuid, state, name, preset, profile, spec, principal, label_project,"
             " label_commit, label_parent, label_sequence, label_branch, label_tag, label_time_us,"
             " created_us, cells_count, steps_total) SELECT printf('%%032x', i), 'succeeded', '',"
             " '', '', '{}', 'local', 'p', printf('%%040x', i), '', i, 'main', '', i, i, 1, 1"
             " FROM n;"
             "INSERT INTO host VALUES (1, 'h', '', '{}', 1, 1);"
             "INSERT INTO protocol VALUES (1, 'p', 1);"
             "INSERT INTO build VALUES (1, 'jemalloc', printf('%%064x', 1), '5', '/l', 1, 1);"
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO series SELECT i, printf('series %%d', i), 1, 1, 'table-churn', '', 1,"
             " '4k', 'jemalloc', '', 1 FROM n;"
             "INSERT INTO point SELECT series.id, job.id * 1000000, job.id, 1, series.id + 0.5, 1,"
             " 2, 1.5, 1.25, 1.75 FROM series JOIN job ORDER BY series.id, job.id;"
             "COMMIT;",
             points_count, series_count);
    bare_check(&b, sqlite3_open_v2(path, &b.db, SQLITE_OPEN_READWRITE, NULL));
    bare_check(&b, sqlite3_exec(b.db, sql, NULL, NULL, NULL));
    bare_check(&b, sqlite3_close(b.db));
}
