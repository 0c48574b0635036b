/* Parts of the supervisor alone: command line, watch, knobs on a copy of /sys, state files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/io.h"
#include "daemon/supervisor/knobs.h"
#include "daemon/supervisor/spawn.h"
#include "daemon/supervisor/state.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/supervisor/watch.h"
#include "tests/supervisor/client.h"

/* ---- command line ---- */

#define BASE "--runner=/r", "--state-dir=/s", "--catalog-dir=/c"

static const struct {
    const char *args[14];
    bool is_root;
    enum err_code code;
} command_lines[] = {
    {{BASE}, true, ERR_NONE},
    {{BASE}, false, ERR_NONE},
    {{BASE, "--uids=5000-5002"}, true, ERR_NONE},
    {{BASE, "--uids=none"}, true, ERR_NONE},
    {{BASE, "--uids=none"}, false, ERR_NONE},
    {{BASE, "--deny=thp", "--deny=hugetlb", "--daemon-pid=1", "--cgroup-name=hm.2",
      "--library-dir=/l", "--log-level=debug", "--log-format=json"},
     true,
     ERR_NONE},
    {{"--version"}, true, ERR_NONE},
    {{NULL}, true, ERR_INVALID},
    {{"--state-dir=/s", "--catalog-dir=/c"}, true, ERR_INVALID},
    {{"--runner=/r", "--catalog-dir=/c"}, true, ERR_INVALID},
    {{"--runner=/r", "--state-dir=/s"}, true, ERR_INVALID},
    {{"--runner=r", "--state-dir=/s", "--catalog-dir=/c"}, true, ERR_INVALID},
    {{"--runner=/r", "--state-dir=s", "--catalog-dir=/c"}, true, ERR_INVALID},
    {{"--runner=/r", "--state-dir=/s", "--catalog-dir=c"}, true, ERR_INVALID},
    {{BASE, "--library-dir="}, true, ERR_INVALID},
    {{BASE, "--uids=5000-5002"}, false, ERR_FORBIDDEN},
    {{BASE, "--uids=5000-5001"}, true, ERR_OUT_OF_RANGE},
    {{BASE, "--uids=0-10"}, true, ERR_OUT_OF_RANGE},
    {{BASE, "--uids=10-5"}, true, ERR_OUT_OF_RANGE},
    {{BASE, "--uids=1-4294967295"}, true, ERR_OUT_OF_RANGE},
    {{BASE, "--uids=5000"}, true, ERR_INVALID},
    {{BASE, "--uids=a-b"}, true, ERR_INVALID},
    {{BASE, "--uids=00000000000000001-9"}, true, ERR_INVALID},
    {{BASE, "--uids="}, true, ERR_INVALID},
    {{BASE, "--cgroup-name=../x"}, true, ERR_INVALID},
    {{BASE, "--cgroup-name="}, true, ERR_INVALID},
    {{BASE, "--daemon-pid=0"}, true, ERR_INVALID},
    {{BASE, "--daemon-pid=-4"}, true, ERR_INVALID},
    {{BASE, "--deny=all"}, true, ERR_UNKNOWN_NAME},
    {{BASE, "--log-level=loud"}, true, ERR_UNKNOWN_NAME},
    {{BASE, "--log-format=xml"}, true, ERR_UNKNOWN_NAME},
    {{BASE, "--unknown"}, true, ERR_UNKNOWN_NAME},
    {{BASE, "--runner"}, true, ERR_UNKNOWN_NAME},
    {{BASE, "stray"}, true, ERR_INVALID},
    {{BASE, "--catalog-dir=/2", "--catalog-dir=/3", "--catalog-dir=/4", "--catalog-dir=/5",
      "--catalog-dir=/6", "--catalog-dir=/7", "--catalog-dir=/8", "--catalog-dir=/9"},
     true,
     ERR_TOO_LARGE},
};

static void test_command_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof command_lines / sizeof command_lines[0]; i++) {
        char *argv[16] = {(char *)"heapmark-supervisor"};
        int argc = 1;
        for (unsigned k = 0; k < 14 && command_lines[i].args[k]; k++)
            argv[argc++] = (char *)(uintptr_t)command_lines[i].args[k];
        struct supervisor_options o;
        struct err e = {0};
        (void)supervisor_options_parse(argc, argv, command_lines[i].is_root, &o, &e);
        if (e.code != command_lines[i].code)
            fail_msg("line %zu: %s (%s)", i, err_code_name(e.code), e.message);
    }
    char *root[] = {(char *)"x", (char *)"--runner=/r", (char *)"--state-dir=/s",
                    (char *)"--catalog-dir=/c", NULL};
    struct supervisor_options o;
    struct err e;
    assert_int_equal(supervisor_options_parse(4, root, true, &o, &e), 0);
    assert_int_equal(o.uid_first, SUPERVISOR_UID_FIRST);
    assert_int_equal(o.uids_count, SUPERVISOR_UID_LAST - SUPERVISOR_UID_FIRST + 1);
    assert_int_equal(supervisor_options_parse(4, root, false, &o, &e), 0);
    assert_int_equal(o.uids_count, 0);
}

static void test_pad(void **state)
{
    (void)state;
    unsigned low = UINT_MAX, high = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        unsigned n = spawn_pad_length(seed);
        low = n < low ? n : low;
        high = n > high ? n : high;
    }
    assert_true(high <= SPAWN_PAD_MAX && high > 3800 && low < 300);
    assert_int_equal(spawn_pad_length(5), spawn_pad_length(5));
    uint64_t lines = 0; /* every line of the page is drawn by somebody */
    for (uint64_t seed = 0; seed < 2000; seed++) {
        assert_true(spawn_tls_shift(seed) < 4096 && spawn_tls_shift(seed) % 64 == 0);
        lines |= UINT64_C(1) << spawn_tls_shift(seed) / 64;
    }
    assert_true(lines == UINT64_MAX);
    assert_int_equal(spawn_tls_shift(5), spawn_tls_shift(5));
}

/* ---- watch ---- */

struct words {
    struct ring_page pages[3];
    struct ring_page *at[3];
    struct ring_turn turns[9];
    struct watch w;
};

static void words_init(struct words *x)
{
    memset(x, 0, sizeof *x);
    for (unsigned i = 0; i < 9; i++)
        x->turns[i].runner = (uint8_t)(i % 3);
    for (unsigned i = 0; i < 3; i++) {
        x->at[i] = &x->pages[i];
        atomic_store(&x->pages[i].state, RUNNER_RUNNING);
    }
    watch_init(&x->w, x->turns, 9, 3, 1);
}

static void test_watch_order(void **state)
{
    (void)state;
    struct words *x = test_malloc(sizeof *x);
    words_init(x);
    for (uint32_t k = 0; k < 9; k++) {
        assert_int_equal(watch_look(&x->w, x->at, 10 + k), 0);
        assert_int_equal(x->w.turn, k);
        assert_int_equal(watch_holder(&x->w), (int)(k % 3));
        assert_int_equal(x->w.turn_since_ns, k == 0 ? 1 : 10 + k);
        atomic_store(&x->pages[k % 3].done, k + 1);
    }
    assert_int_equal(watch_look(&x->w, x->at, 99), 0);
    assert_int_equal(watch_holder(&x->w), -1);
    for (unsigned i = 0; i < 3; i++)
        assert_true(watch_finished(&x->w, i));
    test_free(x);
}

static void test_watch_gone(void **state)
{
    (void)state;
    struct words *x = test_malloc(sizeof *x);
    words_init(x);
    x->w.is_gone[0] = x->w.is_gone[1] = true;
    assert_int_equal(watch_look(&x->w, x->at, 5), 0);
    assert_int_equal(watch_holder(&x->w), 2);
    assert_int_equal(x->w.turn, 2);
    assert_false(watch_finished(&x->w, 0));
    /* A runner that fails says so first, then drops itself. */
    atomic_store(&x->pages[2].state, RUNNER_FAILED);
    atomic_store(&x->pages[2].done, RING_DROPPED);
    assert_int_equal(watch_look(&x->w, x->at, 6), 0);
    assert_true(x->w.is_gone[2]);
    assert_int_equal(x->w.leaving_since_ns[2], 6);
    assert_int_equal(watch_holder(&x->w), -1);
    assert_int_equal(x->w.done[2], 0);
    test_free(x);
}

/* How far a runner that left came is its own word, believed only where it can be true. */
static void test_watch_how_far(void **state)
{
    (void)state;
    static const struct {
        uint32_t seen, told, believed;
    } rows[] = {
        {0, 0, 0}, {0, 3, 3}, {3, 6, 6},  {6, 3, 6},  {3, 9, 9},
        {3, 4, 3}, {3, 0, 3}, {0, 10, 0}, {3, 12, 3}, {3, RING_DROPPED, 3},
    };
    struct words *x = test_malloc(sizeof *x);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        words_init(x);
        x->w.done[2] = rows[i].seen;
        atomic_store(&x->pages[2].done_before_drop, rows[i].told);
        atomic_store(&x->pages[2].state, RUNNER_FAILED);
        atomic_store(&x->pages[2].done, RING_DROPPED);
        assert_int_equal(watch_look(&x->w, x->at, 6), 0);
        assert_true(x->w.is_gone[2]);
        if (x->w.done[2] != rows[i].believed)
            fail_msg("row %zu: %u", i, x->w.done[2]);
    }
    test_free(x);
}

static void test_watch_lies(void **state)
{
    (void)state;
    static const struct {
        uint32_t done_before, state_before, done, state;
        bool is_lie;
    } lies[] = {
        {0, RUNNER_RUNNING, 2, RUNNER_RUNNING, false}, /* turn 1 is runner 1's */
        {2, RUNNER_RUNNING, 8, RUNNER_RUNNING, false}, /* early, but its own: the node judges */
        {2, RUNNER_RUNNING, 1, RUNNER_RUNNING, true},
        {2, RUNNER_RUNNING, 0, RUNNER_RUNNING, true},
        {0, RUNNER_RUNNING, 1, RUNNER_RUNNING, true}, /* another's turn */
        {0, RUNNER_RUNNING, 9, RUNNER_RUNNING, true},
        {0, RUNNER_RUNNING, 10, RUNNER_RUNNING, true},
        {0, RUNNER_RUNNING, RING_DROPPED, RUNNER_RUNNING, true},
        {0, RUNNER_RUNNING, RING_DROPPED, RUNNER_FINISHED, true},
        {0, RUNNER_RUNNING, RING_DROPPED - 1, RUNNER_FAILED, true},
        {2, RUNNER_RUNNING, 2, RUNNER_FAILED, false},
        {0, RUNNER_RUNNING, 0, RUNNER_FAILED + 1, true},
        {0, RUNNER_RUNNING, 0, UINT32_MAX, true},
        {0, RUNNER_RUNNING, 0, RUNNER_MAPPED, true},
        {8, RUNNER_FINISHED, 8, RUNNER_FAILED, true},
        {8, RUNNER_FAILED, 8, RUNNER_FINISHED, true},
    };
    struct words *x = test_malloc(sizeof *x);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        words_init(x);
        x->w.done[1] = lies[i].done_before;
        x->w.state[1] = lies[i].state_before;
        atomic_store(&x->pages[1].done, lies[i].done);
        atomic_store(&x->pages[1].state, lies[i].state);
        uint32_t found = watch_look(&x->w, x->at, 5);
        if (found != (lies[i].is_lie ? 2u : 0u))
            fail_msg("case %zu: %x", i, found);
        if (lies[i].is_lie)
            assert_int_equal(x->w.done[1], lies[i].done_before);
    }
    test_free(x);
}

/* ---- state and knobs, on a copy of /sys ---- */

struct host {
    char dir[64];
    struct state state;
    struct knobs knobs;
    int sys_fd;
};

static void host_write(const struct host *h, const char *path, const char *text)
{
    char whole[PATH_MAX];
    snprintf(whole, sizeof whole, "%s/%s", h->dir, path);
    for (char *slash = whole + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(whole, 0755);
        *slash = '/';
    }
    int fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

#define POOL "sys/kernel/mm/hugepages/hugepages-2048kB/"
#define THP  "sys/kernel/mm/transparent_hugepage/enabled"

static void host_make(struct host *h)
{
    snprintf(h->dir, sizeof h->dir, "/tmp/hm-units.XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    host_write(h, POOL "nr_hugepages", "4\n");
    host_write(h, POOL "free_hugepages", "3\n");
    host_write(h, POOL "resv_hugepages", "1\n");
    host_write(h, THP, "always [madvise] never\n");
    char path[PATH_MAX];
    struct err e;
    snprintf(path, sizeof path, "%s/state", h->dir);
    assert_int_equal(state_open(path, "heapmark", 0, &h->state, &e), 0);
    snprintf(path, sizeof path, "%s/sys", h->dir);
    h->sys_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(h->sys_fd >= 0);
    knobs_init(&h->knobs, &h->state, h->sys_fd);
}

static void host_done(struct host *h)
{
    state_close(&h->state);
    close(h->sys_fd);
    client_remove_tree(h->dir);
}

static void assert_file(const struct host *h, const char *path, const char *expected)
{
    char whole[PATH_MAX], text[256];
    snprintf(whole, sizeof whole, "%s/%s", h->dir, path);
    assert_true(io_read_file(AT_FDCWD, whole, text, sizeof text) >= 0);
    assert_memory_equal(text, expected, strlen(expected));
}

static void test_thp_text(void **state)
{
    (void)state;
    assert_int_equal(knobs_thp_parse("always [madvise] never"), WIRE_THP_MADVISE);
    assert_int_equal(knobs_thp_parse("[always] madvise never"), WIRE_THP_ALWAYS);
    assert_int_equal(knobs_thp_parse("always madvise [never]"), WIRE_THP_NEVER);
    static const char *const bad[] = {"",
                                      "always",
                                      "[",
                                      "]",
                                      "][",
                                      "[]",
                                      "[leave]",
                                      "[neve]",
                                      "[alwaysalwaysalwaysalways]",
                                      "always [madvise"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(knobs_thp_parse(bad[i]), WIRE_THP_LEAVE);
}

static void test_thp_knob(void **state)
{
    (void)state;
    struct host h = {0};
    struct err e;
    host_make(&h);
    assert_int_equal(knobs_set_thp(&h.knobs, WIRE_THP_ALWAYS, &e), 0);
    assert_file(&h, "state/knobs", "boot ");
    /* Another supervisor on this host must wait. */
    struct knobs second;
    knobs_init(&second, &h.state, h.sys_fd);
    assert_int_equal(knobs_set_thp(&second, WIRE_THP_NEVER, &e), err_code_errno(ERR_CONFLICT));
    /* The kernel shows what was written in brackets; a plain file has to be helped. */
    host_write(&h, THP, "[always] madvise never\n");
    assert_int_equal(knobs_restore(&h.knobs), 1);
    assert_file(&h, THP, "madvise");
    char text[64];
    assert_int_equal(state_read(&h.state, "knobs", text, sizeof text), -ENOENT);
    assert_int_equal(knobs_restore(&h.knobs), 0);
    /* Somebody else changed it meanwhile: theirs stays. */
    host_write(&h, THP, "always [madvise] never\n");
    assert_int_equal(knobs_set_thp(&h.knobs, WIRE_THP_ALWAYS, &e), 0);
    host_write(&h, THP, "always madvise [never]\n");
    assert_int_equal(knobs_restore(&h.knobs), 0);
    assert_file(&h, THP, "always madvise [never]");
    host_done(&h);
}

static void boot_line(char *buf, size_t size, const char *rest)
{
    char boot[64];
    assert_true(io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", boot, sizeof boot) > 0);
    snprintf(buf, size, "boot %s\n%s", boot, rest);
}

/* What a later supervisor makes of a file an earlier one left. */
static void test_knobs_left(void **state)
{
    (void)state;
    static const struct {
        const char *left, *pool_now;
        bool other_boot;
        const char *pool_after, *thp_after;
    } cases[] = {
        {"thp madvise always\n", "4", false, "4", "madvise"},
        {"thp madvise always\n", "4", true, "4", "[always]"},
        {"thp madvise never\n", "4", false, "4", "[always]"},
        {"pool 0 any 4 10 1\n", "14", false, "4", "[always]"},
        {"pool 0 any 4 10 1\n", "20", false, "10", "[always]"},
        {"pool 0 any 4 10 1\n", "6", false, "0", "[always]"},
        {"pool 0 any 4 10 0\n", "4", false, "4", "[always]"}, /* never happened */
        {"pool 0 any 4 10 0\n", "9", false, "4", "[always]"}, /* in part */
        {"pool 0 any 4 10 1\n", "14", true, "14", "[always]"},
        {"pool 7 any 4 10 1\npool 0 -2 1 1 1\npool 0 64 1 1 1\nthp x y\nthp madvise\n../x\n", "14",
         false, "14", "[always]"},
        {"pool 0 any 4 10 1\nthp madvise always\n", "14", false, "4", "madvise"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct host h = {0};
        char text[512];
        host_make(&h);
        if (cases[i].other_boot)
            snprintf(text, sizeof text, "boot another\n%s", cases[i].left);
        else
            boot_line(text, sizeof text, cases[i].left);
        assert_int_equal(state_write(&h.state, "knobs", text), 0);
        host_write(&h, THP, "[always] madvise never\n");
        host_write(&h, POOL "nr_hugepages", cases[i].pool_now);
        assert_true(knobs_restore(&h.knobs) >= 0);
        assert_file(&h, POOL "nr_hugepages", cases[i].pool_after);
        assert_file(&h, THP, cases[i].thp_after);
        assert_int_equal(state_read(&h.state, "knobs", text, sizeof text), -ENOENT);
        host_done(&h);
    }
}

static void test_reserve(void **state)
{
    (void)state;
    struct host h = {0};
    struct err e;
    host_make(&h);
    assert_int_equal(knobs_reserve(&h.knobs, HUGEPAGE_2M, 0, 0, &e), 0);
    assert_int_equal(knobs_reserve(&h.knobs, HUGEPAGE_2M, 2, 0, &e), 0); /* 3 free, 1 claimed */
    assert_file(&h, POOL "nr_hugepages", "4");
    /* The copy never has more free pages, so the reservation is not believed, and undone. */
    assert_int_equal(knobs_reserve(&h.knobs, HUGEPAGE_2M, 5, 0, &e),
                     err_code_errno(ERR_UNAVAILABLE));
    assert_non_null(strstr(e.message, "hugepages=5"));
    assert_file(&h, POOL "nr_hugepages", "7");
    assert_int_equal(knobs_restore(&h.knobs), 1);
    assert_file(&h, POOL "nr_hugepages", "4");
    assert_int_equal(knobs_reserve(&h.knobs, HUGEPAGE_1G, 1, 0, &e),
                     err_code_errno(ERR_UNAVAILABLE));
    assert_int_equal(knobs_reserve(&h.knobs, HUGEPAGE_2M, 9, 2, &e),
                     err_code_errno(ERR_UNAVAILABLE));
    assert_int_equal(knobs_reserve(&h.knobs, HUGEPAGE_1G, UINT64_MAX, 0, &e),
                     err_code_errno(ERR_UNAVAILABLE));
    host_done(&h);
}

/* What state_open says to another process. */
static int open_elsewhere(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct state other;
        struct err e;
        _exit(-state_open(path, "heapmark", 100, &other, &e));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

/* A process forked by the holder, stopped for ever, must not keep the next supervisor out; a
 * worker that still cleans up must. */
static void test_state_lock(void **state)
{
    (void)state;
    struct host h = {0};
    char path[PATH_MAX];
    host_make(&h);
    snprintf(path, sizeof path, "%s/state", h.dir);
    assert_int_equal(open_elsewhere(path), err_code_errno(ERR_CONFLICT));
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t worker = fork();
    if (worker == 0) {
        if (state_lock_worker(&h.state) == 0)
            (void)!write(ready[1], "w", 1);
        pause();
    }
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    pid_t runner = fork();
    if (runner == 0)
        pause();
    state_close(&h.state);
    assert_int_equal(open_elsewhere(path), err_code_errno(ERR_CONFLICT)); /* the worker's */
    assert_int_equal(kill(worker, SIGKILL), 0);
    assert_int_equal(waitpid(worker, NULL, 0), worker);
    assert_int_equal(open_elsewhere(path), 0); /* the runner lives and has the descriptor */
    assert_int_equal(kill(runner, SIGKILL), 0);
    assert_int_equal(waitpid(runner, NULL, 0), runner);
    close(ready[0]);
    close(ready[1]);
    struct err e;
    assert_int_equal(state_open(path, "heapmark", 0, &h.state, &e), 0);
    host_done(&h);
}

static void test_state(void **state)
{
    (void)state;
    struct host h = {0};
    struct err e;
    struct state second;
    char path[PATH_MAX], text[64];
    host_make(&h);
    snprintf(path, sizeof path, "%s/state", h.dir);
    assert_int_equal(strlen(h.state.mark), strlen("heapmark.") + 8);
    /* Read back, replaced whole, removed; links and directories are nobody's state. */
    assert_int_equal(state_write(&h.state, "x", "one\n"), 0);
    assert_int_equal(state_write(&h.state, "x", "two\n"), 0);
    assert_int_equal(state_read(&h.state, "x", text, sizeof text), 3);
    assert_string_equal(text, "two");
    assert_int_equal(symlinkat("/etc/passwd", h.state.dir_fd, "link"), 0);
    assert_int_equal(state_read(&h.state, "link", text, sizeof text), -EPERM);
    assert_int_equal(mkdirat(h.state.dir_fd, "dir", 0700), 0);
    assert_int_equal(state_read(&h.state, "dir", text, sizeof text), -EPERM);
    assert_int_equal(state_remove(&h.state, "x"), 0);
    assert_int_equal(state_remove(&h.state, "x"), 0);
    assert_int_equal(state_read(&h.state, "x", text, sizeof text), -ENOENT);
    /* A directory others can write to, a link, a missing parent. */
    snprintf(path, sizeof path, "%s/open", h.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(state_open(path, "heapmark", 0, &second, &e), err_code_errno(ERR_FORBIDDEN));
    snprintf(path, sizeof path, "%s/link", h.dir);
    assert_int_equal(symlink("state", path), 0);
    assert_true(state_open(path, "heapmark", 0, &second, &e) < 0);
    snprintf(path, sizeof path, "%s/no/such", h.dir);
    assert_true(state_open(path, "heapmark", 0, &second, &e) < 0);
    host_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_lines), cmocka_unit_test(test_pad),
        cmocka_unit_test(test_watch_order),   cmocka_unit_test(test_watch_gone),
        cmocka_unit_test(test_watch_how_far), cmocka_unit_test(test_watch_lies),
        cmocka_unit_test(test_thp_text),      cmocka_unit_test(test_thp_knob),
        cmocka_unit_test(test_knobs_left),    cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_state),         cmocka_unit_test(test_state_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
