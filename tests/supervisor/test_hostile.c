/* Messages of a compromised node: each is refused with a code and a message, nothing is started,
 * and the worker lives on. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/supervisor/client.h"

static void workload_far(struct wire_launch *q)
{
    q->workload = 1000;
}
static void workload_oneshot(struct wire_launch *q)
{
    int k = workload_index("table-cold");
    q->workload = (uint32_t)k;
}
static void runners_none(struct wire_launch *q)
{
    q->runners_count = 0;
}
static void runners_many(struct wire_launch *q)
{
    q->runners_count = RING_RUNNERS_MAX + 1;
}
static void rotations_odd(struct wire_launch *q)
{
    q->rotations = 3;
}
static void rotations_many(struct wire_launch *q)
{
    q->rotations = RING_ROTATIONS_MAX + 2;
}
static void rotations_none(struct wire_launch *q)
{
    q->rotations = 0;
}
static void parts_none(struct wire_launch *q)
{
    q->build_parts = 0;
}
static void parts_many(struct wire_launch *q)
{
    q->warm_parts = UINT32_MAX;
}
static void slice_empty(struct wire_launch *q)
{
    q->slice_ops = 0;
}
static void cpus_none(struct wire_launch *q)
{
    q->cpus_count = 0;
}
static void cpus_many(struct wire_launch *q)
{
    q->cpus_count = UINT32_MAX;
}
static void cpu_far(struct wire_launch *q)
{
    q->cpus[0] = 65535;
}
static void cpu_absent(struct wire_launch *q)
{
    q->cpus[0] = 1023;
}
static void cpu_twice(struct wire_launch *q)
{
    q->cpus_count = 2;
    q->cpus[0] = q->cpus[1] = 0;
}
static void threads_none(struct wire_launch *q)
{
    q->subjects[0].point.threads = 0;
}
static void threads_many(struct wire_launch *q)
{
    q->subjects[0].point.threads = RING_THREADS_MAX + 1;
}
static void threads_above_cpus(struct wire_launch *q)
{
    q->subjects[0].point.threads = 2;
}
static void pages_far(struct wire_launch *q)
{
    q->subjects[0].point.pages = 77;
}
static void parameter_far(struct wire_launch *q)
{
    q->subjects[0].point.params[0].u = UINT64_MAX;
}
static void thp_far(struct wire_launch *q)
{
    q->thp = 9;
}
static void turn_none(struct wire_launch *q)
{
    q->turn_ms_max = 0;
}
static void wall_none(struct wire_launch *q)
{
    q->wall_ms_max = 0;
}
static void wall_far(struct wire_launch *q)
{
    q->wall_ms_max = UINT32_MAX;
}
static void pids_none(struct wire_launch *q)
{
    q->pids_max = 0;
}
static void pids_far(struct wire_launch *q)
{
    q->pids_max = UINT32_MAX;
}
static void log_none(struct wire_launch *q)
{
    q->log_bytes_max = 0;
}
static void log_far(struct wire_launch *q)
{
    q->log_bytes_max = UINT32_MAX;
}
static void memory_tiny(struct wire_launch *q)
{
    q->memory_limit_bytes = 4096;
}
static void memory_far(struct wire_launch *q)
{
    q->memory_limit_bytes = UINT64_MAX;
}
static void hugetlb_far(struct wire_launch *q)
{
    q->hugetlb_2m_pages = UINT64_MAX;
}
static void hugetlb_beyond_memory(struct wire_launch *q)
{
    q->hugetlb_2m_pages = UINT64_C(1) << 31;
}
static void hugetlb_1g_beyond_memory(struct wire_launch *q)
{
    q->hugetlb_1g_pages = UINT64_C(1) << 20;
}
static void node_absent(struct wire_launch *q)
{
    q->hugetlb_2m_pages = 1;
    q->mems_mask = UINT64_C(1) << 63;
}
static void tape_announced(struct wire_launch *q)
{
    q->tape_bytes = 4096;
}
static void allocator_unknown(struct wire_launch *q)
{
    snprintf(q->subjects[1].allocator, sizeof q->subjects[1].allocator, "nosuch");
}
static void allocator_empty(struct wire_launch *q)
{
    q->subjects[0].allocator[0] = '\0';
}
static void allocator_path(struct wire_launch *q)
{
    snprintf(q->subjects[0].allocator, sizeof q->subjects[0].allocator, "../../../lib/libc.so.6");
}
static void allocator_endless(struct wire_launch *q)
{
    memset(q->subjects[0].allocator, 'a', sizeof q->subjects[0].allocator);
}
static void option_unknown(struct wire_launch *q)
{
    snprintf(q->subjects[0].options[0], sizeof q->subjects[0].options[0], "LD_PRELOAD=x");
}
static void option_twice(struct wire_launch *q)
{
    memcpy(q->subjects[0].options[1], q->subjects[0].options[0], sizeof q->subjects[0].options[0]);
}
static void option_endless(struct wire_launch *q)
{
    memset(q->subjects[0].options, 'o', sizeof q->subjects[0].options);
}
static void everything(struct wire_launch *q)
{
    memset(q, 0xff, sizeof *q);
}
static void nothing(struct wire_launch *q)
{
    memset(q, 0, sizeof *q);
}

static const struct {
    void (*spoil)(struct wire_launch *q);
    const char *name;
    enum err_code code; /* ERR_NONE: any */
} spoiled[] = {
#define SPOIL(fn, code_) \
    {                    \
        fn, #fn, code_   \
    }
    SPOIL(workload_far, ERR_INVALID),
    SPOIL(workload_oneshot, ERR_INVALID),
    SPOIL(runners_none, ERR_OUT_OF_RANGE),
    SPOIL(runners_many, ERR_OUT_OF_RANGE),
    SPOIL(rotations_odd, ERR_OUT_OF_RANGE),
    SPOIL(rotations_many, ERR_OUT_OF_RANGE),
    SPOIL(rotations_none, ERR_INVALID),
    SPOIL(parts_none, ERR_OUT_OF_RANGE),
    SPOIL(parts_many, ERR_OUT_OF_RANGE),
    SPOIL(slice_empty, ERR_OUT_OF_RANGE),
    SPOIL(cpus_none, ERR_OUT_OF_RANGE),
    SPOIL(cpus_many, ERR_OUT_OF_RANGE),
    SPOIL(cpu_far, ERR_OUT_OF_RANGE),
    SPOIL(cpu_twice, ERR_INVALID),
    SPOIL(threads_none, ERR_OUT_OF_RANGE),
    SPOIL(threads_many, ERR_OUT_OF_RANGE),
    SPOIL(threads_above_cpus, ERR_OUT_OF_RANGE),
    SPOIL(pages_far, ERR_INVALID),
    SPOIL(parameter_far, ERR_OUT_OF_RANGE),
    SPOIL(thp_far, ERR_INVALID),
    SPOIL(turn_none, ERR_OUT_OF_RANGE),
    SPOIL(wall_none, ERR_OUT_OF_RANGE),
    SPOIL(wall_far, ERR_OUT_OF_RANGE),
    SPOIL(pids_none, ERR_OUT_OF_RANGE),
    SPOIL(pids_far, ERR_OUT_OF_RANGE),
    SPOIL(log_none, ERR_OUT_OF_RANGE),
    SPOIL(log_far, ERR_OUT_OF_RANGE),
    SPOIL(memory_tiny, ERR_OUT_OF_RANGE),
    SPOIL(memory_far, ERR_OUT_OF_RANGE),
    SPOIL(hugetlb_far, ERR_OUT_OF_RANGE),
    SPOIL(hugetlb_beyond_memory, ERR_UNAVAILABLE),
    SPOIL(hugetlb_1g_beyond_memory, ERR_UNAVAILABLE),
    SPOIL(node_absent, ERR_UNAVAILABLE),
    SPOIL(tape_announced, ERR_INVALID),
    SPOIL(allocator_unknown, ERR_UNKNOWN_NAME),
    SPOIL(allocator_empty, ERR_UNKNOWN_NAME),
    SPOIL(allocator_path, ERR_UNKNOWN_NAME),
    SPOIL(allocator_endless, ERR_INVALID),
    SPOIL(option_unknown, ERR_UNKNOWN_NAME),
    SPOIL(option_twice, ERR_INVALID),
    SPOIL(option_endless, ERR_INVALID),
    SPOIL(everything, ERR_NONE),
    SPOIL(nothing, ERR_NONE),
#undef SPOIL
};

static const char *const normal[] = {"normal", "normal"};

static void refused_check(const char *name, const struct wire_refused *refused, enum err_code code)
{
    if (code != ERR_NONE && refused->code != code)
        fail_msg("%s: %s (%s), expected %s", name, err_code_name((enum err_code)refused->code),
                 refused->message, err_code_name(code));
    assert_true(refused->code > ERR_NONE && refused->code < ERR_CODE_COUNT_);
    assert_true(refused->message[0] != '\0');
}

/* A worker that was not hurt: the same one, and it still runs a ring. */
static void assert_alive(struct client *c)
{
    client_send(c, WIRE_PING, 5, NULL, NULL, 0);
    client_hello(c);
    assert_int_equal(c->hello.generation, 1);
    struct wire_launch q;
    struct wire_done done;
    client_fake_launch(&q, 2, normal);
    client_run(c, &q, &done);
    assert_int_equal(done.runners[0].outcome, OUTCOME_OK);
    assert_int_equal(done.runners[1].outcome, OUTCOME_OK);
}

static void test_launches(void **state)
{
    struct client *c = *state;
    for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++) {
        struct wire_launch q;
        struct wire_refused refused;
        client_fake_launch(&q, 2, normal);
        spoiled[i].spoil(&q);
        client_run_refused(c, &q, -1, &refused);
        refused_check(spoiled[i].name, &refused, spoiled[i].code);
        assert_int_equal(client_descendants(c), 0);
    }
    assert_alive(c);
}

/* No CPU of that number: refused with the cpuset controller, else the runners say so. */
static void test_cpu_absent(void **state)
{
    struct client *c = *state;
    if (!(c->hello.isolation & ISOLATION_CGROUP_CPUSET))
        skip();
    struct wire_launch q;
    struct wire_refused refused;
    client_fake_launch(&q, 2, normal);
    cpu_absent(&q);
    client_run_refused(c, &q, -1, &refused);
    refused_check("cpu_absent", &refused, ERR_UNAVAILABLE);
}

static int tape_make(size_t bytes, int seals)
{
    int fd = memfd_create("tape", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    if (seals)
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void test_tapes(void **state)
{
    struct client *c = *state;
    const int all = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    const struct {
        int fd;
        uint64_t announced;
    } tapes[] = {
        {tape_make(4096, 0), 4096},
        {tape_make(4096, F_SEAL_GROW | F_SEAL_SHRINK), 4096},
        {tape_make(4096, all & ~F_SEAL_SHRINK), 4096},
        {tape_make(4096, all), 4097},
        {tape_make(4096, all), 4095},
        {tape_make(4096, all), INT64_MAX},
        {tape_make(4096, all), UINT64_MAX},
        {tape_make(4096, all), 0},
        {open("/dev/zero", O_RDONLY | O_CLOEXEC), 4096},
        {open("/proc/self/exe", O_RDONLY | O_CLOEXEC), 4096},
        {pipe_ends[0], 4096},
        {pipe_ends[1], 4096},
    };
    for (size_t i = 0; i < sizeof tapes / sizeof tapes[0]; i++) {
        struct wire_launch q;
        struct wire_refused refused;
        client_fake_launch(&q, 2, normal);
        q.tape_bytes = tapes[i].announced;
        client_run_refused(c, &q, tapes[i].fd, &refused);
        refused_check("tape", &refused, ERR_NONE);
        close(tapes[i].fd);
    }
    assert_alive(c);
}

static void expect_refused(struct client *c, enum err_code code)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    assert_true(client_recv(c, &m, fds, &count));
    assert_int_equal(m.type, WIRE_REFUSED);
    assert_int_equal(m.refused.code, code);
}

static void test_messages(void **state)
{
    struct client *c = *state;
    static const uint32_t types[] = {0,  WIRE_HELLO, WIRE_STARTED, WIRE_DONE, WIRE_REFUSED,
                                     99, UINT32_MAX};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        client_send(c, types[i], 1, NULL, NULL, 0);
        expect_refused(c, ERR_MALFORMED);
    }
    static const size_t sizes[] = {1, 4, sizeof(struct wire_message) - 1,
                                   sizeof(struct wire_message) + 1, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *bytes = calloc(1, sizes[i]);
        assert_non_null(bytes);
        assert_int_equal(send(c->socket, bytes, sizes[i], 0), (ssize_t)sizes[i]);
        free(bytes);
        expect_refused(c, ERR_MALFORMED);
    }
    struct wire_message m = {.magic = WIRE_MAGIC + 1, .type = WIRE_PING};
    assert_int_equal(wire_send(c->socket, &m, NULL, 0), 0);
    expect_refused(c, ERR_MALFORMED);
    /* Descriptors nobody asked for are closed: more of them than a process can hold. */
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fds[WIRE_FDS_MAX];
    for (unsigned i = 0; i < WIRE_FDS_MAX; i++)
        fds[i] = null_fd;
    for (unsigned i = 0; i < 400; i++) {
        client_send(c, WIRE_PING, i, NULL, fds, WIRE_FDS_MAX);
        client_hello(c);
    }
    struct wire_launch q;
    client_fake_launch(&q, 2, normal);
    client_send(c, WIRE_LAUNCH, 9, &q, fds, 2);
    expect_refused(c, ERR_MALFORMED);
    close(null_fd);
    assert_alive(c);
}

static void test_second_launch(void **state)
{
    struct client *c = *state;
    static const char *const hang[] = {"hang", "normal"};
    struct wire_launch q;
    struct wire_message m;
    int fds[WIRE_FDS_MAX], none[WIRE_FDS_MAX];
    unsigned count, none_count;
    client_fake_launch(&q, 2, hang);
    client_send(c, WIRE_LAUNCH, 100, &q, NULL, 0);
    assert_true(client_recv(c, &m, fds, &count));
    assert_int_equal(m.type, WIRE_STARTED);
    client_send(c, WIRE_LAUNCH, 101, &q, NULL, 0);
    expect_refused(c, ERR_CONFLICT);
    client_send(c, WIRE_CANCEL, 99, NULL, NULL, 0); /* of no launch: nothing happens */
    client_send(c, WIRE_CANCEL, 100, NULL, NULL, 0);
    assert_true(client_recv(c, &m, none, &none_count));
    assert_int_equal(m.type, WIRE_DONE);
    assert_int_equal(m.launch_id, 100);
    assert_int_equal(m.done.runners[0].outcome, OUTCOME_CANCELLED);
    while (count > 0)
        close(fds[--count]);
    client_send(c, WIRE_CANCEL, 100, NULL, NULL, 0); /* again: it is over */
    assert_alive(c);
    client_assert_clean(c);
}

static int group_start(void **state)
{
    static struct client c;
    client_start(&c, &(struct client_options){0});
    *state = &c;
    return 0;
}

static int group_stop(void **state)
{
    client_stop(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launches),      cmocka_unit_test(test_cpu_absent),
        cmocka_unit_test(test_tapes),         cmocka_unit_test(test_messages),
        cmocka_unit_test(test_second_launch),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
