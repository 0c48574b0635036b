/* Opening: the lock, directories and files that cannot be used, schemas of others, damage,
 * migrations, the low-water mark. Every refusal must say what and where. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/internal.h"

static void expect_refusal(struct fixture *f, enum err_code code, const char *words)
{
    int r = fixture_try_open(f);
    if (r >= 0)
        fail_msg("opened, but should say \"%s\"", words);
    if (f->e.code != code || !strstr(f->e.message, words))
        fail_msg("%s: %s; expected %s: %s", err_code_name(f->e.code), f->e.message,
                 err_code_name(code), words);
}

static char *path_in(const struct fixture *f, const char *name)
{
    static char path[192];
    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    return path;
}

/* ---- the lock ---- */

static void test_two_openers(void **state)
{
    struct fixture *f = *state, second = {0};
    char pid[32];
    snprintf(pid, sizeof pid, "process %d)", (int)getpid());
    memcpy(second.directory, f->directory, sizeof second.directory);
    expect_refusal(&second, ERR_CONFLICT, pid);
    expect_refusal(&second, ERR_CONFLICT, f->directory); /* the refusal left the text alone */
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    fixture_close(f);
    fixture_open(&second);
    fixture_close(&second);
}

static void test_lock_dies_with_its_process(void **state)
{
    struct fixture *f = *state;
    int pipe_fds[2];
    char byte;
    fixture_close(f);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)!write(pipe_fds[1], fixture_try_open(f) == 0 ? "y" : "n", 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    char words[32];
    snprintf(words, sizeof words, "process %d)", (int)pid);
    expect_refusal(f, ERR_CONFLICT, words);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    fixture_open(f);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void test_modes(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    static const char *const names[] = {"heapmark.db", "heapmark.db-wal", "heapmark.lock"};
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stat(path_in(f, names[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    fixture_close(f);
    assert_int_equal(stat(path_in(f, "heapmark.lock"), &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(stat(path_in(f, "heapmark.db-wal"), &st), -1); /* all of it checkpointed */
}

/* ---- directories ---- */

/* Open as somebody who is not root; exit status 1 when it opened, 2 for other words. */
static int open_as_nobody(struct fixture *f, const char *words)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(3);
        int r = fixture_try_open(f);
        if (r < 0 && !strstr(f->e.message, words))
            fprintf(stderr, "said: %s\n", f->e.message);
        _exit(r >= 0 ? 1 : strstr(f->e.message, words) ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_read_only_directory(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    assert_int_equal(chmod(f->directory, 0555), 0);
    assert_int_equal(open_as_nobody(f, "cannot be written"), 0);
    assert_int_equal(unlink(path_in(f, "heapmark.lock")), geteuid() == 0 ? 0 : -1);
    assert_int_equal(open_as_nobody(f, "cannot be written"), 0);
    assert_int_equal(chmod(f->directory, 0700), 0);
}

static void test_read_only_file(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    assert_int_equal(unlink(path_in(f, "heapmark.lock")), 0);
    assert_int_equal(chmod(f->directory, 0777), 0);
    assert_int_equal(chmod(path_in(f, "heapmark.db"), 0444), 0);
    assert_int_equal(open_as_nobody(f, "heapmark.db"), 0);
    if (geteuid() == 0) { /* for root the mode means nothing: it must open */
        assert_int_equal(unlink(path_in(f, "heapmark.lock")), 0);
        fixture_open(f);
    }
}

static void test_bad_directories(void **state)
{
    struct fixture *f = *state;
    char file[192], below[256];
    char *very_long = malloc(STORE_PATH_MAX + 1);
    assert_non_null(very_long);
    memset(very_long, 'x', STORE_PATH_MAX);
    very_long[STORE_PATH_MAX] = '\0';
    snprintf(file, sizeof file, "%s", path_in(f, "heapmark.db"));
    snprintf(below, sizeof below, "%s/no/such", f->directory);
    const struct {
        const char *directory;
        unsigned readers;
        enum err_code code;
    } cases[] = {
        {file, 2, ERR_IO},           {below, 2, ERR_IO},
        {"", 2, ERR_INVALID},        {very_long, 2, ERR_INVALID},
        {NULL, 0, ERR_OUT_OF_RANGE}, {NULL, STORE_READERS_MAX + 1, ERR_OUT_OF_RANGE},
    };
    fixture_close(f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store_config config = {.directory =
                                          cases[i].directory ? cases[i].directory : f->directory,
                                      .readers_count = cases[i].readers};
        struct store *store = NULL;
        struct err e = {0};
        assert_true(store_open(&config, &store, &e) < 0);
        assert_null(store);
        assert_true(e.message[0] != '\0');
        /* err_set_errno leaves the code to the errno */
        if (e.code != cases[i].code)
            fail_msg("case %zu: %s: %s", i, err_code_name(e.code), e.message);
    }
    free(very_long);
}

static void test_directory_is_made(void **state)
{
    struct fixture *f = *state, inner = {0};
    struct stat st;
    snprintf(inner.directory, sizeof inner.directory, "%.50s/new", f->directory);
    fixture_open(&inner);
    assert_int_equal(stat(inner.directory, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    fixture_close(&inner);
    fixture_remove(&inner);
}

/* ---- files of others, damage ---- */

static void test_newer_schema(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    fixture_tamper(f, "PRAGMA user_version=99");
    expect_refusal(f, ERR_INCOMPATIBLE, "schema version 99");
    expect_refusal(f, ERR_INCOMPATIBLE, "heapmark.db");
    fixture_tamper(f, "PRAGMA user_version=-1");
    expect_refusal(f, ERR_INCOMPATIBLE, "schema version -1");
    char sql[64];
    unsigned own = 0;
    while (store_migrations[own].name)
        own++;
    snprintf(sql, sizeof sql, "PRAGMA user_version=%u", own);
    fixture_tamper(f, sql);
    fixture_open(f);
}

static void test_foreign_database(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    fixture_tamper(f, "PRAGMA application_id=77");
    expect_refusal(f, ERR_INCOMPATIBLE, "not a heapmark database");
    assert_int_equal(unlink(path_in(f, "heapmark.db")), 0);
    fixture_tamper(f, "CREATE TABLE mine (x)");
    expect_refusal(f, ERR_INCOMPATIBLE, "not a heapmark database");
    fixture_tamper(f, "PRAGMA application_id=1215130417; PRAGMA user_version=0");
    expect_refusal(f, ERR_INCOMPATIBLE, "schema version 0");
}

static void overwrite(struct fixture *f, off_t offset, size_t size)
{
    char junk[4096];
    int fd = open(path_in(f, "heapmark.db"), O_WRONLY | O_CLOEXEC);
    memset(junk, 0xa5, sizeof junk);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, junk, size, offset), size);
    close(fd);
}

static void test_not_a_database(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    overwrite(f, 0, 100);
    expect_refusal(f, ERR_IO, "not an SQLite database");
}

/* After an unclean end damage is looked for, and found again until somebody acts. */
static void test_damage_after_unclean_end(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 0; n < 50; n++)
        assert_int_equal(fixture_job_add(f->store, n, &f->e), 0);
    fixture_close(f);
    int fd = open(path_in(f, "heapmark.lock"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "12345\n", 6), 6);
    close(fd);
    fixture_open(f); /* unclean, but intact */
    fixture_close(f);
    struct stat st;
    assert_int_equal(stat(path_in(f, "heapmark.db"), &st), 0);
    for (off_t page = 20; page < st.st_size / 4096; page++)
        overwrite(f, page * 4096, 64);
    fd = open(path_in(f, "heapmark.lock"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "12345\n", 6), 6);
    close(fd);
    for (int i = 0; i < 2; i++)
        expect_refusal(f, ERR_IO, "damaged");
}

static int ignore_cell(void *ctx, const struct store_cell *cell)
{
    (void)ctx;
    (void)cell;
    return 0;
}

static int ignore_trial(void *ctx, const struct store_trial *trial)
{
    (void)ctx;
    (void)trial;
    return 0;
}

static int ignore_job(void *ctx, const struct store_job *job)
{
    (void)ctx;
    (void)job;
    return 0;
}

/* Rows no program of ours writes: errors, never crashes or nonsense. */
static void test_damaged_rows(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    int64_t job_id = fixture_job_running(f, 1), id;
    struct store_ring_new ring = fixture_ring(job_id, 0);
    char uuid[37];
    assert_int_equal(store_attempt_begin(f->store, &ring, "local", uuid, &id, &f->e), 0);
    fixture_result(1, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    static const struct {
        const char *sql;
        int cells, trials, jobs;
    } cases[] = {
        {"SELECT 1", 0, 0, 0},
        {"UPDATE slices SET data = x'ff'", 0, -EIO, 0},
        {"UPDATE slices SET data = x''", 0, -EIO, 0},
        {"UPDATE slices SET count = 4294967295", 0, -EIO, 0},
        {"UPDATE slices SET count = -1", 0, -EIO, 0},
        {"DELETE FROM slices", 0, 0, 0},
        {"UPDATE trial SET role = 'x'", 0, -EIO, 0},
        {"UPDATE cell SET pages = '8k'", -EIO, -EIO, 0},
        {"UPDATE job SET state = 'x'", -EIO, -EIO, -EIO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[128];
        fixture_close(f);
        snprintf(sql, sizeof sql, "PRAGMA ignore_check_constraints=1; %s", cases[i].sql);
        fixture_tamper(f, sql);
        fixture_open(f);
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
        struct store_trial_filter all = {.job_id = job_id, .cell_idx = -1, .with_slices = true};
        struct store_job_filter any = {.state = -1};
        assert_int_equal(store_view_cells(v, job_id, ignore_cell, NULL, &f->e), cases[i].cells);
        assert_int_equal(store_view_trials(v, &all, ignore_trial, NULL, &f->e), cases[i].trials);
        assert_int_equal(store_view_jobs(v, &any, ignore_job, NULL, &f->e), cases[i].jobs);
    }
}

/* ---- the low-water mark, idempotency's age ---- */

static void test_low_water(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    assert_int_equal(store_ready(f->store, &f->e), 0);
    fixture_close(f);
    struct store_config config = {
        .directory = f->directory, .readers_count = 2, .low_water_bytes = UINT64_MAX / 2};
    assert_int_equal(store_open(&config, &f->store, &f->e), 0);
    assert_int_equal(fixture_job_add(f->store, 2, &f->e), -ENOSPC);
    assert_int_equal(f->e.code, ERR_NO_SPACE);
    assert_int_equal(store_ready(f->store, &f->e), -ENOSPC);
    /* what was accepted goes on */
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    assert_int_equal(store_job_set_state(f->store, job.uuid, JOB_RUNNING, NULL, &f->e), 0);
    store_job_done(&job);
}

static void test_idempotency_age(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int hours;
        bool replayed;
    } cases[] = {{0, true}, {23, true}, {24, true}, {26, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store_job_new job;
        char uuid[37], sql[128], key[16];
        bool replayed;
        fixture_job((unsigned)i * 10, &job);
        snprintf(key, sizeof key, "key %zu", i);
        job.idempotency_key = key;
        job.body_sha256 = "b";
        assert_int_equal(store_job_add(f->store, &job, uuid, &replayed, &f->e), 0);
        fixture_close(f);
        snprintf(
            sql, sizeof sql,
            "UPDATE idempotency SET created_us = created_us - %d * 3600000000 WHERE key = '%s'",
            cases[i].hours, key);
        fixture_tamper(f, sql);
        fixture_open(f);
        /* another key's insert is what purges */
        fixture_job((unsigned)i * 10 + 1, &job);
        char other[16];
        snprintf(other, sizeof other, "other %zu", i);
        job.idempotency_key = other;
        job.body_sha256 = "c";
        assert_int_equal(store_job_add(f->store, &job, uuid, &replayed, &f->e), 0);
        fixture_job((unsigned)i * 10 + 2, &job);
        job.idempotency_key = key;
        job.body_sha256 = "b";
        assert_int_equal(store_job_add(f->store, &job, uuid, &replayed, &f->e), 0);
        assert_int_equal(replayed, cases[i].replayed);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_two_openers),
        TEST(test_lock_dies_with_its_process),
        TEST(test_modes),
        TEST(test_read_only_directory),
        TEST(test_read_only_file),
        TEST(test_bad_directories),
        TEST(test_directory_is_made),
        TEST(test_newer_schema),
        TEST(test_foreign_database),
        TEST(test_not_a_database),
        TEST(test_damage_after_unclean_end),
        TEST(test_damaged_rows),
        TEST(test_low_water),
        TEST(test_idempotency_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
