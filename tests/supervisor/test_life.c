/* The supervisor's own life: start, stop, kill -9 of each process at any moment, host settings
 * given back, logs, deadlines, real runners. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/hash.h"
#include "daemon/base/io.h"
#include "daemon/supervisor/cgroup_layout.h"
#include "daemon/supervisor/knobs.h"
#include "tests/supervisor/client.h"
#include "workloads/tape/tape.h"

#define THP_FILE   "/sys/kernel/mm/transparent_hugepage/enabled"
#define POOL_FILE  "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define KILL_LOOPS 60

static void sleep_us(unsigned us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

static void start(struct client *c)
{
    client_start(c, &(struct client_options){0});
}

static void test_hello(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    assert_string_equal(c.hello.build_id, ring_build_id());
    assert_int_equal(c.hello.generation, 1);
    assert_true(c.hello.isolation & ISOLATION_NO_NEW_PRIVS);
    assert_true(c.hello.isolation & ISOLATION_RLIMITS);
    assert_true(c.hello.isolation & ISOLATION_CLOSED_FDS);
    assert_true(c.hello.isolation & ISOLATION_PINNED);
    assert_int_equal(!!(c.hello.isolation & ISOLATION_UID), geteuid() == 0);
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++)
        assert_int_equal(c.hello.cgroup_version[i] == 0, c.hello.reason[i][0] != '\0');
    client_stop(&c);
}

static void test_results(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    static const char *const modes[] = {"normal", "normal", "normal"};
    struct wire_launch q;
    struct wire_done done;
    client_fake_launch(&q, 3, modes);
    client_run(&c, &q, &done);
    assert_int_equal(done.isolation, c.hello.isolation);
    for (unsigned i = 0; i < 3; i++) {
        const struct wire_runner_done *d = &done.runners[i];
        static const uint8_t none[32] = {0};
        assert_int_equal(d->outcome, OUTCOME_OK);
        assert_int_equal(d->isolation, c.hello.isolation);
        assert_true(d->turns_done > 40);
        assert_true(d->minor_faults > 0);
        assert_true(memcmp(d->sha256, none, sizeof none) != 0);
        assert_true(d->inode != 0);
        assert_non_null(strstr(d->library_path, "libc.so.6"));
        if (c.hello.isolation & ISOLATION_CGROUP_MEMORY)
            assert_true(d->cgroup_peak_bytes > 0 && d->cgroup_peak_bytes < 64u << 20);
    }
    client_stop(&c);
}

/* Launches and waits for STARTED; the caller closes the descriptors. */
static unsigned begin(struct client *c, const struct wire_launch *q, int *ret_fds)
{
    struct wire_message m;
    unsigned count;
    client_send(c, WIRE_LAUNCH, c->next_id++, q, NULL, 0);
    assert_true(client_recv(c, &m, ret_fds, &count));
    assert_int_equal(m.type, WIRE_STARTED);
    return count;
}

static void close_all(const int *fds, unsigned count)
{
    while (count > 0)
        close(fds[--count]);
}

static void expect_done(struct client *c, struct wire_done *ret)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    assert_true(client_recv(c, &m, fds, &count));
    assert_int_equal(m.type, WIRE_DONE);
    *ret = m.done;
}

/* The node reads pages and logs, and can write neither. */
static void test_descriptors(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    static const char *const modes[] = {"normal", "flood"};
    struct wire_launch q;
    struct wire_done done;
    int fds[WIRE_FDS_MAX];
    client_fake_launch(&q, 2, modes);
    unsigned count = begin(&c, &q, fds);
    expect_done(&c, &done);
    assert_int_equal(done.runners[1].outcome, OUTCOME_OK); /* nobody read its log: no harm */
    for (unsigned i = 0; i < 2; i++) {
        struct stat st;
        assert_int_equal(fstat(fds[i], &st), 0);
        assert_true((uint64_t)st.st_size >= ring_page_size(q.rotations));
        assert_ptr_equal(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fds[i], 0), MAP_FAILED);
        struct ring_page *page = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fds[i], 0);
        assert_true(page != MAP_FAILED);
        assert_int_equal(atomic_load(&page->state), RUNNER_FINISHED);
        assert_int_equal(atomic_load(&page->done), done.runners[i].turns_done);
        munmap(page, (size_t)st.st_size);
    }
    char log[1 << 20];
    size_t used = 0;
    for (ssize_t n; (n = read(fds[3], log + used, sizeof log - used)) > 0;)
        used += (size_t)n;
    assert_true(used >= 4096 && used <= 65536); /* bounded, whatever it wrote */
    assert_memory_equal(log, "fake runner\n", 12);
    close_all(fds, count);
    client_stop(&c);
}

static void test_wall(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    static const char *const modes[] = {"normal", "hang", "normal"};
    struct wire_launch q;
    struct wire_done done;
    client_fake_launch(&q, 3, modes);
    q.wall_ms_max = 1500;
    client_run(&c, &q, &done);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(done.runners[i].outcome, OUTCOME_WALL_TIMEOUT);
    client_stop(&c);
}

static void test_cancel_while_mapping(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    static const char *const modes[] = {"never-map", "normal"};
    struct wire_launch q;
    struct wire_done done;
    int fds[WIRE_FDS_MAX];
    client_fake_launch(&q, 2, modes);
    client_send(&c, WIRE_LAUNCH, 1, &q, NULL, 0);
    sleep_us(300000);
    client_send(&c, WIRE_CANCEL, 1, NULL, NULL, 0);
    struct wire_message m;
    unsigned count;
    assert_true(client_recv(&c, &m, fds, &count));
    assert_int_equal(m.type, WIRE_STARTED);
    expect_done(&c, &done);
    assert_int_equal(done.runners[0].outcome, OUTCOME_CANCELLED);
    assert_int_equal(done.runners[1].outcome, OUTCOME_CANCELLED);
    close_all(fds, count);
    client_stop(&c);
}

static void test_thp(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    char before[128], during[128], after[128];
    client_read_text(THP_FILE, before, sizeof before);
    enum wire_thp original = knobs_thp_parse(before);
    static const char *const modes[] = {"hang"};
    for (uint32_t mode = WIRE_THP_NEVER; mode <= WIRE_THP_ALWAYS; mode++) {
        struct wire_launch q;
        struct wire_done done;
        int fds[WIRE_FDS_MAX];
        client_fake_launch(&q, 1, modes);
        q.thp = mode;
        if (!c.hello.can_set_thp && mode != original) {
            struct wire_refused refused;
            client_run_refused(&c, &q, -1, &refused);
            assert_int_equal(refused.code, ERR_UNAVAILABLE);
            continue;
        }
        unsigned count = begin(&c, &q, fds);
        client_read_text(THP_FILE, during, sizeof during);
        assert_int_equal(knobs_thp_parse(during), mode);
        client_send(&c, WIRE_CANCEL, c.next_id - 1, NULL, NULL, 0);
        expect_done(&c, &done);
        client_read_text(THP_FILE, after, sizeof after);
        assert_string_equal(after, before);
        close_all(fds, count);
    }
    client_stop(&c);
}

static void test_hugepages(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    if (!c.hello.can_reserve_hugetlb) {
        client_stop(&c);
        skip();
    }
    uint64_t before = client_read_u64(POOL_FILE);
    static const char *const modes[] = {"hang"};
    for (unsigned on_node = 0; on_node < 2; on_node++) {
        struct wire_launch q;
        struct wire_done done;
        int fds[WIRE_FDS_MAX];
        client_fake_launch(&q, 1, modes);
        q.hugetlb_2m_pages = 8;
        q.mems_mask = on_node;
        unsigned count = begin(&c, &q, fds);
        assert_true(client_read_u64(POOL_FILE) >= 8);
        client_send(&c, WIRE_CANCEL, c.next_id - 1, NULL, NULL, 0);
        expect_done(&c, &done);
        assert_int_equal(client_read_u64(POOL_FILE), before);
        close_all(fds, count);
    }
    client_stop(&c);
}

static void test_denied(void **state)
{
    (void)state;
    struct client c;
    client_start(&c, &(struct client_options){.extra = {"--deny=thp", "--deny=hugetlb"}});
    assert_int_equal(c.hello.can_set_thp, 0);
    assert_int_equal(c.hello.can_reserve_hugetlb, 0);
    static const char *const modes[] = {"normal"};
    struct wire_launch q;
    struct wire_refused refused;
    client_fake_launch(&q, 1, modes);
    q.thp = WIRE_THP_ALWAYS;
    client_run_refused(&c, &q, -1, &refused);
    assert_int_equal(refused.code, ERR_FORBIDDEN);
    client_fake_launch(&q, 1, modes);
    q.hugetlb_2m_pages = 1;
    client_run_refused(&c, &q, -1, &refused);
    assert_int_equal(refused.code, ERR_FORBIDDEN);
    client_stop(&c);
}

static void test_term(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    static const char *const modes[] = {"hang", "slow", "orphan"};
    struct wire_launch q;
    int fds[WIRE_FDS_MAX];
    client_fake_launch(&q, 3, modes);
    unsigned count = begin(&c, &q, fds);
    assert_int_equal(kill(c.guardian, SIGTERM), 0);
    close_all(fds, count);
    struct wire_message m;
    while (client_recv(&c, &m, fds, &count))
        ;
    client_stop(&c);
}

/* Two on one state directory: the second says so and goes. Two on different ones never meet. */
static void test_two(void **state)
{
    (void)state;
    struct client a, b;
    start(&a);
    start(&b);
    static const char *const modes[] = {"slow", "slow"};
    struct wire_launch q;
    struct wire_done done;
    int fds[WIRE_FDS_MAX];
    client_fake_launch(&q, 2, modes);
    unsigned count = begin(&a, &q, fds);
    assert_int_equal(kill(b.guardian, SIGTERM), 0);
    client_stop(&b);
    expect_done(&a, &done);
    assert_int_equal(done.runners[0].outcome, OUTCOME_OK);
    assert_int_equal(done.runners[1].outcome, OUTCOME_OK);
    close_all(fds, count);
    client_stop(&a);
}

static unsigned random_below(uint64_t *seed, unsigned bound)
{
    *seed = hash_mix(*seed, 1);
    return (unsigned)(*seed % bound);
}

static pid_t any_runner(const struct client *c)
{
    pid_t worker = client_worker(c);
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)worker, (int)worker);
    if (worker == 0 || io_read_file(AT_FDCWD, path, text, sizeof text) <= 0)
        return 0;
    return (pid_t)strtol(text, NULL, 10);
}

/* Read until a HELLO of a new generation, or the end. True if somebody is still there. */
static bool drain_to_hello(struct client *c, uint32_t generation)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    while (client_recv(c, &m, fds, &count)) {
        close_all(fds, count);
        if (m.type == WIRE_HELLO && m.hello.generation > generation) {
            c->hello = m.hello;
            return true;
        }
    }
    return false;
}

/* kill -9 somewhere in the life of a launch, of `who`: 0 a runner, 1 the worker, 2 the guardian. */
static void kill_once(struct client *c, uint64_t *seed, unsigned who)
{
    static const char *const modes[] = {"slow", "orphan", "slow"};
    struct wire_launch q;
    client_fake_launch(&q, 3, modes);
    q.thp = WIRE_THP_ALWAYS;
    q.hugetlb_2m_pages = 2;
    uint64_t id = c->next_id++;
    client_send(c, WIRE_LAUNCH, id, &q, NULL, 0);
    sleep_us(random_below(seed, 120000));
    uint32_t generation = c->hello.generation;
    pid_t victim = who == 0 ? any_runner(c) : who == 1 ? client_worker(c) : c->guardian;
    if (victim > 0)
        (void)kill(victim, SIGKILL);
    if (who == 1) {
        assert_true(drain_to_hello(c, generation));
    } else if (who == 0) {
        struct wire_message m;
        int fds[WIRE_FDS_MAX];
        unsigned count;
        do {
            assert_true(client_recv(c, &m, fds, &count));
            close_all(fds, count);
        } while (m.type != WIRE_DONE && m.type != WIRE_REFUSED);
    } else {
        assert_false(drain_to_hello(c, generation));
        close(c->socket);
        assert_int_equal(waitpid(c->guardian, NULL, 0), c->guardian);
        client_exec(c, &(struct client_options){0}); /* waits for the orphaned worker's lock */
        client_hello(c);
    }
    client_assert_clean(c);
}

static void test_kills(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    if (!c.hello.can_set_thp || !c.hello.can_reserve_hugetlb) {
        client_stop(&c);
        skip();
    }
    char thp[128], now[128];
    client_read_text(THP_FILE, thp, sizeof thp);
    uint64_t pool = client_read_u64(POOL_FILE), seed = 20260701;
    for (unsigned i = 0; i < KILL_LOOPS; i++) {
        /* A worker's back-off doubles each time: most kills hit the others, and a new guardian
         * starts afresh. */
        kill_once(&c, &seed, i % 4 == 3 ? 1 : i % 4 == 1 ? 0 : 2);
        client_read_text(THP_FILE, now, sizeof now);
        assert_string_equal(now, thp);
        assert_int_equal(client_read_u64(POOL_FILE), pool);
    }
    client_stop(&c);
}

/* Both at once: nobody is left to clean up, the next supervisor does. */
static void test_kill_both(void **state)
{
    (void)state;
    struct client c;
    start(&c);
    uint64_t seed = 7;
    for (unsigned i = 0; i < 20; i++) {
        static const char *const modes[] = {"hang", "orphan"};
        struct wire_launch q;
        int fds[WIRE_FDS_MAX];
        client_fake_launch(&q, 2, modes);
        if (c.hello.can_set_thp)
            q.thp = WIRE_THP_NEVER;
        char thp[128], now[128];
        client_read_text(THP_FILE, thp, sizeof thp);
        unsigned count = 0;
        if (i % 2 == 0)
            count = begin(&c, &q, fds);
        else
            client_send(&c, WIRE_LAUNCH, c.next_id++, &q, NULL, 0); /* killed while it starts */
        sleep_us(random_below(&seed, 20000));
        pid_t worker = client_worker(&c);
        (void)kill(worker, SIGSTOP); /* so that it cannot clean up between the two */
        pid_t runner = any_runner(&c);
        if (runner > 0)
            (void)kill(runner, SIGSTOP); /* as a guardian does that is killed halfway */
        (void)kill(c.guardian, SIGKILL);
        (void)kill(worker, SIGKILL);
        assert_int_equal(waitpid(c.guardian, NULL, 0), c.guardian);
        close_all(fds, count);
        close(c.socket);
        for (unsigned k = 0; k < 200 && client_supervisors(&c) > 0; k++)
            sleep_us(10000);
        assert_int_equal(client_supervisors(&c), 0);
        client_exec(&c, &(struct client_options){0});
        client_hello(&c);
        client_read_text(THP_FILE, now, sizeof now);
        assert_string_equal(now, thp);
        assert_int_equal(client_supervisors(&c), 2);
        if (c.hello.isolation & ISOLATION_CGROUP_KILL)
            client_assert_clean(&c);
    }
    client_stop(&c);
}

static void real_launch(struct client *c, const char *workload, struct wire_launch *q,
                        struct wire_done *ret_done)
{
    static const char *const allocators[] = {"glibc", "null", "bump"};
    static const char *const modes[] = {"normal", "normal", "normal"};
    int index = workload_index(workload);
    assert_true(index >= 0);
    const struct workload *w = workloads[index];
    bool is_steady = w->kind == WORKLOAD_STEADY;
    client_fake_launch(q, is_steady ? 3 : 1, modes);
    q->workload = (uint32_t)index;
    q->rotations = is_steady ? 10 : 0;
    q->slice_ops = is_steady ? 1000 : 0;
    int live = param_find(w->params, w->params_count, "live");
    for (unsigned i = 0; i < q->runners_count; i++) {
        struct wire_subject *s = &q->subjects[i];
        snprintf(s->allocator, sizeof s->allocator, "%s", allocators[i]);
        s->options[0][0] = '\0';
        workload_defaults(w, &s->point);
        if (live >= 0)
            s->point.params[live].u = 1000;
    }
    struct tape_spec spec;
    struct err e;
    int tape_fd;
    assert_int_equal(tape_spec_for(w, &q->subjects[0].point, 1, &spec, &e), 0);
    assert_int_equal(tape_generate(&spec, &tape_fd, &q->tape_bytes, &e), 0);
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    client_send(c, WIRE_LAUNCH, c->next_id++, q, &tape_fd, 1);
    close(tape_fd);
    assert_true(client_recv(c, &m, fds, &count));
    assert_int_equal(m.type, WIRE_STARTED);
    expect_done(c, ret_done);
    for (unsigned i = 0; i < q->runners_count; i++) {
        char log[4096];
        ssize_t n = read(fds[q->runners_count + i], log, sizeof log);
        if (ret_done->runners[i].outcome != OUTCOME_OK)
            fail_msg("%s, %s: %s: %.*s", workload, allocators[i],
                     wire_outcome_name((enum wire_outcome)ret_done->runners[i].outcome),
                     n > 0 ? (int)n : 0, log);
    }
    close_all(fds, count);
}

/* The real runner, a ring and a one-shot trial, on what needs nothing installed. */
static void test_real_runner(void **state)
{
    (void)state;
    struct client c;
    client_start(&c, &(struct client_options){.runner = "bin/heapmark-runner"});
    struct wire_launch q;
    struct wire_done done;
    real_launch(&c, "table-churn", &q, &done);
    assert_int_equal(done.runners[0].turns_done > 10, 1);
    real_launch(&c, "table-cold", &q, &done);
    client_stop(&c);
}

static void test_prefault(void **state)
{
    (void)state;
    static const char *const modes[] = {"normal"};
    struct client c;
    struct wire_launch q;
    struct wire_done done;
    start(&c);
    client_fake_launch(&q, 1, modes);
    client_run(&c, &q, &done);
    assert_int_equal(done.prefault_bytes, 0);
    q.prefault_bytes = UINT64_C(50) << 20;
    client_run(&c, &q, &done);
    assert_int_equal(done.runners[0].outcome, OUTCOME_OK);
    assert_int_equal(done.prefault_bytes, UINT64_C(50) << 20);
    /* Not the runner's: neither its faults nor its group's memory. */
    assert_true(done.runners[0].minor_faults < (UINT64_C(50) << 20) / 4096);
    assert_true(done.runners[0].cgroup_peak_bytes < UINT64_C(50) << 20);
    client_stop(&c);
}

/* It moves to the CPU a launch leaves it, and back; runners go where they shall all the same. */
static void test_own_cpu(void **state)
{
    (void)state;
    static const char *const modes[] = {"normal"};
    struct client c;
    struct wire_launch q;
    struct wire_done done;
    struct wire_refused refused;
    cpu_set_t before, now;
    start(&c);
    assert_int_equal(sched_getaffinity(client_worker(&c), sizeof before, &before), 0);
    if (CPU_COUNT(&before) < 2) {
        client_stop(&c);
        skip();
    }
    uint16_t last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &before))
        last--;
    client_fake_launch(&q, 1, modes);
    q.own_cpu = last + 1u;
    while (!CPU_ISSET(q.cpus[0], &before))
        q.cpus[0]++;
    client_run(&c, &q, &done);
    assert_int_equal(done.runners[0].outcome, OUTCOME_OK);
    assert_true(done.isolation & ISOLATION_PINNED);
    assert_int_equal(sched_getaffinity(client_worker(&c), sizeof now, &now), 0);
    assert_true(CPU_COUNT(&now) == 1 && CPU_ISSET(last, &now));
    q.own_cpu = 0;
    client_run(&c, &q, &done);
    assert_int_equal(sched_getaffinity(client_worker(&c), sizeof now, &now), 0);
    assert_true(CPU_EQUAL(&now, &before));
    q.own_cpu = 5000;
    client_run_refused(&c, &q, -1, &refused);
    assert_string_equal(refused.field, "/own_cpu");
    client_stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_wall),
        cmocka_unit_test(test_cancel_while_mapping),
        cmocka_unit_test(test_thp),
        cmocka_unit_test(test_hugepages),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_term),
        cmocka_unit_test(test_two),
        cmocka_unit_test(test_kills),
        cmocka_unit_test(test_kill_both),
        cmocka_unit_test(test_real_runner),
        cmocka_unit_test(test_prefault),
        cmocka_unit_test(test_own_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
