/* A disk that is really full: a small tmpfs (needs root), filled by somebody else and by the store
 * itself, then given room again. */
#include "tests/store/scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "daemon/base/log.h"

#define DISK_BYTES (4 << 20)

static void disk_mount(struct fixture *f)
{
    fixture_directory(f);
    char options[64];
    snprintf(options, sizeof options, "size=%d,mode=0700", DISK_BYTES);
    assert_int_equal(mount("tmpfs", f->directory, "tmpfs", 0, options), 0);
}

static void disk_unmount(struct fixture *f)
{
    assert_int_equal(umount(f->directory), 0);
    fixture_remove(f);
}

/* Write until nothing more fits; returns the fd of the file, already without a name. */
static int disk_fill(struct fixture *f)
{
    static const char zeros[4096];
    char path[96];
    snprintf(path, sizeof path, "%s/other", f->directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    assert_int_equal(errno, ENOSPC);
    return fd;
}

static void test_full_before_the_start(void **state)
{
    (void)state;
    struct scenario s = {0};
    disk_mount(&s.f);
    int fd = disk_fill(&s.f);
    scenario_run(&s);
    assert_false(s.opened);
    if (s.first.code != ERR_NO_SPACE)
        fail_msg("%s: %s", err_code_name(s.first.code), s.first.message);
    close(fd);
    struct scenario again = {.f = s.f};
    scenario_run(&again);
    assert_int_equal(again.failures, 0);
    scenario_verify(&again);
    disk_unmount(&s.f);
}

/* Jobs until the disk is full: what was said to be stored is, reads go on, every refusal is "no
 * space", and with room again everything goes on. */
static void test_filled_by_the_store(void **state)
{
    (void)state;
    struct fixture f = {0};
    disk_mount(&f);
    fixture_open(&f);
    static char big[64 << 10];
    memset(big, 'x', sizeof big - 1);
    unsigned added = 0, refused = 0;
    for (unsigned n = 0; refused < 20; n++) {
        struct store_job_new job;
        char uuid[37];
        bool replayed;
        fixture_job(n, &job);
        job.spec_json = big;
        f.e = (struct err){0};
        if (store_job_add(f.store, &job, uuid, &replayed, &f.e) == 0) {
            assert_int_equal(refused, 0);
            added++;
            continue;
        }
        refused++;
        if (f.e.code != ERR_NO_SPACE)
            fail_msg("%s: %s", err_code_name(f.e.code), f.e.message);
    }
    assert_true(added > 8);
    struct store_stats stats;
    assert_int_equal(store_stats(f.store, &stats, &f.e), 0);
    assert_int_equal(stats.jobs_by_state[JOB_QUEUED], added);
    fixture_close(&f);
    char options[64];
    snprintf(options, sizeof options, "size=%d,mode=0700", 4 * DISK_BYTES);
    assert_int_equal(mount("tmpfs", f.directory, "tmpfs", MS_REMOUNT, options), 0);
    fixture_open(&f);
    assert_int_equal(store_stats(f.store, &stats, &f.e), 0);
    assert_int_equal(stats.jobs_by_state[JOB_QUEUED], added);
    assert_int_equal(fixture_job_add(f.store, 100000, &f.e), 0);
    fixture_close(&f);
    fixture_check(&f);
    disk_unmount(&f);
}

/* Filled by somebody else while we run: a result in hand is refused, kept by its owner, and
 * stored as soon as there is room, without a new start. */
static void test_full_while_running(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct exec_request request;
    struct exec_result result;
    char uuid[37];
    int64_t id;
    disk_mount(&f);
    fixture_open(&f);
    int64_t job_id = fixture_job_running(&f, 1);
    struct store_ring_new ring = fixture_ring(job_id, 0);
    assert_int_equal(store_attempt_begin(f.store, &ring, "local", uuid, &id, &f.e), 0);
    fixture_result(1, &request, &result);
    memset(result.runners[0].log, 'l', sizeof result.runners[0].log - 1);
    int fd = disk_fill(&f);
    unsigned refused = 0;
    for (int i = 0; i < 3; i++) /* a page or two may still lie allocated in the log */
        refused += store_attempt_finish(f.store, id, &request, &result, &f.e) == -ENOSPC;
    assert_int_equal(refused, 3);
    assert_int_equal(f.e.code, ERR_NO_SPACE);
    assert_int_equal(fixture_job_add(f.store, 2, &f.e), -ENOSPC);
    struct store_job job;
    fixture_job_get(&f, 1, &job); /* reads go on */
    assert_int_equal(job.steps_done, 0);
    store_job_done(&job);
    close(fd);
    assert_int_equal(store_attempt_finish(f.store, id, &request, &result, &f.e), 0);
    assert_int_equal(fixture_job_add(f.store, 2, &f.e), 0);
    fixture_job_get(&f, 1, &job);
    assert_int_equal(job.steps_done, 1);
    store_job_done(&job);
    fixture_close(&f);
    fixture_check(&f);
    disk_unmount(&f);
}

int main(void)
{
    /* Mounts of our own: nothing is left mounted whatever happens here. */
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        printf("skipped: mounting a small tmpfs needs root (%s)\n", strerror(errno));
        return 77;
    }
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_before_the_start),
        cmocka_unit_test(test_filled_by_the_store),
        cmocka_unit_test(test_full_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
