/* Groups on the cgroups this host really has, through every hierarchy version on its own: v1
 * alone with the freezer, v1 without a freezer, v2 alone, both. What is not mounted is skipped. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/io.h"
#include "daemon/supervisor/cgroup.h"
#include "daemon/supervisor/cgroup_ops.h"
#include "tests/supervisor/client.h"

struct fixture {
    char dir[64], mountinfo[1 << 16], self[16384];
    struct state state;
    struct cgroup_host host;
};

/* The real texts, without the mounts a variant does not want to see. */
static void texts_read(struct fixture *f, const char *const hidden[])
{
    static char all[1 << 16];
    assert_true(io_read_file(AT_FDCWD, "/proc/self/mountinfo", all, sizeof all) >= 0);
    assert_true(io_read_file(AT_FDCWD, "/proc/self/cgroup", f->self, sizeof f->self) >= 0);
    size_t used = 0;
    f->mountinfo[0] = '\0';
    char *save;
    for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        bool is_hidden = false;
        for (unsigned i = 0; hidden[i]; i++)
            is_hidden |= strstr(line, hidden[i]) != NULL;
        if (!is_hidden && strstr(line, "cgroup"))
            used += (size_t)snprintf(f->mountinfo + used, sizeof f->mountinfo - used, "%s\n", line);
    }
}

static bool fixture_open(struct fixture *f, const char *const hidden[])
{
    char path[PATH_MAX];
    struct err e;
    snprintf(f->dir, sizeof f->dir, "/tmp/hm-cgroup.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(path, sizeof path, "%s/state", f->dir);
    assert_int_equal(state_open(path, "hm-test", 0, &f->state, &e), 0);
    texts_read(f, hidden);
    assert_int_equal(cgroup_host_open_texts(&f->host, &f->state, 0, f->mountinfo, f->self, &e), 0);
    return f->host.isolation != 0;
}

static void fixture_close(struct fixture *f)
{
    cgroup_host_close(&f->host);
    (void)cgroup_reap(&f->state);
    char text[64];
    assert_int_equal(state_read(&f->state, "cgroups", text, sizeof text), -ENOENT);
    assert_int_equal(client_directories("/sys/fs/cgroup", f->state.mark, 8), 0);
    state_close(&f->state);
    client_remove_tree(f->dir);
}

static uint16_t first_cpu(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    for (uint16_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set))
            return i;
    return 0;
}

static void group_make(struct fixture *f, const char *name, struct cgroup_group *ret)
{
    uint16_t cpu = first_cpu();
    struct cgroup_limits limits = {
        .memory_bytes = 32u << 20,
        .pids_max = 20,
        .cpus = &cpu,
        .cpus_count = 1,
    };
    struct err e = {0};
    if (cgroup_group_make(&f->host, name, &limits, ret, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(ret->isolation, f->host.isolation);
}

/* A child in the group doing `what`; a pipe says when it has begun. */
static pid_t child_start(struct fixture *f, const struct cgroup_group *g, void (*what)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        if (cgroup_group_enter(&f->host, g, false) < 0 || write(ends[1], "x", 1) != 1)
            _exit(9);
        what();
        _exit(0);
    }
    close(ends[1]);
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    return pid;
}

static void do_pause(void)
{
    for (;;)
        pause();
}

/* Forks as fast as it can, all in sessions of their own, deaf to what can be ignored. */
static void do_fork_bomb(void)
{
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_IGN);
    for (;;) {
        (void)setsid();
        (void)fork();
    }
}

static void do_eat(void)
{
    for (;;) {
        char *block =
            mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            _exit(8);
        memset(block, 1, 1 << 20);
    }
}

static void check_enter(struct fixture *f)
{
    struct cgroup_group g;
    group_make(f, "launch-0-0", &g);
    pid_t pid = child_start(f, &g, do_pause);
    for (unsigned i = 0; i < f->host.layout.hierarchies_count; i++)
        if (g.fds[i] >= 0)
            assert_int_equal(cgroup_dir_count(g.fds[i]), 1);
    assert_int_equal(cgroup_group_kill(&f->host, &g), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(cgroup_group_remove(&f->host, &g), 0);
    assert_int_equal(cgroup_group_kill(&f->host, &g), -EOPNOTSUPP);
}

static void check_fork_bomb(struct fixture *f)
{
    if (!(f->host.isolation & ISOLATION_CGROUP_PIDS))
        return; /* unbounded, it would be the test machine's end */
    struct cgroup_group g;
    group_make(f, "launch-0-1", &g);
    pid_t pid = child_start(f, &g, do_fork_bomb);
    assert_int_equal(cgroup_group_kill(&f->host, &g), 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(cgroup_group_remove(&f->host, &g), 0);
}

static void check_memory(struct fixture *f)
{
    struct cgroup_figures figures;
    if (!(f->host.isolation & ISOLATION_CGROUP_MEMORY)) {
        struct cgroup_group g;
        uint16_t cpu = first_cpu();
        struct err e;
        struct cgroup_limits limits = {.memory_bytes = 32u << 20,
                                       .memory_require = true,
                                       .pids_max = 20,
                                       .cpus = &cpu,
                                       .cpus_count = 1};
        assert_int_equal(cgroup_group_make(&f->host, "launch-0-2", &limits, &g, &e),
                         err_code_errno(ERR_UNAVAILABLE));
        return;
    }
    struct cgroup_group g;
    group_make(f, "launch-0-2", &g);
    cgroup_group_figures(&f->host, &g, &figures);
    assert_int_equal(figures.oom_kills, 0);
    pid_t pid = child_start(f, &g, do_eat);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cgroup_group_figures(&f->host, &g, &figures);
    assert_true(figures.oom_kills >= 1);
    assert_true(figures.peak_bytes > 24u << 20 && figures.peak_bytes <= 32u << 20);
    assert_int_equal(cgroup_group_remove(&f->host, &g), 0);
}

/* A group of the same name, with groups and a process inside it, is cleared first; and what is
 * there at the end is reaped by name of the state file. */
static void check_leftover(struct fixture *f)
{
    struct cgroup_group g, again;
    group_make(f, "launch-0-3", &g);
    pid_t pid = child_start(f, &g, do_pause);
    for (unsigned i = 0; i < f->host.layout.hierarchies_count; i++)
        if (g.fds[i] >= 0)
            assert_int_equal(mkdirat(g.fds[i], "nested", 0755), 0);
    group_make(f, "launch-0-3", &again);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    pid = child_start(f, &again, do_pause);
    assert_true(cgroup_reap(&f->state) > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(cgroup_reap(&f->state), 0);
}

static void check_cpus(struct fixture *f)
{
    if (!(f->host.isolation & ISOLATION_CGROUP_CPUSET))
        return;
    static const uint16_t absent[] = {1000, 1001};
    struct cgroup_group g;
    struct err e;
    struct cgroup_limits limits = {.pids_max = 20, .cpus = absent, .cpus_count = 2};
    assert_int_equal(cgroup_group_make(&f->host, "launch-0-4", &limits, &g, &e),
                     err_code_errno(ERR_UNAVAILABLE));
    assert_non_null(strstr(e.message, "1000-1001"));
    uint16_t cpu = first_cpu();
    limits = (struct cgroup_limits){
        .pids_max = 20, .cpus = &cpu, .cpus_count = 1, .mems_mask = UINT64_C(1) << 60};
    assert_true(cgroup_group_make(&f->host, "launch-0-5", &limits, &g, &e) < 0);
}

static void run_variant(const char *const hidden[])
{
    static struct fixture f;
    if (!fixture_open(&f, hidden)) {
        fixture_close(&f);
        skip();
    }
    check_enter(&f);
    check_fork_bomb(&f);
    check_memory(&f);
    check_cpus(&f);
    check_leftover(&f);
    fixture_close(&f);
}

static void test_all(void **state)
{
    (void)state;
    static const char *const hidden[] = {NULL};
    run_variant(hidden);
}

static void test_v1(void **state)
{
    (void)state;
    static const char *const hidden[] = {" - cgroup2 ", NULL};
    run_variant(hidden);
}

static void test_v1_without_freezer(void **state)
{
    (void)state;
    static const char *const hidden[] = {" - cgroup2 ", "freezer", NULL};
    run_variant(hidden);
}

static void test_v2(void **state)
{
    (void)state;
    static const char *const hidden[] = {" - cgroup ", NULL};
    run_variant(hidden);
}

static void test_nothing(void **state)
{
    (void)state;
    static struct fixture f;
    static const char *const hidden[] = {"cgroup", NULL};
    struct cgroup_group g;
    struct err e;
    uint16_t cpu = 0;
    struct cgroup_limits limits = {.pids_max = 20, .cpus = &cpu, .cpus_count = 1};
    assert_false(fixture_open(&f, hidden));
    assert_int_equal(cgroup_group_make(&f.host, "launch-0-0", &limits, &g, &e), 0);
    assert_int_equal(g.isolation, 0);
    assert_int_equal(cgroup_group_enter(&f.host, &g, false), 0);
    assert_int_equal(cgroup_group_kill(&f.host, &g), -EOPNOTSUPP);
    assert_int_equal(cgroup_group_v2_fd(&f.host, &g), -1);
    assert_int_equal(cgroup_group_remove(&f.host, &g), 0);
    fixture_close(&f);
}

/* A state file in the wrong hands names what is not ours: nothing there is touched. */
static void test_reap_refuses(void **state)
{
    (void)state;
    static struct fixture f;
    static const char *const hidden[] = {"cgroup", NULL};
    (void)fixture_open(&f, hidden);
    char text[1024], victim[128];
    snprintf(victim, sizeof victim, "%s/%s", f.dir, f.state.mark);
    assert_int_equal(mkdir(victim, 0755), 0); /* right name, but no cgroup */
    snprintf(text, sizeof text,
             "/sys/fs/cgroup\n/sys/fs/cgroup/memory\nrelative/%s\n%s\n/sys/fs/cgroup/../%s\n\n///\n"
             "/%s\n",
             f.state.mark, victim, f.state.mark, f.state.mark);
    assert_int_equal(state_write(&f.state, "cgroups", text), 0);
    assert_int_equal(cgroup_reap(&f.state), 0);
    assert_int_equal(access(victim, F_OK), 0);
    fixture_close(&f);
}

int main(void)
{
    if (geteuid() != 0) {
        printf("skipped: groups are made by root\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),     cmocka_unit_test(test_v1),
        cmocka_unit_test(test_v2),      cmocka_unit_test(test_v1_without_freezer),
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_reap_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
