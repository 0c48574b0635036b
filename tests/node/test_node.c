/* The node against a supervisor that is this same program: what counts as noise of a ring, and
 * what a supervisor that is late or refuses does to a launch and to the next one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/io.h"
#include "daemon/node/node.h"
#include "daemon/supervisor/supervisor.h"

#define ROTATIONS  2
#define CPUS_MAX   64
#define STEAL_LINE 40 /* bytes of a CPU's line below */

/* ---- /proc/stat, a file of ours mounted over it ---- */

/* In place, line by line of equal length: a reader never sees half of it. */
static void steal_write(const char *path, uint64_t ticks)
{
    char text[(CPUS_MAX + 1) * STEAL_LINE + 1];
    size_t used = (size_t)snprintf(text, sizeof text, "cpu  0 0 0 0 0 0 0 %020llu 0 0\n",
                                   (unsigned long long)ticks);
    for (unsigned i = 0; i < CPUS_MAX; i++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "cpu%-2u 0 0 0 0 0 0 0 %012llu 0 0\n",
                             i, (unsigned long long)ticks);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || io_write_all(fd, text, used) < 0)
        abort();
    close(fd);
}

/* ---- the supervisor ---- */

enum fake {
    FAKE_STEAL_BEFORE, /* of a hypervisor's time: while memory is touched and runners start */
    FAKE_STEAL_DURING, /* while the ring runs */
    FAKE_MIGRATION,
    FAKE_CONFLICT,
    FAKE_LATE, /* never says a word of the first launch */
};

static void fake_say(enum wire_type type, uint64_t id, struct wire_message *m, const int *fds,
                     unsigned fds_count)
{
    m->magic = WIRE_MAGIC;
    m->type = type;
    m->launch_id = id;
    if (wire_send(SUPERVISOR_FD, m, fds, fds_count) < 0)
        _exit(1);
}

static void fake_hello(uint64_t id)
{
    struct wire_message m = {0};
    snprintf(m.hello.build_id, sizeof m.hello.build_id, "%s", ring_build_id());
    fake_say(WIRE_HELLO, id, &m, NULL, 0);
}

static void fake_refuse(uint64_t id, enum err_code code)
{
    struct wire_message m = {.refused = {.code = code, .message = "a launch is under way"}};
    fake_say(WIRE_REFUSED, id, &m, NULL, 0);
}

/* Until the node has read what it was sent, and so has dealt with STARTED. */
static void fake_wait_read(int log_fd)
{
    int left = 1;
    while (ioctl(log_fd, FIONREAD, &left) == 0 && left > 0)
        usleep(1000);
}

static int fake_page(bool migrated)
{
    int fd = memfd_create("page", MFD_CLOEXEC);
    size_t size = ring_page_size(ROTATIONS);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        _exit(1);
    struct ring_page *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        _exit(1);
    page->slices_count = ROTATIONS;
    for (unsigned i = 0; i < ROTATIONS; i++) {
        uint64_t at = clock_monotonic_ns();
        page->slices[i] = (struct ring_slice){
            .start_ns = at, .end_ns = at + 1, .ops = 1, .migrations = migrated && i == 1};
        usleep(1);
    }
    munmap(page, size);
    return fd;
}

static void fake_ring(enum fake fake, const char *stat, uint64_t id)
{
    int log[2];
    if (fake == FAKE_STEAL_BEFORE)
        steal_write(stat, 1000000);
    if (pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0 || write(log[1], "x", 1) != 1)
        _exit(1);
    int fds[] = {fake_page(fake == FAKE_MIGRATION), log[0]};
    struct wire_message m = {0};
    fake_say(WIRE_STARTED, id, &m, fds, 2);
    fake_wait_read(log[0]);
    if (fake == FAKE_STEAL_DURING)
        steal_write(stat, 1000000);
    m = (struct wire_message){.done = {.runners_count = 1}};
    m.done.runners[0].outcome = OUTCOME_OK;
    fake_say(WIRE_DONE, id, &m, NULL, 0);
    close(fds[0]);
    close(log[0]);
    close(log[1]);
}

static int fake_supervisor(enum fake fake, const char *stat)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    uint64_t under_way = 0;
    bool was_late = false;
    fake_hello(0);
    while (wire_recv(SUPERVISOR_FD, &m, fds, &count) == 1) {
        while (count > 0)
            close(fds[--count]);
        if (m.type == WIRE_PING)
            fake_hello(m.launch_id);
        else if (m.type == WIRE_CANCEL && m.launch_id == under_way)
            under_way = 0;
        else if (m.type == WIRE_LAUNCH && (under_way || fake == FAKE_CONFLICT))
            fake_refuse(m.launch_id, ERR_CONFLICT);
        else if (m.type == WIRE_LAUNCH && fake == FAKE_LATE && !was_late) {
            was_late = true;
            under_way = m.launch_id;
        } else if (m.type == WIRE_LAUNCH)
            fake_ring(fake, stat, m.launch_id);
    }
    return 0;
}

/* ---- the node ---- */

struct world {
    struct topo *topo;
    struct node *node;
    char stat[32];
    struct exec_request request;
};

static void world_open(struct world *w, enum fake fake)
{
    struct err e = {0};
    char value[8], self[512];
    *w = (struct world){.stat = "/tmp/hm-node.XXXXXX"};
    int fd = mkstemp(w->stat);
    assert_true(fd >= 0);
    close(fd);
    steal_write(w->stat, 1000);
    snprintf(value, sizeof value, "%d", (int)fake);
    assert_int_equal(setenv("FAKE_SUPERVISOR", value, 1), 0);
    assert_int_equal(setenv("FAKE_STAT", w->stat, 1), 0);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    assert_int_equal(topo_load(NULL, &w->topo, &e), 0);
    struct node_config config = {
        .supervisor = {.supervisor_path = self,
                       .runner_path = "/r",
                       .state_dir = "/s",
                       .log_format = "text"},
        .topo = w->topo,
        .steal_ratio_max = 0.05,
        .grace_ms = 300,
    };
    if (node_start(&config, &w->node, &e) < 0)
        fail_msg("%s", e.message);
    const struct workload *churn = workloads[workload_index("table-churn")];
    w->request = (struct exec_request){
        .workload = churn,
        .subjects_count = 1,
        .rotations = ROTATIONS,
        .slice_ops = 10,
        .warm_ops = 10,
        .turn_ms_max = 1000,
        .wall_ms_max = fake == FAKE_LATE ? 1 : 60000,
    };
    workload_defaults(churn, &w->request.subjects[0].point);
    w->request.subjects[0].point.params[param_find(churn->params, churn->params_count, "live")].u =
        500;
}

static void world_close(struct world *w)
{
    node_stop(w->node);
    topo_free(w->topo);
    unlink(w->stat);
}

static int run(struct world *w, struct exec_result *ret, struct err *e)
{
    static const _Atomic bool never = false;
    *e = (struct err){0};
    return node_run(w->node, &w->request, &never, ret, e);
}

/* False: no right to. The mount is of this test program alone. */
static bool stat_mount(const struct world *w)
{
    static bool is_own;
    if (!is_own &&
        (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        return false;
    is_own = true;
    return mount(w->stat, "/proc/stat", NULL, MS_BIND, NULL) == 0;
}

static void run_quiet(enum fake fake, struct exec_result *ret)
{
    struct world w;
    struct err e;
    world_open(&w, fake);
    if (!stat_mount(&w)) {
        world_close(&w);
        print_message("no right to mount over /proc/stat\n");
        skip();
    }
    if (run(&w, ret, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(umount2("/proc/stat", MNT_DETACH), 0);
    world_close(&w);
    assert_int_equal(ret->runners[0].outcome, OUTCOME_OK);
}

static void test_steal_before_the_ring(void **state)
{
    (void)state;
    static struct exec_result result;
    run_quiet(FAKE_STEAL_BEFORE, &result);
    assert_true(result.steal_ratio == 0);
    assert_false(result.discard);
    exec_result_done(&result);
}

static void test_steal_during_the_ring(void **state)
{
    (void)state;
    static struct exec_result result;
    run_quiet(FAKE_STEAL_DURING, &result);
    assert_true(result.steal_ratio > 1);
    assert_true(result.discard);
    assert_non_null(strstr(result.discard_reason, "stolen by the hypervisor"));
    exec_result_done(&result);
}

static void test_migration(void **state)
{
    (void)state;
    static struct exec_result result;
    run_quiet(FAKE_MIGRATION, &result);
    assert_int_equal(result.migrations, 1);
    assert_true(result.discard);
    assert_non_null(strstr(result.discard_reason, "1 CPU migrations"));
    exec_result_done(&result);
}

/* Of an earlier launch: this one is lost and may be tried again. */
static void test_conflict_is_lost(void **state)
{
    (void)state;
    static struct exec_result result;
    struct world w;
    struct err e;
    world_open(&w, FAKE_CONFLICT);
    assert_true(run(&w, &result, &e) < 0);
    assert_int_equal(e.code, ERR_IO);
    world_close(&w);
}

/* Who is late is cancelled, so that the next launch finds nobody in its way. */
static void test_late_is_cancelled(void **state)
{
    (void)state;
    static struct exec_result result;
    struct world w;
    struct err e;
    world_open(&w, FAKE_LATE);
    assert_true(run(&w, &result, &e) < 0);
    assert_int_equal(e.code, ERR_IO);
    assert_non_null(strstr(e.message, "does not answer"));
    w.request.wall_ms_max = 60000;
    if (run(&w, &result, &e) < 0)
        fail_msg("the next launch: %s", e.message);
    assert_int_equal(result.runners[0].outcome, OUTCOME_OK);
    exec_result_done(&result);
    world_close(&w);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strncmp(argv[1], "--runner=", strlen("--runner=")) == 0)
        return fake_supervisor((enum fake)strtol(getenv("FAKE_SUPERVISOR"), NULL, 10),
                               getenv("FAKE_STAT"));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steal_before_the_ring),
        cmocka_unit_test(test_steal_during_the_ring),
        cmocka_unit_test(test_migration),
        cmocka_unit_test(test_conflict_is_lost),
        cmocka_unit_test(test_late_is_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
