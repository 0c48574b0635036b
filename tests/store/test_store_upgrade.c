/* Files of every older schema, as a program of that time left them when it was killed: this program
 * opens them, recovers, reads all and goes on. A migration that is killed half way leaves the old
 * version, and the next start completes it. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/internal.h"

#define VERSIONS_MAX 32
#define FINISHED     1 /* jobs, as fixture_uuid numbers them */
#define RUNNING      2

/* The rows of version 1, in its own columns: job 1 is done, job 2 was being measured. Metrics have
 * numbers no program would give them today. Slices and turns are packed and left out. */
static const char old_rows[] =
    "INSERT INTO metric VALUES (70, 'pairs_per_s'), (90, 'heap_bytes'), (91, 'of_no_program');"
    "INSERT INTO host VALUES (1, 'host-key-a', 'old', '{}', 1, 2);"
    "INSERT INTO protocol VALUES (1, 'protocol', 1);"
    "INSERT INTO build VALUES (1, 'glibc', 'aa', '2.36', '/lib/libc.so.6', 1, 2);"
    "INSERT INTO subject VALUES (1, 1, '');"
    "INSERT INTO job (id, uuid, state, name, preset, profile, spec, principal, label_project,"
    " label_commit, label_parent, label_sequence, label_branch, label_tag, label_time_us, host_id,"
    " created_us, started_us, finished_us, cells_count, steps_total, steps_done, attempts) VALUES"
    " (1, '00000001-0000-4000-8000-000000000001', 'succeeded', 'done', '', 'quick', '{}', 'local',"
    "  'p', 'c', '', 0, '', '', 0, 1, 100, 200, 300, 1, 2, 2, 0),"
    " (2, '00000002-0000-4000-8000-000000000002', 'running', 'interrupted', '', 'quick', '{}',"
    "  'local', '', '', '', 0, '', '', 0, 1, 400, 500, 0, 1, 2, 1, 1);"
    "INSERT INTO cell (id, job_id, idx, group_idx, workload, params_key, threads, pages, allocator,"
    " options_key, role, trials_ok) VALUES"
    " (1, 1, 0, 0, 'table-churn', 'live=500', 1, '4k', 'glibc', '', 'reference', 2),"
    " (2, 2, 0, 0, 'table-churn', 'live=500', 1, '4k', 'glibc', '', 'reference', 1);"
    "INSERT INTO ring VALUES (1, 1, 0, 0, 0, 0, 1), (2, 1, 0, 1, 0, 0, 1), (3, 2, 0, 0, 0, 0, 1),"
    " (4, 2, 0, 1, 0, 0, 1);"
    "INSERT INTO ring_runner SELECT id, 0, 0, 'reference' FROM ring;"
    "INSERT INTO attempt (id, uuid, ring_id, number, state, executor, seed, tape_seed, started_us,"
    " finished_us) VALUES (1, 'a1', 1, 1, 'accepted', 'local', 1, 1, 210, 220),"
    " (2, 'a2', 2, 1, 'accepted', 'local', 2, 2, 230, 240),"
    " (3, 'a3', 3, 1, 'accepted', 'local', 3, 3, 510, 520),"
    " (4, 'a4', 4, 1, 'running', 'local', 4, 4, 530, 0);"
    "INSERT INTO trial SELECT id, CASE WHEN id < 3 THEN 1 ELSE 2 END, id, 0,"
    " CASE WHEN id < 3 THEN 1 ELSE 2 END, 'reference', 1, 'ok', 'none', 0, 0, 9, 9, 3, 'said', "
    "'log'"
    " FROM attempt WHERE state = 'accepted';"
    "INSERT INTO value SELECT id, 70, 1000 + id FROM trial;"
    "INSERT INTO value SELECT id, 90, 4096 FROM trial;"
    "INSERT INTO value SELECT id, 91, 1 FROM trial;"
    "INSERT INTO summary (job_id, cell_id, metric_id, host_id, protocol_id, build_id, count, value,"
    " low, high, confidence, harness_bound, created_us)"
    " VALUES (1, 1, 70, 1, 1, 1, 2, 1001.5, 1001, 1002, 0.5, 0, 300);"
    "INSERT INTO series VALUES (1, 's', 1, 1, 'table-churn', 'live=500', 1, '4k', 'glibc', '', 70);"
    "INSERT INTO point VALUES (1, 100, 1, 1, 1001.5, 1001, 1002, NULL, NULL, NULL);";

static unsigned newest(void)
{
    unsigned count = 0;
    while (store_migrations[count].name)
        count++;
    assert_in_range(count, 2, VERSIONS_MAX);
    return count;
}

static void path_of(const struct fixture *f, const char *name, char ret[128])
{
    snprintf(ret, 128, "%s/%s", f->directory, name);
}

static void exec(struct db *db, const char *sql)
{
    struct err e = {0};
    if (db_exec(db, sql, &e) < 0)
        fail_msg("%s", e.message);
}

/* A file as version `version` made and used it: the schema files as they are, nothing else. */
static void old_file(struct fixture *f, unsigned version)
{
    char path[128], sql[96];
    struct db db;
    fixture_directory(f);
    path_of(f, "heapmark.db", path);
    assert_int_equal(db_open(&db, path, true, &f->e), 0);
    for (unsigned i = 0; i < version; i++)
        exec(&db, (const char *)store_migrations[i].begin);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%u; PRAGMA application_id=%d", version,
             DB_APPLICATION_ID);
    exec(&db, sql);
    exec(&db, old_rows);
    db_close(&db);
}

static int64_t ask(const struct fixture *f, const char *name, const char *sql)
{
    char path[128];
    struct db db;
    int64_t value = -1;
    path_of(f, name, path);
    assert_int_equal(db_open(&db, path, false, NULL), 0);
    (void)db_query_int(&db, sql, &value, NULL);
    db_close(&db);
    return value;
}

struct seen {
    unsigned ok, lost, summaries;
    double rates, heaps, others;
};

static int see_trial(void *ctx, const struct store_trial *t)
{
    struct seen *seen = ctx;
    if (strcmp(t->outcome, "ok") == 0) {
        assert_string_equal(t->message, "said");
        assert_string_equal(t->sha256, "aa");
        seen->ok++;
    } else {
        assert_string_equal(t->attempt_state, "lost");
        seen->lost++;
    }
    return 0;
}

static int see_value(void *ctx, const struct store_value *v)
{
    struct seen *seen = ctx;
    *(v->metric == METRIC_PAIRS_PER_S  ? &seen->rates
      : v->metric == METRIC_HEAP_BYTES ? &seen->heaps
                                       : &seen->others) += v->value;
    return 0;
}

static int see_summary(void *ctx, const struct store_summary *s)
{
    struct seen *seen = ctx;
    assert_int_equal(s->metric, METRIC_PAIRS_PER_S);
    assert_int_equal(s->count, 2);
    assert_true(s->value == 1001.5 && s->low == 1001 && s->high == 1002);
    assert_true(isnan(s->ratio));
    assert_false(s->unsteady);
    assert_string_equal(s->reason, "");
    assert_int_equal(s->measured, 0); /* made before this was told */
    seen->summaries++;
    return 0;
}

static struct seen see(struct fixture *f, int64_t job_id)
{
    struct seen seen = {0};
    const struct store_trial_filter all = {.job_id = job_id, .cell_idx = -1};
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_trials(v, &all, see_trial, &seen, &f->e), 0);
    assert_int_equal(store_view_values(v, job_id, 0, see_value, &seen, &f->e), 0);
    assert_int_equal(store_view_summaries(v, job_id, see_summary, &seen, &f->e), 0);
    return seen;
}

/* Open with this program, recover, look at everything, go on measuring. */
static void check_upgraded(struct fixture *f)
{
    struct store_job job;
    fixture_open(f);
    assert_int_equal(store_recover(f->store, 3, &f->e), 1);
    fixture_job_get(f, FINISHED, &job);
    assert_int_equal(job.state, JOB_SUCCEEDED);
    assert_string_equal(job.host_key, FIXTURE_HOST);
    assert_string_equal(job.labels.project, "p");
    assert_int_equal(job.steps_given_up, 0);
    assert_int_equal(job.finished_us, 300);
    struct seen seen = see(f, job.id);
    assert_true(seen.ok == 2 && seen.lost == 0 && seen.summaries == 1);
    assert_true(seen.rates == 1001 + 1002 && seen.heaps == 2 * 4096 && seen.others == 0);
    store_job_done(&job);
    fixture_job_get(f, RUNNING, &job);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_int_equal(job.steps_done, 1);
    seen = see(f, job.id);
    assert_true(seen.ok == 1 && seen.lost == 1 && seen.summaries == 0);
    assert_true(seen.rates == 1003);
    store_job_done(&job);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    assert_int_equal(job.id, RUNNING);
    const struct store_summary row = {.metric = METRIC_HEAP_BYTES,
                                      .value = NAN,
                                      .reason = "why",
                                      .measured = MEASURED_RING,
                                      .protocol_key = "protocol"};
    assert_int_equal(store_summaries_put(f->store, job.id, FIXTURE_HOST, &row, 1, &f->e), 0);
    store_job_done(&job);
    fixture_close(f);
    fixture_check(f);
    assert_int_equal(ask(f, "heapmark.db", "PRAGMA user_version"), newest());
    assert_int_equal(ask(f, "heapmark.db", "SELECT count(*) FROM point"), 1);
}

static void test_every_older_version(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= newest(); version++) {
        struct fixture f = {0};
        char backup[64];
        old_file(&f, version);
        check_upgraded(&f);
        snprintf(backup, sizeof backup, "heapmark.db.v%u.backup", version);
        if (version < newest()) {
            assert_int_equal(ask(&f, backup, "PRAGMA user_version"), version);
            assert_int_equal(
                ask(&f, backup, "SELECT count(*) FROM attempt WHERE state = 'running'"), 1);
        }
        fixture_remove(&f);
    }
}

static void die(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)context;
    (void)count;
    (void)values;
    kill(getpid(), SIGKILL);
}

/* In a child: the migrations of this program, and the end of it after `steps` of them. */
static void migrate_and_die(const struct fixture *f, unsigned version, unsigned steps)
{
    static const char last[] = "SELECT die();";
    struct embedded_file files[VERSIONS_MAX + 2] = {{0}};
    memcpy(files, store_migrations, (version + steps) * sizeof files[0]);
    files[version + steps] = (struct embedded_file){"die", (const unsigned char *)last,
                                                    (const unsigned char *)last + strlen(last)};
    char path[128];
    path_of(f, "heapmark.db", path);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct db db;
        if (db_open(&db, path, true, NULL) == 0 &&
            sqlite3_create_function(db.handle, "die", 0, SQLITE_UTF8, NULL, die, NULL, NULL) == 0)
            (void)migrate_run(&db, path, files, NULL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Killed after any number of steps: all of the old version is there, and nothing of the new. */
static void test_killed_half_way(void **state)
{
    (void)state;
    for (unsigned version = 1; version < newest(); version++)
        for (unsigned steps = 0; version + steps <= newest(); steps++) {
            struct fixture f = {0};
            old_file(&f, version);
            migrate_and_die(&f, version, steps);
            assert_int_equal(ask(&f, "heapmark.db", "PRAGMA user_version"), version);
            if (version < 3)
                assert_int_equal(ask(&f, "heapmark.db",
                                     "SELECT count(*) FROM sqlite_schema WHERE name = 'absence'"),
                                 0);
            check_upgraded(&f);
            fixture_remove(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_older_version),
        cmocka_unit_test(test_killed_half_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
