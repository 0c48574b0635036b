/* Snapshots, deadlines, the pool of readers; and many threads writing at once. */
#include "tests/store/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/store/internal.h"

static int job_count(void *ctx, const struct store_job *job)
{
    (void)job;
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned jobs_in(struct store_view *v, struct fixture *f)
{
    unsigned count = 0;
    struct store_job_filter any = {.state = -1};
    assert_int_equal(store_view_jobs(v, &any, job_count, &count, &f->e), 0);
    return count;
}

static void test_snapshot(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    struct store_view *old = fixture_view(f); /* nothing read on it yet: the snapshot is now */
    assert_int_equal(fixture_job_add(f->store, 2, &f->e), 0);
    assert_int_equal(jobs_in(old, f), 1);
    struct store_view *new = fixture_view(f);
    assert_int_equal(jobs_in(new, f), 2);
    assert_int_equal(jobs_in(old, f), 1);
    store_view_release(new);
    store_view_release(old);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(jobs_in(v, f), 2);
}

#define BIG_BYTES (1 << 20)

/* A megabyte of log: SQLite writes no page whose content stays the same. */
static void big_change(struct fixture *f, char *facts, int i)
{
    memset(facts, 'a' + i % 2, BIG_BYTES);
    assert_int_equal(store_host_put(f->store, "big", "n", facts, &f->e), 0);
}

/* A snapshot held through more than the log's limit: nothing waits for the reader, it sees its own
 * state to the end, and the log is cut once it has gone. */
static void test_snapshot_against_checkpoints(void **state)
{
    struct fixture *f = *state;
    struct store_stats stats;
    static char facts[BIG_BYTES + 1];
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    struct store_view *old = fixture_view(f);
    for (int i = 0; i < 80; i++)
        big_change(f, facts, i);
    assert_int_equal(fixture_job_add(f->store, 2, &f->e), 0);
    assert_int_equal(jobs_in(old, f), 1);
    assert_int_equal(store_stats(f->store, &stats, &f->e), 0);
    assert_true(stats.wal_bytes > STORE_WAL_TRUNCATE_BYTES);
    store_view_release(old);
    for (int i = 0; i < 8; i++) /* some steps of growth: one of them tries again */
        big_change(f, facts, i);
    /* the checkpoint comes after the answer: one more turn of the writer orders us after it */
    assert_int_equal(store_ready(f->store, &f->e), 0);
    assert_int_equal(store_stats(f->store, &stats, &f->e), 0);
    assert_true(stats.wal_bytes < STORE_WAL_TRUNCATE_BYTES);
    assert_true(stats.checkpoints > 0);
}

/* ---- deadlines ---- */

static int never(void *ctx, const struct store_job *job)
{
    (void)ctx;
    (void)job;
    return 0;
}

/* A query that would take for ever: 3000 jobs asked for by a branch none has, many times over in
 * nested callbacks. The deadline ends it, and the view serves the next holder. */
struct nest {
    struct store_view *v;
    struct err *e;
};

static int nest(void *ctx, const struct store_job *job)
{
    struct nest *n = ctx;
    struct store_job_filter none = {.state = -1, .branch = "no such branch"};
    (void)job;
    return store_view_jobs(n->v, &none, never, NULL, n->e);
}

static int nest_twice(void *ctx, const struct store_job *job)
{
    struct nest *n = ctx;
    struct store_job_filter any = {.state = -1};
    (void)job;
    return store_view_jobs(n->v, &any, nest, n, n->e);
}

static void test_deadline(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 0; n < 3000; n++)
        assert_int_equal(fixture_job_add(f->store, n, &f->e), 0);
    struct store_job_filter any = {.state = -1};
    struct store_view *v = NULL;
    assert_int_equal(store_view_acquire(f->store, 50, &v, &f->e), 0);
    struct nest n = {v, &f->e};
    assert_int_equal(store_view_jobs(v, &any, nest_twice, &n, &f->e), -EAGAIN);
    f->e = (struct err){0};
    /* and it stays over for the view */
    assert_int_equal(store_view_jobs(v, &any, nest_twice, &n, &f->e), -EAGAIN);
    assert_int_equal(f->e.code, ERR_LIMIT);
    assert_non_null(strstr(f->e.message, "deadline"));
    store_view_release(v);
    v = fixture_view(f);
    assert_int_equal(jobs_in(v, f), 3000);
    store_view_release(v);
}

static void test_all_readers_taken(void **state)
{
    struct fixture *f = *state;
    struct store_view *a = fixture_view(f), *b = fixture_view(f), *c = NULL;
    assert_int_equal(store_view_acquire(f->store, 20, &c, &f->e), -EAGAIN);
    assert_int_equal(f->e.code, ERR_LIMIT);
    assert_int_equal(store_view_acquire(f->store, 0, &c, &f->e), -EAGAIN);
    assert_null(c);
    store_view_release(b);
    assert_int_equal(store_view_acquire(f->store, 1000, &c, &f->e), 0);
    store_view_release(c);
    store_view_release(a);
    store_view_release(NULL);
}

static void *release_later(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    store_view_release(arg);
    return NULL;
}

static void test_waiting_for_a_reader(void **state)
{
    struct fixture *f = *state;
    struct store_view *a = fixture_view(f), *b = fixture_view(f);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release_later, a), 0);
    struct store_view *c = fixture_view(f);
    assert_ptr_equal(c, a);
    pthread_join(thread, NULL);
    store_view_release(b);
    store_view_release(c);
}

/* ---- group commit ---- */

#define THREADS         16
#define JOBS_PER_THREAD 40

struct load {
    struct store *store;
    unsigned index;
    _Atomic unsigned *wrong;
};

/* Good changes and bad ones mixed: each caller must get the answer to its own. */
static void *load_main(void *arg)
{
    struct load *load = arg;
    struct err e = {0};
    for (unsigned i = 0; i < JOBS_PER_THREAD; i++) {
        unsigned n = load->index * JOBS_PER_THREAD + i;
        enum job_state after;
        char uuid[37], name[32];
        fixture_uuid(n, uuid);
        snprintf(name, sizeof name, "token %u", n);
        bool ok = fixture_job_add(load->store, n, &e) == 0;
        ok &= store_job_set_state(load->store, uuid, JOB_RUNNING, NULL, &e) == -EBUSY;
        ok &= e.code == ERR_CONFLICT;
        ok &= fixture_job_add(load->store, n, &e) < 0;
        ok &= store_token_add(load->store, name, uuid, SCOPE_READ, 0, &e) == 0;
        ok &= store_token_add(load->store, name, "x", SCOPE_READ, 0, &e) == -EBUSY;
        ok &= store_token_revoke(load->store, "nobody", &e) == -ENOENT;
        if (i % 4 == 0)
            ok &= store_job_cancel(load->store, uuid, &after, &e) == 0 && after == JOB_CANCELLED;
        if (!ok)
            atomic_fetch_add_explicit(load->wrong, 1, memory_order_relaxed);
    }
    return NULL;
}

static int token_count(void *ctx, const struct store_token *t)
{
    (void)t;
    ++*(unsigned *)ctx;
    return 0;
}

static void test_group_commit(void **state)
{
    struct fixture *f = *state;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    struct store_stats stats;
    _Atomic unsigned wrong = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        loads[i] = (struct load){f->store, i, &wrong};
        assert_int_equal(pthread_create(&threads[i], NULL, load_main, &loads[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(store_stats(f->store, &stats, &f->e), 0);
    assert_int_equal(stats.jobs_by_state[JOB_CANCELLED], THREADS * JOBS_PER_THREAD / 4);
    assert_int_equal(stats.jobs_by_state[JOB_QUEUED], THREADS * JOBS_PER_THREAD * 3 / 4);
    assert_true(stats.commits < stats.transactions); /* they did share */
    unsigned tokens = 0;
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_tokens(v, token_count, &tokens, &f->e), 0);
    assert_int_equal(tokens, THREADS * JOBS_PER_THREAD);
}

/* ---- idleness ---- */

/* After the quiet second's checkpoint the thread sleeps without a timeout: its voluntary
 * context switches stand still. */
static uint64_t store_thread_switches(void)
{
    uint64_t switches = 0;
    unsigned found = 0;
    char line[128];
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char path[300];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        cleanup_(fclose_p) FILE *file = entry->d_name[0] != '.' ? fopen(path, "re") : NULL;
        if (!file || !fgets(line, sizeof line, file) || !strstr(line, STORE_THREAD_NAME))
            continue;
        static const char wanted[] = "voluntary_ctxt_switches:";
        while (fgets(line, sizeof line, file))
            if (strncmp(line, wanted, sizeof wanted - 1) == 0)
                switches = strtoull(line + sizeof wanted - 1, NULL, 10);
        found++;
    }
    closedir(tasks);
    assert_int_equal(found, 1);
    return switches;
}

static void test_idle_writer_sleeps(void **state)
{
    struct fixture *f = *state;
    struct store_stats before, after;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    assert_int_equal(store_stats(f->store, &before, &f->e), 0);
    for (int i = 0; i < 100; i++) { /* the checkpoint comes by itself */
        assert_int_equal(store_stats(f->store, &after, &f->e), 0);
        if (after.checkpoints > before.checkpoints)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    assert_int_equal(after.checkpoints, before.checkpoints + 1);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    uint64_t asleep = store_thread_switches();
    nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 500000000}, NULL);
    assert_int_equal(store_thread_switches(), asleep);
    assert_int_equal(store_stats(f->store, &after, &f->e), 0);
    assert_int_equal(after.checkpoints, before.checkpoints + 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_snapshot),
        TEST(test_snapshot_against_checkpoints),
        TEST(test_deadline),
        TEST(test_all_readers_taken),
        TEST(test_waiting_for_a_reader),
        TEST(test_group_commit),
        TEST(test_idle_writer_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
