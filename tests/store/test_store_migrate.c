/* Migrations: forward in one transaction with a backup beside, or not at all; metric numbers that
 * outlive a reordering of the source. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/store/internal.h"

#define OWN_MAX 32

/* The version a new file has: migrations there are. */
static unsigned own_version(void)
{
    unsigned count = 0;
    while (store_migrations[count].name)
        count++;
    assert_true(count > 0 && count < OWN_MAX);
    return count;
}

/* The closed database migrated by one more file; its version afterwards in *ret. */
static int migrate_with(struct fixture *f, const char *next, int64_t *ret_version)
{
    struct embedded_file files[OWN_MAX + 2] = {{0}};
    unsigned own = own_version();
    memcpy(files, store_migrations, own * sizeof files[0]);
    if (next)
        files[own] = (struct embedded_file){"next", (const unsigned char *)next,
                                            (const unsigned char *)next + strlen(next)};
    char path[128];
    struct db db;
    snprintf(path, sizeof path, "%s/heapmark.db", f->directory);
    assert_int_equal(db_open(&db, path, true, &f->e), 0);
    int r = migrate_run(&db, path, files, &f->e);
    assert_int_equal(db_query_int(&db, "PRAGMA user_version", ret_version, NULL), 0);
    int64_t foreign_keys;
    assert_int_equal(db_query_int(&db, "PRAGMA foreign_keys", &foreign_keys, NULL), 0);
    assert_true(r < 0 || foreign_keys == 1);
    db_close(&db);
    return r;
}

static int64_t query(struct fixture *f, const char *name, const char *sql)
{
    char path[128];
    struct db db;
    int64_t value = -1;
    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    if (db_open(&db, path, false, &f->e) < 0)
        return -2;
    (void)db_query_int(&db, sql, &value, NULL);
    db_close(&db);
    return value;
}

static const char *backup(void)
{
    static char name[64];
    snprintf(name, sizeof name, "heapmark.db.v%u.backup", own_version());
    return name;
}

static void test_migration_forward(void **state)
{
    struct fixture *f = *state;
    int64_t version;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    fixture_close(f);
    assert_int_equal(query(f, backup(), "SELECT 1"), -2); /* none was made for a new file */
    assert_int_equal(
        migrate_with(f, "ALTER TABLE job ADD COLUMN extra TEXT NOT NULL DEFAULT 'x';", &version),
        0);
    assert_int_equal(version, own_version() + 1);
    assert_int_equal(query(f, "heapmark.db", "SELECT count(*) FROM job WHERE extra = 'x'"), 1);
    assert_int_equal(query(f, backup(), "PRAGMA user_version"), own_version());
    assert_int_equal(query(f, backup(), "SELECT count(*) FROM job"), 1);
    assert_int_equal(query(f, backup(),
                           "SELECT count(*) FROM pragma_integrity_check"
                           " WHERE integrity_check = 'ok'"),
                     1);
    /* this program is the older one now */
    assert_true(fixture_try_open(f) < 0);
    assert_int_equal(f->e.code, ERR_INCOMPATIBLE);
    /* and the backup is what brings it back */
    char from[128], to[128];
    snprintf(from, sizeof from, "%s/%s", f->directory, backup());
    snprintf(to, sizeof to, "%s/heapmark.db", f->directory);
    assert_int_equal(rename(from, to), 0);
    fixture_open(f);
    struct store_job job;
    fixture_job_get(f, 1, &job);
    store_job_done(&job);
}

static void test_migration_fails_whole(void **state)
{
    static const char *const broken[] = {
        "ALTER TABLE job ADD COLUMN a TEXT; SELEKT 1;",
        "DROP TABLE point; INSERT INTO nowhere VALUES (1);",
        "INSERT INTO cell SELECT 1, 4711, 0, 0, '', '', 1, '4k', '', '', 'subject', 0, 0, 0, '';",
    };
    struct fixture *f = *state;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    fixture_close(f);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int64_t version;
        assert_true(migrate_with(f, broken[i], &version) < 0);
        assert_int_equal(version, own_version());
        assert_int_equal(query(f, backup(), "PRAGMA user_version"), own_version());
        fixture_open(f); /* as if nothing had been tried */
        struct store_job job;
        fixture_job_get(f, 1, &job);
        assert_int_equal(job.cells_count, FIXTURE_CELLS);
        store_job_done(&job);
        fixture_close(f);
    }
}

static void test_migration_does_nothing_twice(void **state)
{
    struct fixture *f = *state;
    int64_t version;
    fixture_close(f);
    assert_int_equal(migrate_with(f, NULL, &version), 0);
    assert_int_equal(version, own_version());
    assert_int_equal(query(f, backup(), "SELECT 1"), -2);
}

/* No room or right for the backup: no migration. */
static void test_migration_needs_its_backup(void **state)
{
    struct fixture *f = *state;
    int64_t version;
    char part[160];
    fixture_close(f);
    snprintf(part, sizeof part, "%s/%s.part", f->directory, backup());
    assert_int_equal(mkdir(part, 0700), 0); /* cannot be unlinked nor written */
    assert_true(migrate_with(f, "CREATE TABLE t (x) STRICT;", &version) < 0);
    assert_int_equal(version, own_version());
    assert_int_equal(rmdir(part), 0);
}

static int steady_without_reason(void *ctx, const struct store_summary *row)
{
    assert_false(row->unsteady);
    assert_string_equal(row->reason, "");
    ++*(int *)ctx;
    return 0;
}

/* What the first schema stored is what it was, and takes what a later one knows. */
static void test_reasons_come_to_an_old_file(void **state)
{
    struct fixture *f = *state;
    struct store_summary rows[2] = {{.metric = METRIC_PAIRS_PER_S, .value = 1, .protocol_key = "p"},
                                    {.metric = METRIC_HEAP_BYTES,
                                     .value = NAN,
                                     .unsteady = true,
                                     .reason = "why",
                                     .protocol_key = "p"}};
    int64_t job = fixture_job_running(f, 1);
    assert_int_equal(store_summaries_put(f->store, job, FIXTURE_HOST, rows, 1, &f->e), 0);
    fixture_close(f);
    fixture_tamper(f, "DROP TABLE absence; ALTER TABLE summary DROP COLUMN unsteady;"
                      "ALTER TABLE summary DROP COLUMN reason;"
                      "ALTER TABLE summary DROP COLUMN measured;"
                      "ALTER TABLE job DROP COLUMN claims_fruitless;"
                      "ALTER TABLE job DROP COLUMN harness_build; PRAGMA user_version = 2");
    fixture_open(f);
    assert_int_equal(query(f, "heapmark.db.v2.backup", "PRAGMA user_version"), 2);
    int seen = 0;
    struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_summaries(v, job, steady_without_reason, &seen, &f->e), 0);
    store_view_release(v);
    assert_int_equal(seen, 1);
    assert_int_equal(store_summaries_put(f->store, job, FIXTURE_HOST, rows, 2, &f->e), 0);
    fixture_close(f);
    assert_int_equal(query(f, "heapmark.db",
                           "SELECT count(*) FROM summary WHERE value IS NULL AND"
                           " unsteady AND reason = 'why'"),
                     1);
    assert_int_equal(query(f, "heapmark.db", "SELECT count(*) FROM point"), 1);
    assert_int_equal(query(f, "heapmark.db",
                           "SELECT count(*) FROM job WHERE attempts = 1 AND"
                           " claims_fruitless = 1 AND harness_build = ''"),
                     1);
}

/* The first migration holds what the design lists, so that later parts need no rebuild. */
static void test_first_schema_is_complete(void **state)
{
    static const char *const tables[] = {
        "metric",   "host",         "protocol", "build", "subject", "job",   "cell",
        "ring",     "ring_runner",  "attempt",  "trial", "slices",  "value", "vector",
        "artefact", "job_artefact", "series",   "point", "summary", "token", "idempotency"};
    struct fixture *f = *state;
    fixture_close(f);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char sql[192];
        snprintf(sql, sizeof sql,
                 "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = '%s'",
                 tables[i]);
        if (query(f, "heapmark.db", sql) != 1)
            fail_msg("%s is missing or not STRICT", tables[i]);
    }
    assert_int_equal(query(f, "heapmark.db",
                           "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND"
                           " name NOT LIKE 'sqlite%' AND strict = 0"),
                     0);
    static const char *const clustered[] = {"value", "point", "ring_runner"};
    for (size_t i = 0; i < 3; i++) {
        char sql[192];
        snprintf(sql, sizeof sql, "SELECT wr FROM pragma_table_list WHERE name = '%s'",
                 clustered[i]);
        assert_int_equal(query(f, "heapmark.db", sql), 1);
    }
    assert_int_equal(query(f, "heapmark.db", "PRAGMA application_id"), DB_APPLICATION_ID);
}

/* ---- metric numbers ---- */

static int sum_values(void *ctx, const struct store_value *value)
{
    double *sum = ctx;
    sum[value->metric == METRIC_PAIRS_PER_S  ? 0
        : value->metric == METRIC_HEAP_BYTES ? 1
                                             : 2] += value->value;
    return 0;
}

static void finish_ring(struct fixture *f, int64_t job_id, uint32_t repetition)
{
    struct exec_request request;
    struct exec_result result;
    struct store_ring_new ring = fixture_ring(job_id, repetition);
    char uuid[37];
    int64_t id;
    assert_int_equal(store_attempt_begin(f->store, &ring, "local", uuid, &id, &f->e), 0);
    fixture_result(0, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
}

/* A database whose numbers are not the enum's, and which knows a metric this program lacks. */
static void test_metric_numbers(void **state)
{
    struct fixture *f = *state;
    double sums[3] = {0};
    int64_t job_id = fixture_job_running(f, 1);
    finish_ring(f, job_id, 0);
    fixture_close(f);
    fixture_tamper(f, "UPDATE metric SET id = 4000 WHERE name = 'pairs_per_s';"
                      "UPDATE value SET metric_id = 4000 WHERE metric_id = 1;"
                      "INSERT INTO metric VALUES (4001, 'of_another_version');"
                      "INSERT INTO value SELECT id, 4001, 1e9 FROM trial;");
    fixture_open(f);
    finish_ring(f, job_id, 1);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_values(v, job_id, 0, sum_values, sums, &f->e), 0);
    assert_true(sums[0] == 2 * (3e6 + 0.75));
    assert_true(sums[1] == 2 * (4096.0 * 6));
    assert_true(sums[2] == 0); /* unknown ones are left out, not mistaken for others */
}

static void test_metric_number_out_of_bounds(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    fixture_tamper(f, "INSERT INTO metric VALUES (1000000, 'of_another_version')");
    assert_true(fixture_try_open(f) < 0);
    assert_int_equal(f->e.code, ERR_IO);
    fixture_tamper(f, "UPDATE metric SET id = -5 WHERE id = 1000000");
    assert_true(fixture_try_open(f) < 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_migration_forward),
        TEST(test_migration_fails_whole),
        TEST(test_migration_does_nothing_twice),
        TEST(test_migration_needs_its_backup),
        TEST(test_reasons_come_to_an_old_file),
        TEST(test_first_schema_is_complete),
        TEST(test_metric_numbers),
        TEST(test_metric_number_out_of_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
