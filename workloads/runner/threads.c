/* The threads of a trial. Thread 0 is the main thread; workers sleep on a futex between jobs.
 * For a slice all of them replay unmeasured, meet twice at a spinning barrier, and run the measured
 * part together. The first meeting waits for whoever was woken late or replays slower, perhaps
 * asleep; at the second all are awake and nobody makes a system call between the last one's
 * arrival and the clock. How far apart they started all the same is recorded (turns.c). */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "workloads/runner/runner.h"

#define STACK_SIZE    (512u << 10)
#define STACK_TOUCHED (96u << 10) /* pre-faulted, so that growth is not taken for heap */
#define STACK_GUARD   4096u

/* How long to spin before sleeping. At a barrier: longer than threads that run on CPUs of their own
 * ever drift apart or take to wake up, after which somebody shares a CPU with us and must be let
 * run. At the end of a job, outside any measurement: only what saves most sleeps. */
#define BARRIER_SPIN_NS (5 * NS_PER_MS)
#define JOB_SPIN_NS     (NS_PER_MS / 20)
#define SPIN_ROUND      64 /* pauses from one look at the clock to the next */

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until *word != value or `ns` are over; what the word was last. */
static uint32_t spin(const _Atomic uint32_t *word, uint32_t value, uint64_t ns)
{
    const uint64_t until_ns = clock_monotonic_ns() + ns;
    do
        for (unsigned i = 0; i < SPIN_ROUND; i++) {
            const uint32_t now = atomic_load_explicit(word, memory_order_acquire);
            if (now != value)
                return now;
            cpu_relax();
        }
    while (clock_monotonic_ns() < until_ns);
    return value;
}

/* Until *word != value, or the trial has failed (crew_release changes the words). */
static uint32_t sleep_wait(const _Atomic uint32_t *word, uint32_t value)
{
    uint32_t now;
    while ((now = atomic_load_explicit(word, memory_order_acquire)) == value)
        futex_wait(word, value, FUTEX_ALL);
    return now;
}

/* Sequentially consistent with the release in crew_meet(): either it sees the sleeper and wakes,
 * or the sleeper's futex_wait sees the new generation and returns. */
static void barrier_wait(struct crew *c, uint32_t generation)
{
    if (spin(&c->barrier_generation, generation, BARRIER_SPIN_NS) != generation)
        return;
    atomic_fetch_add_explicit(&c->barrier_sleepers, 1, memory_order_seq_cst);
    (void)sleep_wait(&c->barrier_generation, generation);
    atomic_fetch_sub_explicit(&c->barrier_sleepers, 1, memory_order_seq_cst);
}

int crew_meet(struct runner *r)
{
    struct crew *c = &r->crew;
    /* Read before counting in: after the last one counts in, it changes. Acquire-release: what
     * each did before the barrier is seen by all after it. */
    uint32_t generation = atomic_load_explicit(&c->barrier_generation, memory_order_acquire);
    if (runner_failed(r))
        return -ECANCELED;
    if (atomic_fetch_add_explicit(&c->barrier_count, 1, memory_order_acq_rel) + 1 == c->threads) {
        atomic_store_explicit(&c->barrier_count, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&c->barrier_generation, 1, memory_order_seq_cst);
        if (atomic_load_explicit(&c->barrier_sleepers, memory_order_seq_cst) > 0)
            futex_wake(&c->barrier_generation, FUTEX_ALL);
    } else {
        barrier_wait(c, generation);
    }
    return runner_failed(r) ? -ECANCELED : 0;
}

int crew_barrier(struct runner *r)
{
    int e = crew_meet(r);
    return e < 0 ? e : crew_meet(r);
}

void crew_release(struct runner *r)
{
    /* The failure was recorded before: whoever reads the old generation after this sees it, and
     * whoever waits is let go. */
    atomic_fetch_add_explicit(&r->crew.barrier_generation, 1, memory_order_acq_rel);
    futex_wake(&r->crew.barrier_generation, FUTEX_ALL);
}

static struct perf_sample perf_since(struct crew_thread *t, const struct perf_sample *before)
{
    const struct perf_sample after = perf_read(t);
    return (struct perf_sample){
        .involuntary_switches = after.involuntary_switches - before->involuntary_switches,
        .migrations = after.migrations - before->migrations,
        .dtlb_misses = after.dtlb_misses - before->dtlb_misses,
    };
}

static int crew_run(struct runner *r, struct crew_thread *t)
{
    const struct perf_sample before = perf_read(t);
    int e = r->trial.workload->run(&r->trial, t->index);
    t->gained = perf_since(t, &before);
    return e;
}

static int crew_slice(struct runner *r, struct crew_thread *t)
{
    const struct workload *w = r->trial.workload;
    const uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    if (t->cpu_left_ns != 0)
        t->cpu_outside_ns += cpu_ns - t->cpu_left_ns;
    int e = r->crew.replay_ops ? w->step(&r->trial, t->index, r->crew.replay_ops) : 0;
    if (e == 0)
        e = crew_meet(r);
    if (e == 0) {
        const struct perf_sample before = perf_read(t);
        e = crew_meet(r);
        t->start_ns = clock_monotonic_ns();
        if (e == 0)
            e = w->step(&r->trial, t->index, r->crew.ops);
        t->end_ns = clock_monotonic_ns();
        t->gained = perf_since(t, &before);
    }
    t->cpu_left_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    return e;
}

static int crew_job(struct runner *r, struct crew_thread *t)
{
    struct trial *trial = &r->trial;
    const struct workload *w = trial->workload;
    switch (r->crew.job) {
    case CREW_BUILD:
        return w->build ? w->build(trial, t->index) : 0;
    case CREW_STEP:
        return w->step(trial, t->index, r->crew.ops);
    case CREW_SLICE:
        return crew_slice(r, t);
    case CREW_RUN:
        return crew_run(r, t);
    case CREW_VERIFY:
        return w->verify ? w->verify(trial, t->index) : 0;
    case CREW_TEARDOWN:
        return w->teardown ? w->teardown(trial, t->index) : 0;
    }
    return -EINVAL;
}

static void crew_work(struct runner *r, struct crew_thread *t)
{
    t->result = crew_job(r, t);
    if (t->result < 0 && !runner_failed(r))
        (void)runner_fail(r, FAIL_SYSTEM, "%s, thread %u: %s", r->trial.workload->name, t->index,
                          strerrordesc_np(-t->result));
}

static void crew_arrive(struct crew *c)
{
    /* Release: results of the job; partner: the acquire in crew_wait(). */
    uint32_t arrived = atomic_fetch_add_explicit(&c->arrived, 1, memory_order_acq_rel) + 1;
    if (arrived + 1 >= c->threads)
        futex_wake(&c->arrived, FUTEX_ALL);
}

static void crew_wait(struct crew *c)
{
    uint32_t arrived = 0, now;
    while (arrived + 1 < c->threads) {
        now = spin(&c->arrived, arrived, JOB_SPIN_NS);
        arrived = now == arrived ? sleep_wait(&c->arrived, arrived) : now;
    }
}

/* Sleeps at once: between turns a runner uses no CPU. */
static void crew_sleep(struct crew *c, uint32_t generation)
{
    while (atomic_load_explicit(&c->generation, memory_order_acquire) == generation)
        futex_wait(&c->generation, generation, FUTEX_ALL);
}

static void *crew_main(void *arg)
{
    struct crew_thread *t = arg;
    struct runner *r = t->runner;
    t->result = pin_thread(r, t->index);
    perf_open(r, t);
    for (uint32_t generation = 0;; generation++) {
        crew_arrive(&r->crew);
        crew_sleep(&r->crew, generation);
        crew_work(r, t);
    }
    return NULL;
}

static void stack_touch(volatile char *top)
{
    for (unsigned i = 4096; i < STACK_TOUCHED; i += 4096)
        top[-(ptrdiff_t)i] = 0;
}

static __attribute__((noinline)) void stack_touch_main(void)
{
    volatile char here[STACK_TOUCHED];
    stack_touch(here + sizeof here);
}

/* Private memory, since a forked child must have its own; never on huge pages. */
static int crew_thread_new(struct runner *r, struct crew_thread *t)
{
    pthread_attr_t attributes;
    char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return runner_fail(r, FAIL_SYSTEM, "no memory for a thread's stack");
    (void)madvise(stack, STACK_SIZE, MADV_NOHUGEPAGE);
    (void)mprotect(stack, STACK_GUARD, PROT_NONE);
    stack_touch(stack + STACK_SIZE);
    int e = pthread_attr_init(&attributes);
    if (e == 0)
        e = pthread_attr_setstack(&attributes, stack + STACK_GUARD, STACK_SIZE - STACK_GUARD);
    if (e == 0)
        e = pthread_create(&t->handle, &attributes, crew_main, t);
    return e == 0 ? 0
                  : runner_fail(r, FAIL_SYSTEM, "thread %u cannot start: %s", t->index,
                                strerrordesc_np(e));
}

int crew_start(struct runner *r)
{
    struct crew *c = &r->crew;
    stack_touch_main();
    c->threads = r->subject->point.threads;
    for (uint32_t i = 0; i < c->threads; i++)
        c->thread[i] = (struct crew_thread){.runner = r, .index = i, .handle = pthread_self()};
    int e = pin_thread(r, 0);
    if (e < 0)
        return e;
    perf_open(r, &c->thread[0]);
    for (uint32_t i = 1; i < c->threads; i++)
        if ((e = crew_thread_new(r, &c->thread[i])) < 0)
            return e;
    crew_wait(c);
    for (uint32_t i = 1; i < c->threads; i++)
        if (c->thread[i].result < 0)
            return c->thread[i].result;
    return 0;
}

int crew_do(struct runner *r, enum crew_job job, uint64_t replay_ops, uint64_t ops)
{
    struct crew *c = &r->crew;
    c->job = job;
    c->replay_ops = replay_ops;
    c->ops = ops;
    atomic_store_explicit(&c->arrived, 0, memory_order_relaxed);
    if (c->threads > 1) {
        atomic_fetch_add_explicit(&c->generation, 1, memory_order_release);
        futex_wake(&c->generation, FUTEX_ALL);
    }
    crew_work(r, &c->thread[0]);
    crew_wait(c);
    for (uint32_t i = 0; i < c->threads; i++)
        if (c->thread[i].result < 0)
            return c->thread[i].result;
    return runner_failed(r) ? -ECANCELED : 0;
}
