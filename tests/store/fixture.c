#include "tests/store/fixture.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "daemon/base/text.h"

void fixture_directory(struct fixture *f)
{
    /* Most tests ask for hundreds of durable commits and none is about the disk. */
    const char *base = getenv("TMPDIR");
    if (!base)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(f->directory, sizeof f->directory, "%.40s/hm-store-XXXXXX", base);
    assert_non_null(mkdtemp(f->directory));
}

void fixture_remove(struct fixture *f)
{
    DIR *d = opendir(f->directory);
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(f->directory);
}

int fixture_try_open(struct fixture *f)
{
    struct store_config config = {.directory = f->directory, .readers_count = 2};
    f->e = (struct err){0};
    return store_open(&config, &f->store, &f->e);
}

void fixture_open(struct fixture *f)
{
    if (fixture_try_open(f) < 0)
        fail_msg("store_open: %s", f->e.message);
}

void fixture_close(struct fixture *f)
{
    store_close(f->store);
    f->store = NULL;
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    fixture_directory(f);
    fixture_open(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    fixture_remove(f);
    free(f);
    return 0;
}

void fixture_uuid(unsigned n, char ret[37])
{
    snprintf(ret, 37, "%08x-0000-4000-8000-%012x", n, n);
}

void fixture_job(unsigned n, struct store_job_new *ret)
{
    static _Thread_local char uuid[37], name[32];
    static const struct store_cell_new cells[FIXTURE_CELLS] = {
        {0, 0, "table-churn", "live=1000", "glibc", "", 1, PAGES_4K, ROLE_REFERENCE},
        {1, 0, "table-churn", "live=1000", "jemalloc", "thp-off", 1, PAGES_4K, ROLE_SUBJECT},
        {2, 1, "chase", "", "mimalloc", "", 2, PAGES_THP, ROLE_SUBJECT},
    };
    static const struct job_labels labels = {.project = "p",
                                             .commit = "c0ffee",
                                             .parent = "beef",
                                             .branch = "main",
                                             .tag = "v1",
                                             .sequence = UINT64_MAX,
                                             .time_us = 0};
    fixture_uuid(n, uuid);
    snprintf(name, sizeof name, "job %u", n);
    *ret = (struct store_job_new){.uuid = uuid,
                                  .name = name,
                                  .preset = "reference",
                                  .profile = "quick",
                                  .spec_json = "{\"seed\":1}",
                                  .labels = &labels,
                                  .cells = cells,
                                  .cells_count = FIXTURE_CELLS,
                                  .steps_total = 4,
                                  .principal = "local"};
}

int fixture_job_add(struct store *s, unsigned n, struct err *e)
{
    struct store_job_new job;
    char uuid[37];
    bool replayed;
    fixture_job(n, &job);
    return store_job_add(s, &job, uuid, &replayed, e);
}

int64_t fixture_job_running(struct fixture *f, unsigned n)
{
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, n, &f->e), 0);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    assert_int_equal(store_job_set_state(f->store, job.uuid, JOB_RUNNING, NULL, &f->e), 0);
    store_job_done(&job);
    return job.id;
}

struct store_ring_new fixture_ring(int64_t job_id, uint32_t repetition)
{
    return (struct store_ring_new){.job_id = job_id,
                                   .repetition = repetition,
                                   .seed = UINT64_MAX - repetition,
                                   .tape_seed = 7,
                                   .cells_count = 3,
                                   .cells = {0, 0, 1},
                                   .roles = {ROLE_REFERENCE, ROLE_CONTROL, ROLE_SUBJECT}};
}

static void fixture_runner(unsigned n, unsigned i, struct ring_slice *slices, double *vector,
                           struct exec_runner_result *r)
{
    *r = (struct exec_runner_result){.outcome = OUTCOME_OK,
                                     .turns_done = 20,
                                     .turns_total = 20,
                                     .isolation = ISOLATION_PINNED | ISOLATION_UID,
                                     .slices = slices,
                                     .slices_count = FIXTURE_SLICES,
                                     .metrics_count = 4};
    memset(r->sha256, i < 2 ? 'a' : 'b', 64);
    (void)text_copy(r->version, sizeof r->version, i < 2 ? "2.36" : "5.3.0");
    snprintf(r->library_path, sizeof r->library_path, "/usr/lib/lib%u.so", i < 2 ? 0u : 1u);
    for (unsigned k = 0; k < FIXTURE_SLICES; k++)
        slices[k] = (struct ring_slice){.start_ns = 1000000 * (n + 1) + 1000 * k + 10 * i,
                                        .end_ns = 1000000 * (n + 1) + 1000 * k + 900,
                                        .ops = 20000 - k,
                                        .involuntary_switches = k == 3,
                                        .migrations = k == 4 ? UINT32_MAX : 0};
    vector[0] = 1.5;
    vector[1] = -INFINITY;
    vector[2] = n;
    r->metrics[0] = (struct exec_metric){METRIC_PAIRS_PER_S, 1e6 + n + 0.25 * i, 0, NULL};
    r->metrics[1] = (struct exec_metric){METRIC_HEAP_BYTES, 4096.0 * (i + 1), 0, NULL};
    r->metrics[2] = (struct exec_metric){METRIC_FORK_NS, 0, 3, vector};
    r->metrics[3] = (struct exec_metric){METRIC_FRAG_PEAK, NAN, 0, NULL};
    r->absent[0] = (struct exec_absent){METRIC_FRAG_PEAK, "no number"};
    r->absent[1] = (struct exec_absent){METRIC_HEAP_BYTES, "a value of it stands"};
    r->absent_count = 2;
}

void fixture_result(unsigned n, struct exec_request *request, struct exec_result *result)
{
    static _Thread_local struct ring_slice slices[3][FIXTURE_SLICES];
    static _Thread_local double vectors[3][3];
    static _Thread_local struct ring_turn turns[] = {
        {0, RING_BUILD, 0, 1, 0}, {1, RING_BUILD, 0, 1, 0}, {2, RING_MEASURE, 0, 1, 4095}};
    memset(request, 0, sizeof *request);
    memset(result, 0, sizeof *result);
    request->subjects_count = 3;
    request->rotations = FIXTURE_SLICES;
    request->slice_ops = 20000;
    result->runners_count = 3;
    for (unsigned i = 0; i < 3; i++)
        fixture_runner(n, i, slices[i], vectors[i], &result->runners[i]);
    result->turns = turns;
    result->turns_count = 3;
    result->cpus[0] = 1;
    result->cpus[1] = 3;
    result->cpus_count = 2;
    result->housekeeping = true;
    result->started_us = 1700000000000000 + n;
    result->finished_us = 1700000001000000 + n;
    result->steal_ratio = 0.001;
    result->psi_cpu_ratio = NAN;
    result->migrations = 2;
}

struct store_view *fixture_view(struct fixture *f)
{
    struct store_view *v = NULL;
    if (store_view_acquire(f->store, 10000, &v, &f->e) < 0)
        fail_msg("store_view_acquire: %s", f->e.message);
    return v;
}

void fixture_job_get(struct fixture *f, unsigned n, struct store_job *ret)
{
    char uuid[37];
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    fixture_uuid(n, uuid);
    assert_int_equal(store_view_job(v, uuid, ret, &f->e), 0);
}

void fixture_tamper(struct fixture *f, const char *sql)
{
    char path[128];
    sqlite3 *handle;
    char *message = NULL;
    snprintf(path, sizeof path, "%s/heapmark.db", f->directory);
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

void fixture_check(struct fixture *f)
{
    static const char sql[] = "SELECT (SELECT count(*) FROM pragma_integrity_check WHERE"
                              " integrity_check = 'ok') = 1 AND NOT EXISTS"
                              " (SELECT 1 FROM pragma_foreign_key_check)";
    char path[128];
    sqlite3 *handle;
    sqlite3_stmt *statement;
    snprintf(path, sizeof path, "%s/heapmark.db", f->directory);
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 1);
    sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}
