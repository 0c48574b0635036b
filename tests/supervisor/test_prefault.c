/* Memory touched before a trial: how much, and that nothing waits for it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/supervisor/cgroup_room.h"
#include "daemon/supervisor/prefault.h"
#include "tests/supervisor/client.h"

static const struct prefault_watch nobody = {.socket = -1, .signal_fd = -1};

static void test_prefault_is_bounded(void **state)
{
    static const char text[] = "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable:  1048576 kB\n";
    const uint64_t room = UINT64_C(896) << 20; /* seven eighths of a GiB */
    (void)state;
    assert_int_equal(prefault_bounded(1000, text, UINT64_MAX), 1000);
    assert_int_equal(prefault_bounded(room, text, UINT64_MAX), room);
    assert_int_equal(prefault_bounded(room + 1, text, UINT64_MAX), room);
    assert_int_equal(prefault_bounded(UINT64_MAX, text, UINT64_MAX), room);
    assert_int_equal(prefault_bounded(UINT64_MAX, "MemAvailable: 100 kB\n", UINT64_MAX), 0);
    assert_int_equal(prefault_bounded(1000, "MemTotal: 16777216 kB\n", UINT64_MAX), 0);
    assert_int_equal(prefault_bounded(1000, "", UINT64_MAX), 0);
    /* A cgroup of less. */
    assert_int_equal(prefault_bounded(UINT64_MAX, text, room), UINT64_C(784) << 20);
    assert_int_equal(prefault_bounded(1000, text, room), 1000);
    assert_int_equal(prefault_bounded(1000, text, 0), 0);
}

/* A cgroup of ours two levels deep, files as the kernel names them. */
static const struct {
    const char *file, *text;
    uint64_t room; /* at "unit/own" once this file is there too */
} room_steps[] = {
    {"cpu.max", "max 100000", UINT64_MAX},
    {"unit/own/memory.max", "max", UINT64_MAX},
    {"unit/own/memory.current", "1000", UINT64_MAX},
    {"unit/memory.max", "50000", 50000},
    {"unit/memory.current", "20000", 30000},
    {"unit/memory.stat", "anon 5000\ninactive_file 1000\n", 31000},
    {"unit/memory.high", "40000", 21000},
    {"memory.max", "20500", 20500},
    {"unit/own/memory.max", "4000", 3000},
    {"unit/memory.current", "90000", 0},
};
static const struct {
    const char *file, *text;
    uint64_t room;
} room_v1_steps[] = {
    {"unit/own/memory.limit_in_bytes", "9223372036854771712", UINT64_C(9223372036854771712)},
    {"unit/own/memory.usage_in_bytes", "712", UINT64_C(9223372036854771000)},
    {"unit/memory.limit_in_bytes", "50000", 50000},
    {"unit/memory.usage_in_bytes", "20000", 30000},
    {"unit/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\n", 31000},
};

static void room_step(const char *dir, const char *file, const char *text, uint64_t expected)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    snprintf(path, sizeof path, "%s/unit/own", dir);
    if (cgroup_room_at(path) != expected)
        fail_msg("%s %s: %llu", file, text, (unsigned long long)cgroup_room_at(path));
}

static void test_cgroup_room(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 2; version++) {
        char dir[] = "/tmp/hm-room.XXXXXX", path[128];
        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof path, "%s/unit", dir);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof path, "%s/unit/own", dir);
        assert_int_equal(mkdir(path, 0755), 0);
        for (unsigned i = 0; version == 2 && i < sizeof room_steps / sizeof room_steps[0]; i++)
            room_step(dir, room_steps[i].file, room_steps[i].text, room_steps[i].room);
        for (unsigned i = 0; version == 1 && i < sizeof room_v1_steps / sizeof room_v1_steps[0];
             i++)
            room_step(dir, room_v1_steps[i].file, room_v1_steps[i].text, room_v1_steps[i].room);
        client_remove_tree(dir);
    }
    assert_int_equal(cgroup_room_at("/no/such/place"), UINT64_MAX);
}

static long children_faults(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return usage.ru_minflt;
}

static void test_prefault_touches(void **state)
{
    const uint64_t bytes = (UINT64_C(40) << 20) + 5; /* not a number of chunks or pages */
    (void)state;
    long before = children_faults();
    uint64_t touched = 0;
    assert_int_equal(prefault_touch(bytes, 0, &nobody, &touched), 0);
    assert_int_equal(touched, bytes);
    /* With huge pages always on, one fault is 2 MiB. */
    assert_true(children_faults() - before >= 20);
    assert_int_equal(prefault_touch(1, 1, &nobody, &touched), 0);
    assert_int_equal(touched, 1);
    /* Memory that cannot be had: as far as it goes, and we live. */
    struct rlimit old, tight = {.rlim_cur = UINT64_C(80) << 20, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    tight.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    int r = prefault_touch(UINT64_C(1) << 30, 0, &nobody, &touched);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(r, 0);
    assert_true(touched < UINT64_C(80) << 20);
}

/* ---- who is more important ---- */

static void test_prefault_gives_way(void **state)
{
    (void)state;
    int ends[2];
    uint64_t touched;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const struct prefault_watch on_socket = {.socket = ends[0], .signal_fd = -1};
    const struct prefault_watch on_signal = {.socket = -1, .signal_fd = ends[0]};
    assert_int_equal(prefault_touch(1, 0, &on_socket, &touched), 0); /* it is silent */
    assert_int_equal(write(ends[1], "x", 1), 1);
    const uint64_t bytes = UINT64_C(512) << 20;
    assert_int_equal(prefault_touch(bytes, 0, &on_socket, &touched), -ECANCELED);
    assert_true(touched < bytes);
    assert_int_equal(prefault_touch(bytes, 0, &on_signal, &touched), -ECANCELED);
    char text[2];
    assert_int_equal(read(ends[0], text, sizeof text), 1); /* what was said is still there */
    close(ends[1]);
    assert_int_equal(prefault_touch(bytes, 0, &on_socket, &touched), -ECANCELED);
    close(ends[0]);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
}

enum interruption { BY_CANCEL, BY_TERM, BY_INT, BY_EOF };

/* A launch with more memory planned than there is, interrupted while that is touched. */
static void interrupt(enum interruption how)
{
    static const char *const modes[] = {"normal"};
    struct client c;
    struct wire_launch q;
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    client_start(&c, &(struct client_options){0});
    client_fake_launch(&q, 1, modes);
    q.prefault_bytes = INT64_MAX;
    uint64_t id = c.next_id++;
    client_send(&c, WIRE_LAUNCH, id, &q, NULL, 0);
    for (unsigned i = 0; i < 5000 && client_descendants(&c) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(client_descendants(&c), 1);
    if (how == BY_EOF) {
        client_stop(&c); /* waits for its end, looks for what is left */
        assert_int_equal(client_supervisors(&c), 0);
        return;
    }
    if (how == BY_CANCEL)
        client_send(&c, WIRE_CANCEL, id, NULL, NULL, 0);
    else
        assert_int_equal(kill(client_worker(&c), how == BY_TERM ? SIGTERM : SIGINT), 0);
    assert_true(client_recv(&c, &m, fds, &count)); /* no runner was started */
    assert_int_equal(m.type, WIRE_REFUSED);
    assert_int_equal(m.launch_id, id);
    assert_int_equal(m.refused.code, ERR_CANCELLED);
    if (how == BY_CANCEL) { /* and the next one runs */
        struct wire_done done;
        assert_int_equal(client_descendants(&c), 0);
        q.prefault_bytes = 0;
        client_run(&c, &q, &done);
        assert_int_equal(done.runners[0].outcome, OUTCOME_OK);
    }
    client_stop(&c);
    assert_int_equal(client_supervisors(&c), 0); /* the child would count as one */
}

static void test_cancel_interrupts(void **state)
{
    (void)state;
    interrupt(BY_CANCEL);
}

static void test_signals_interrupt(void **state)
{
    (void)state;
    interrupt(BY_TERM);
    interrupt(BY_INT);
}

static void test_end_of_stream_interrupts(void **state)
{
    (void)state;
    interrupt(BY_EOF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefault_is_bounded),
        cmocka_unit_test(test_prefault_touches),
        cmocka_unit_test(test_cgroup_room),
        cmocka_unit_test(test_prefault_gives_way),
        cmocka_unit_test(test_cancel_interrupts),
        cmocka_unit_test(test_signals_interrupt),
        cmocka_unit_test(test_end_of_stream_interrupts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
