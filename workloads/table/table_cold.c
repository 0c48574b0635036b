/* table-cold: a fresh process; after a barrier each thread mallocs `live` blocks, touches them
 * and frees them in the order they were made. Throughput is threads x live over the time from
 * the first thread's start to the last one's end.
 *
 * Between the two phases everybody waits while thread 0 reads how large the heap is with all
 * blocks alive; the clock stands still: the time is that of the malloc phase plus that of the
 * free phase, each from the first start to the last end. The kernel's high-water mark would need
 * no pause, but it is kept in per-CPU counters, a batch too low per CPU, and threads that drift
 * apart never hold all their blocks at once.
 *
 * Then, outside the measurement, every thread fills its slots again: those blocks are what verify
 * looks at, and what internal fragmentation is counted on. */
#include "workloads/table/table.h"

#include <sys/resource.h>

#include "daemon/base/clock.h"

static const struct param_row cold_params[] = {TABLE_PARAM_ROWS};

static const enum metric_id cold_metrics[] = {
    METRIC_PAIRS_PER_S,           METRIC_NS_PER_PAIR,     METRIC_FRAG_PEAK,
    METRIC_FRAG_INTERNAL,         METRIC_HEAP_PEAK_BYTES, METRIC_LIVE_BYTES,
    METRIC_HEAP_AFTER_FREE_BYTES, METRIC_MINOR_FAULTS,    METRIC_MAJOR_FAULTS,
    METRIC_INVOLUNTARY_SWITCHES,  METRIC_MIGRATIONS,      METRIC_HUGE_BYTES,
    TRIAL_ALLOCATOR_METRICS,
};

enum cold_phase { COLD_MALLOC, COLD_FREE };

static uint64_t cold_phase_ns(const struct table_state *s, enum cold_phase phase)
{
    uint64_t start_ns = UINT64_MAX, end_ns = 0;
    for (uint32_t i = 0; i < s->threads; i++) {
        const struct table_thread *t = &s->thread[i];
        start_ns = t->start_ns[phase] < start_ns ? t->start_ns[phase] : start_ns;
        end_ns = t->end_ns[phase] > end_ns ? t->end_ns[phase] : end_ns;
    }
    return end_ns > start_ns ? end_ns - start_ns : 1;
}

/* All threads do one phase together. */
static int cold_timed(struct trial *t, uint32_t thread, enum cold_phase phase)
{
    struct table_thread *me = &table_state(t)->thread[thread];
    const struct table_replay replay = table_replay_of(t, thread);
    int r = trial_barrier(t);
    if (r < 0)
        return r;
    me->start_ns[phase] = clock_monotonic_ns();
    if (phase == COLD_MALLOC)
        r = table_fill_all(t, thread);
    else
        table_drain(&replay, table_state(t)->live);
    me->end_ns[phase] = clock_monotonic_ns();
    return r < 0 ? r : trial_barrier(t);
}

static void cold_report(struct trial *t, const struct rusage *before)
{
    const struct table_state *s = table_state(t);
    struct rusage after;
    (void)getrusage(RUSAGE_SELF, &after);
    const double ns = (double)(cold_phase_ns(s, COLD_MALLOC) + cold_phase_ns(s, COLD_FREE));
    trial_metric(t, METRIC_PAIRS_PER_S, (double)s->threads * s->live * (double)NS_PER_S / ns);
    trial_metric(t, METRIC_NS_PER_PAIR, ns / s->live);
    trial_metric(t, METRIC_MINOR_FAULTS, (double)(after.ru_minflt - before->ru_minflt));
    trial_metric(t, METRIC_MAJOR_FAULTS, (double)(after.ru_majflt - before->ru_majflt));
    trial_metric(t, METRIC_HEAP_PEAK_BYTES, (double)s->peak_bytes);
    trial_metric(t, METRIC_HEAP_AFTER_FREE_BYTES, (double)trial_heap_bytes(t));
}

static int cold_run(struct trial *t, uint32_t thread)
{
    struct rusage before;
    (void)getrusage(RUSAGE_SELF, &before);
    int r = cold_timed(t, thread, COLD_MALLOC);
    if (r < 0)
        return r;
    if (thread == 0)
        table_state(t)->peak_bytes = trial_heap_bytes(t);
    r = cold_timed(t, thread, COLD_FREE);
    if (r < 0)
        return r;
    if (thread == 0)
        cold_report(t, &before);
    r = trial_barrier(t);
    return r < 0 ? r : table_fill_all(t, thread);
}

static int cold_settle(struct trial *t)
{
    const struct table_audit sum = table_audit(t);
    trial_metric(t, METRIC_LIVE_BYTES, (double)sum.requested);
    if (t->alloc.flags & RING_SUBJECT_NULL)
        return 0;
    table_ratio(t, METRIC_FRAG_INTERNAL, sum.usable ? sum.requested : 0, sum.usable);
    if (table_state(t)->touch != TOUCH_NONE)
        table_ratio(t, METRIC_FRAG_PEAK, sum.requested, table_state(t)->peak_bytes);
    return 0;
}

const struct workload table_cold = {
    .name = "table-cold",
    .family = "alloc",
    .summary = "A fresh process fills its heap and empties it again: what page faults and growth "
               "cost.",
    .kind = WORKLOAD_ONESHOT,
    .axis = AXIS_ALLOCATOR,
    .tape = TAPE_COLD,
    .pages_mask = PAGES_BIT(PAGES_4K) | PAGES_BIT(PAGES_THP) | PAGES_BIT(PAGES_HUGETLB_2M) |
                  PAGES_BIT(PAGES_HUGETLB_1G),
    .threads_max = UINT32_MAX,
    .params = cold_params,
    .params_count = sizeof cold_params / sizeof cold_params[0],
    .metrics = cold_metrics,
    .metrics_count = sizeof cold_metrics / sizeof cold_metrics[0],
    .heap_bytes = table_heap_bytes,
    .live_ops = table_live_ops,
    .setup = table_setup,
    .run = cold_run,
    .settle = cold_settle,
    .verify = table_verify,
    .teardown = table_teardown,
};
