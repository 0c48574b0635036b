/* Fault torture: the n-th call of SQLite to the system fails, and the n-th allocation in it, for
 * every n of a scripted life. Nothing crashes or leaks (the sanitizers watch), every failed call
 * says why, nothing acknowledged is lost, nothing is there by half.
 *
 * The store knows nothing of this: the faults sit in a VFS registered as SQLite's default and in
 * its allocator. HEAPMARK_FAULT_ALL=1 tries every n of the allocations too (minutes). */
#include "tests/store/scenario.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "daemon/base/log.h"

/* ---- faults ---- */

/* The threads of the store count; the test sets before they start or while they have nothing to
 * do. Relaxed: a fault that comes one call late is as good. */
static struct {
    _Atomic long at, count; /* the call that fails, from 1; 0 none */
    _Atomic bool sticky;    /* and all after it */
    _Atomic bool full;      /* writes fail as a full disk does, and only they */
} io, mem;

static bool fault_hits(_Atomic long *count, const _Atomic long *at, bool sticky)
{
    long n = atomic_fetch_add_explicit(count, 1, memory_order_relaxed) + 1;
    long fail_at = atomic_load_explicit(at, memory_order_relaxed);
    return fail_at != 0 && (sticky ? n >= fail_at : n == fail_at);
}

static int io_fault(int code, bool is_write)
{
    if (io.full && !is_write)
        return SQLITE_OK;
    if (!fault_hits(&io.count, &io.at, io.sticky))
        return SQLITE_OK;
    return io.full ? SQLITE_FULL : code;
}

/* ---- the VFS ---- */

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct in the same memory */
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct fault_file *)file)->real;
}

#define FORWARD(file, method, ...) (real_of(file)->pMethods->method(real_of(file), ##__VA_ARGS__))
#define FAULT_OR(code, is_write, call)         \
    do {                                       \
        int fault_ = io_fault(code, is_write); \
        return fault_ ? fault_ : (call);       \
    } while (0)

static int f_close(sqlite3_file *f)
{
    return FORWARD(f, xClose);
}
static int f_read(sqlite3_file *f, void *buf, int size, sqlite3_int64 offset)
{
    FAULT_OR(SQLITE_IOERR_READ, false, FORWARD(f, xRead, buf, size, offset));
}
static int f_write(sqlite3_file *f, const void *buf, int size, sqlite3_int64 offset)
{
    FAULT_OR(SQLITE_IOERR_WRITE, true, FORWARD(f, xWrite, buf, size, offset));
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    FAULT_OR(SQLITE_IOERR_TRUNCATE, false, FORWARD(f, xTruncate, size));
}
static int f_sync(sqlite3_file *f, int flags)
{
    FAULT_OR(SQLITE_IOERR_FSYNC, false, FORWARD(f, xSync, flags));
}
static int f_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    FAULT_OR(SQLITE_IOERR_FSTAT, false, FORWARD(f, xFileSize, ret));
}
static int f_lock(sqlite3_file *f, int level)
{
    FAULT_OR(SQLITE_IOERR_LOCK, false, FORWARD(f, xLock, level));
}
static int f_unlock(sqlite3_file *f, int level)
{
    return FORWARD(f, xUnlock, level);
}
static int f_check_lock(sqlite3_file *f, int *ret)
{
    return FORWARD(f, xCheckReservedLock, ret);
}
static int f_control(sqlite3_file *f, int op, void *arg)
{
    return FORWARD(f, xFileControl, op, arg);
}
static int f_sector(sqlite3_file *f)
{
    return FORWARD(f, xSectorSize);
}
static int f_characteristics(sqlite3_file *f)
{
    return FORWARD(f, xDeviceCharacteristics);
}
static int f_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **ret)
{
    FAULT_OR(SQLITE_IOERR_SHMMAP, false, FORWARD(f, xShmMap, region, size, extend, ret));
}
static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    if (flags & SQLITE_SHM_UNLOCK)
        return FORWARD(f, xShmLock, offset, n, flags);
    FAULT_OR(SQLITE_IOERR_SHMLOCK, false, FORWARD(f, xShmLock, offset, n, flags));
}
static void f_shm_barrier(sqlite3_file *f)
{
    FORWARD(f, xShmBarrier);
}
static int f_shm_unmap(sqlite3_file *f, int delete)
{
    return FORWARD(f, xShmUnmap, delete);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_check_lock,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_characteristics,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

static sqlite3_vfs *real_vfs;

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
    (void)vfs;
    struct fault_file *f = (struct fault_file *)file;
    memset(f, 0, sizeof *f);
    f->real = (sqlite3_file *)(f + 1);
    int rc = io_fault(SQLITE_CANTOPEN, false);
    if (rc == SQLITE_OK)
        rc = real_vfs->xOpen(real_vfs, name, f->real, flags, ret);
    if (rc == SQLITE_OK)
        f->base.pMethods = &fault_methods;
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    (void)vfs;
    FAULT_OR(SQLITE_IOERR_DELETE, false, real_vfs->xDelete(real_vfs, name, sync_directory));
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    (void)vfs;
    FAULT_OR(SQLITE_IOERR_ACCESS, false, real_vfs->xAccess(real_vfs, name, flags, ret));
}

static void faults_install(void)
{
    static sqlite3_vfs fault_vfs;
    real_vfs = sqlite3_vfs_find(NULL);
    fault_vfs = *real_vfs;
    fault_vfs.zName = "fault";
    fault_vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
    fault_vfs.xOpen = vfs_open;
    fault_vfs.xDelete = vfs_delete;
    fault_vfs.xAccess = vfs_access;
    if (sqlite3_vfs_register(&fault_vfs, 1) != SQLITE_OK)
        abort();
}

/* ---- the allocator ---- */

static sqlite3_mem_methods real_mem;

static void *mem_malloc(int size)
{
    return fault_hits(&mem.count, &mem.at, mem.sticky) ? NULL : real_mem.xMalloc(size);
}

static void *mem_realloc(void *block, int size)
{
    return fault_hits(&mem.count, &mem.at, mem.sticky) ? NULL : real_mem.xRealloc(block, size);
}

static void mem_install(void)
{
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem) != SQLITE_OK)
        abort();
    static sqlite3_mem_methods methods;
    methods = real_mem;
    methods.xMalloc = mem_malloc;
    methods.xRealloc = mem_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        abort();
}

/* ---- the torture ---- */

static void run_once(long io_at, long mem_at, struct scenario *s)
{
    *s = (struct scenario){0};
    fixture_directory(&s->f);
    io.count = mem.count = 0;
    io.at = io_at;
    mem.at = mem_at;
    scenario_run(s);
    io.at = mem.at = 0;
    long io_count = io.count, mem_count = mem.count;
    scenario_verify(s);
    fixture_remove(&s->f);
    io.count = io_count;
    mem.count = mem_count;
}

static void test_without_faults(void **state)
{
    struct scenario s;
    (void)state;
    run_once(0, 0, &s);
    assert_int_equal(s.failures, 0);
    assert_true(s.succeeded && s.job2 && s.token && s.read);
    assert_true(io.count > 100 && mem.count > 1000);
}

/* Fail call n, n+1, … until the script is over before the fault comes. */
static void torture_io(bool sticky, bool full)
{
    long n, failed = 0;
    io.sticky = sticky;
    io.full = full;
    for (n = 1;; n++) {
        struct scenario s;
        run_once(n, 0, &s);
        if (io.count < n)
            break;
        failed += s.failures > 0;
        if (full && !s.only_no_space)
            fail_msg("write %ld on a full disk: %s: %s", n, err_code_name(s.first.code),
                     s.first.message);
        if (s.failures > 0 && s.first.code != ERR_NO_SPACE && s.first.code != ERR_IO)
            fail_msg("call %ld: %s: %s", n, err_code_name(s.first.code), s.first.message);
    }
    print_message("%ld calls failed in turn, %ld of them were felt\n", n - 1, failed);
    assert_true(failed * 4 > n); /* most faults must be felt, or this tests nothing */
    io.sticky = io.full = false;
}

static void test_io_error_once(void **state)
{
    (void)state;
    torture_io(false, false);
}

static void test_io_error_for_good(void **state)
{
    (void)state;
    torture_io(true, false);
}

static void test_disk_full_once(void **state)
{
    (void)state;
    torture_io(false, true);
}

static void test_disk_full_for_good(void **state)
{
    (void)state;
    torture_io(true, true);
}

static void torture_memory(bool sticky)
{
    long n, runs = 0, failed = 0;
    bool all = getenv("HEAPMARK_FAULT_ALL") != NULL;
    mem.sticky = sticky;
    for (n = 1;; n += all ? 1 : 1 + n / 20) {
        struct scenario s;
        run_once(0, n, &s);
        if (mem.count < n)
            break;
        runs++;
        failed += s.failures > 0;
        if (s.failures > 0 && s.first.code != ERR_LIMIT && s.first.code != ERR_IO)
            fail_msg("allocation %ld: %s: %s", n, err_code_name(s.first.code), s.first.message);
    }
    print_message("%ld allocations failed in turn, %ld of them were felt\n", runs, failed);
    assert_true(failed * 4 > runs);
    mem.sticky = false;
}

static void test_allocation_fails_once(void **state)
{
    (void)state;
    torture_memory(false);
}

static void test_allocation_fails_for_good(void **state)
{
    (void)state;
    torture_memory(true);
}

/* ---- faults in the middle of a group ---- */

#define GROUP_THREADS 6
#define GROUP_JOBS    6

struct group_load {
    struct store *store;
    unsigned first;
    bool acknowledged[GROUP_JOBS];
    bool silent; /* a failure without a word */
};

static void *group_main(void *arg)
{
    struct group_load *load = arg;
    for (unsigned i = 0; i < GROUP_JOBS; i++) {
        struct err e = {0};
        load->acknowledged[i] = fixture_job_add(load->store, load->first + i, &e) == 0;
        load->silent |= !load->acknowledged[i] && (e.code == ERR_NONE || !e.message[0]);
    }
    return NULL;
}

static void group_verify(struct fixture *f, const struct group_load *loads)
{
    fixture_open(f);
    for (unsigned t = 0; t < GROUP_THREADS; t++) {
        assert_false(loads[t].silent);
        for (unsigned i = 0; i < GROUP_JOBS; i++) {
            if (!loads[t].acknowledged[i])
                continue;
            struct store_job job;
            fixture_job_get(f, loads[t].first + i, &job);
            assert_int_equal(job.cells_count, FIXTURE_CELLS);
            store_job_done(&job);
        }
    }
    fixture_close(f);
    fixture_check(f);
}

/* Several threads share commits and one of them meets the fault: each must hear of its own job
 * what is true of it. */
static void test_fault_in_a_group(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (long n = 1; n <= 200; n += 3) {
        struct fixture f = {0};
        struct group_load loads[GROUP_THREADS];
        pthread_t threads[GROUP_THREADS];
        fixture_directory(&f);
        fixture_open(&f);
        io.sticky = n % 2;
        io.full = n % 4 == 0;
        io.count = 0;
        io.at = n;
        for (unsigned t = 0; t < GROUP_THREADS; t++) {
            loads[t] = (struct group_load){.store = f.store, .first = 1 + t * GROUP_JOBS};
            assert_int_equal(pthread_create(&threads[t], NULL, group_main, &loads[t]), 0);
        }
        for (unsigned t = 0; t < GROUP_THREADS; t++) {
            pthread_join(threads[t], NULL);
            for (unsigned i = 0; i < GROUP_JOBS; i++)
                refused += !loads[t].acknowledged[i];
        }
        fixture_close(&f);
        io.at = 0;
        group_verify(&f, loads);
        fixture_remove(&f);
    }
    io.sticky = io.full = false;
    assert_true(refused > 100);
}

int main(int argc, char **argv)
{
    if (argc > 1) /* one test by name */
        cmocka_set_test_filter(argv[1]);
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT); /* hundreds of warnings, all as wanted */
    mem_install();
    faults_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_faults),
        cmocka_unit_test(test_io_error_once),
        cmocka_unit_test(test_io_error_for_good),
        cmocka_unit_test(test_disk_full_once),
        cmocka_unit_test(test_disk_full_for_good),
        cmocka_unit_test(test_fault_in_a_group),
        cmocka_unit_test(test_allocation_fails_once),
        cmocka_unit_test(test_allocation_fails_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
