/* The baton: wait for one's turn, do it, hand over. See workloads/ring/ring.h for the protocol.
 * Main thread. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/base/clock.h"
#include "workloads/runner/runner.h"

static bool turns_dropped(const struct runner *r, uint32_t runner)
{
    /* Sequentially consistent, as the store in turns_done(): see there. */
    return atomic_load_explicit(&r->pages[runner]->done, memory_order_seq_cst) == RING_DROPPED;
}

/* Wait until every turn before `turn` is over: the owner of the nearest earlier turn that is not
 * ours and not dropped has passed it. A drop while we wait changes the word we sleep on. */
static void turns_wait(const struct runner *r, uint32_t turn)
{
    const struct ring_turn *turns = r->plan->turns;
    for (uint32_t k = turn; k-- > 0;) {
        const uint32_t owner = turns[k].runner;
        if (owner == r->index)
            return; /* everything before our own last turn was over when we had it */
        const _Atomic uint32_t *word = &r->pages[owner]->done;
        uint32_t done;
        /* Acquire: partner of the owner's store in turns_done(), or of the supervisor's. */
        while ((done = atomic_load_explicit(word, memory_order_seq_cst)) <= k)
            futex_wait(word, done, 1u << r->index);
        if (done != RING_DROPPED)
            return;
    }
}

/* Our turn is over: publish, then wake the owner of the next one. Store and the loads after it
 * are sequentially consistent: a successor that sees its predecessor dropped, walks back to us
 * and goes to sleep on our old word would otherwise race with our look at who comes next. */
static void turns_done(struct runner *r, uint32_t turn)
{
    atomic_store_explicit(&r->page->done, turn + 1, memory_order_seq_cst);
    for (uint32_t k = turn + 1; k < r->plan->turns_count; k++) {
        const uint32_t owner = r->plan->turns[k].runner;
        if (owner == r->index)
            return;
        if (turns_dropped(r, owner))
            continue;
        futex_wake(&r->page->done, 1u << owner);
        return;
    }
}

void turns_drop(struct runner *r)
{
    /* Relaxed: the store after them publishes both. */
    const uint32_t done = atomic_load_explicit(&r->page->done, memory_order_relaxed);
    atomic_store_explicit(&r->page->done_before_drop, done, memory_order_relaxed);
    atomic_store_explicit(&r->page->done, RING_DROPPED, memory_order_seq_cst);
    futex_wake(&r->page->done, FUTEX_ALL);
}

/* Share `part` of `parts` of `whole`. */
static uint64_t turns_share(uint64_t whole, const struct ring_turn *turn)
{
    const uint64_t each = whole / turn->parts;
    return turn->part + 1 == turn->parts ? whole - each * turn->part : each;
}

static int turns_build(struct runner *r, const struct ring_turn *turn)
{
    const bool shares = r->trial.workload->build_in_parts;
    if (!shares && turn->part > 0)
        return 0;
    r->trial.part = shares ? turn->part : 0;
    r->trial.parts = shares ? turn->parts : 1;
    return crew_do(r, CREW_BUILD, 0, 0);
}

/* After the slice: earliest start, latest end, sums over the threads. */
static void turns_record(struct runner *r, const struct ring_turn *turn)
{
    struct ring_slice slice = {.start_ns = UINT64_MAX, .ops = r->plan->slice_ops};
    uint64_t dtlb = 0, last_start_ns = 0;
    for (uint32_t i = 0; i < r->crew.threads; i++) {
        const struct crew_thread *t = &r->crew.thread[i];
        slice.start_ns = t->start_ns < slice.start_ns ? t->start_ns : slice.start_ns;
        last_start_ns = t->start_ns > last_start_ns ? t->start_ns : last_start_ns;
        slice.end_ns = t->end_ns > slice.end_ns ? t->end_ns : slice.end_ns;
        slice.involuntary_switches += (uint32_t)t->gained.involuntary_switches;
        slice.migrations += (uint32_t)t->gained.migrations;
        dtlb += t->gained.dtlb_misses;
    }
    r->page->slices[turn->rotation] = slice;
    if (r->page->slices_count < turn->rotation + 1u)
        r->page->slices_count = turn->rotation + 1u;
    if (r->sums.skew && slice.end_ns > slice.start_ns)
        r->sums.skew[r->sums.skews++] =
            (double)(last_start_ns - slice.start_ns) / (double)(slice.end_ns - slice.start_ns);
    r->sums.involuntary_switches += slice.involuntary_switches;
    r->sums.migrations += slice.migrations;
    r->sums.dtlb_misses += dtlb;
    r->sums.ops += slice.ops;
}

static int turns_measure(struct runner *r, const struct ring_turn *turn)
{
    struct turn_sums *sums = &r->sums;
    struct rusage before, after;
    const uint64_t entered_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (sums->process_left_ns != 0)
        sums->process_outside_ns += entered_ns - sums->process_left_ns;
    (void)getrusage(RUSAGE_SELF, &before);
    int e = crew_do(r, CREW_SLICE, r->plan->replay_ops, r->plan->slice_ops);
    if (e < 0)
        return e;
    (void)getrusage(RUSAGE_SELF, &after);
    sums->minor_faults += (uint64_t)(after.ru_minflt - before.ru_minflt);
    sums->major_faults += (uint64_t)(after.ru_majflt - before.ru_majflt);
    turns_record(r, turn);
    sums->process_left_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    sums->process_inside_ns += sums->process_left_ns - entered_ns;
    return 0;
}

/* A figure the workload counted itself, over less, stands. */
static void turns_report(struct runner *r, enum metric_id metric, uint64_t value)
{
    for (uint32_t i = 0; i < r->page->metrics_count; i++)
        if (r->page->metrics[i].metric == (uint32_t)metric)
            return;
    trial_metric(&r->trial, metric, (double)value);
}

/* Nothing from malloc, which qsort takes. After the last figure of the heap. */
static double turns_median(double *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const double value = values[i];
        uint32_t k = i;
        for (; k > 0 && values[k - 1] > value; k--)
            values[k] = values[k - 1];
        values[k] = value;
    }
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static void turns_report_dtlb(struct runner *r)
{
    const struct turn_sums *s = &r->sums;
    int missing = 0;
    for (uint32_t i = 0; i < r->crew.threads; i++)
        if (r->crew.thread[i].perf.dtlb_fd < 0)
            missing = r->crew.thread[i].perf.dtlb_fd;
    if (!trial_lists(&r->trial, METRIC_DTLB_MISSES_PER_ACCESS))
        return;
    if (missing < 0)
        trial_absent(&r->trial, METRIC_DTLB_MISSES_PER_ACCESS,
                     "this CPU or host does not count them: %s", strerrordesc_np(-missing));
    else if (s->ops > 0)
        trial_metric(&r->trial, METRIC_DTLB_MISSES_PER_ACCESS,
                     (double)s->dtlb_misses / (double)(s->ops * r->crew.threads));
}

/* CPU used between turns, less what our own threads needed to sleep and wake up: what is left
 * are threads of the allocator. */
static void turns_report_sums(struct runner *r)
{
    const struct turn_sums *s = &r->sums;
    uint64_t own_ns = 0;
    for (uint32_t i = 0; i < r->crew.threads; i++)
        own_ns += r->crew.thread[i].cpu_outside_ns;
    const uint64_t outside_ns = s->process_outside_ns > own_ns ? s->process_outside_ns - own_ns : 0;
    if (s->process_inside_ns > 0)
        trial_metric(&r->trial, METRIC_CPU_OUTSIDE_RATIO,
                     (double)outside_ns / (double)s->process_inside_ns);
    turns_report(r, METRIC_MINOR_FAULTS, s->minor_faults);
    turns_report(r, METRIC_MAJOR_FAULTS, s->major_faults);
    turns_report(r, METRIC_INVOLUNTARY_SWITCHES, s->involuntary_switches);
    turns_report(r, METRIC_MIGRATIONS, s->migrations);
    if (s->skews > 0)
        trial_metric(&r->trial, METRIC_START_SKEW_RATIO, turns_median(s->skew, s->skews));
    turns_report_dtlb(r);
}

/* After the last measured operation: figures, the page check, verification, freeing. */
static int turns_settle(struct runner *r)
{
    const struct workload *w = r->trial.workload;
    int e = w->settle ? w->settle(&r->trial) : 0;
    if (e < 0 && !runner_failed(r))
        return runner_fail(r, FAIL_SYSTEM, "%s, settle: %s", w->name, strerrordesc_np(-e));
    if (e == 0)
        e = heap_check_pages(r);
    if (e == 0)
        stats_steady(r);
    if (e == 0)
        e = crew_do(r, CREW_VERIFY, 0, 0);
    if (e == 0)
        e = crew_do(r, CREW_TEARDOWN, 0, 0);
    if (e == 0 && trial_lists(&r->trial, METRIC_HEAP_AFTER_FREE_BYTES))
        turns_report(r, METRIC_HEAP_AFTER_FREE_BYTES, trial_heap_bytes(&r->trial));
    if (e == 0)
        stats_freed(r);
    if (e == 0)
        turns_report_sums(r);
    return e == 0 && runner_failed(r) ? -EIO : e;
}

/* A one-shot trial counts faults and switches over run() as a whole. */
static int turns_oneshot(struct runner *r)
{
    struct rusage before, after;
    (void)getrusage(RUSAGE_SELF, &before);
    int e = crew_do(r, CREW_RUN, 0, 0);
    if (e < 0)
        return e;
    (void)getrusage(RUSAGE_SELF, &after);
    r->sums.minor_faults = (uint64_t)(after.ru_minflt - before.ru_minflt);
    r->sums.major_faults = (uint64_t)(after.ru_majflt - before.ru_majflt);
    for (uint32_t i = 0; i < r->crew.threads; i++) {
        r->sums.involuntary_switches += r->crew.thread[i].gained.involuntary_switches;
        r->sums.migrations += r->crew.thread[i].gained.migrations;
    }
    return turns_settle(r);
}

static int turns_do(struct runner *r, const struct ring_turn *turn)
{
    switch ((enum ring_phase)turn->phase) {
    case RING_BUILD:
        return turns_build(r, turn);
    case RING_WARM:
        return crew_do(r, CREW_STEP, 0, turns_share(r->plan->warm_ops, turn));
    case RING_MEASURE:
        return turns_measure(r, turn);
    case RING_SETTLE:
        return turns_settle(r);
    case RING_RUN:
        return turns_oneshot(r);
    }
    return runner_fail(r, FAIL_PROTOCOL, "phase %u", turn->phase);
}

/* Only where threads can start apart. Shared memory, so that it is not taken for heap. */
static int turns_prepare(struct runner *r)
{
    if (r->crew.threads < 2 || !trial_lists(&r->trial, METRIC_START_SKEW_RATIO))
        return 0;
    r->sums.skew = trial_shared(&r->trial, r->plan->rotations * sizeof r->sums.skew[0]);
    return r->sums.skew ? 0 : runner_fail(r, FAIL_SYSTEM, "no memory for the harness's figures");
}

int turns_run(struct runner *r)
{
    bool running = false;
    int prepared = turns_prepare(r);
    if (prepared < 0)
        return prepared;
    for (uint32_t k = 0; k < r->plan->turns_count; k++) {
        const struct ring_turn *turn = &r->plan->turns[k];
        if (turn->runner != r->index)
            continue;
        turns_wait(r, k);
        if (!running)
            join_report(r, RUNNER_RUNNING);
        running = true;
        int e = turns_do(r, turn);
        if (e < 0)
            return e;
        turns_done(r, k);
    }
    return 0;
}
