/* table-cold: a fresh process; after a barrier each thread mallocs `live` blocks, touches them
 * and frees them in the order they were made. Throughput is threads x live over the time from
 * the first thread's start to the last one's end, both phases included.
 *
 * The peak is not read between the phases, which would be inside the timed region: it comes from
 * the kernel's high-water mark afterwards. When threads run out of step, not all blocks need be
 * alive at once, so a second, untimed fill follows. Its blocks are all alive together: they give
 * the fragmentation figures, what verify looks at, and a peak worth the name. */
#include "workloads/table/table.h"

#include "daemon/base/clock.h"

static const struct param_row cold_params[] = {TABLE_PARAM_ROWS};

static const enum metric_id cold_metrics[] = {
    METRIC_PAIRS_PER_S,          METRIC_NS_PER_PAIR,
    METRIC_FRAG_TOTAL,           METRIC_FRAG_INTERNAL,
    METRIC_FRAG_EXTERNAL,        METRIC_FRAG_PEAK,
    METRIC_HEAP_BYTES,           METRIC_HEAP_PEAK_BYTES,
    METRIC_LIVE_BYTES,           METRIC_HEAP_AFTER_FREE_BYTES,
    METRIC_MINOR_FAULTS,         METRIC_MAJOR_FAULTS,
    METRIC_INVOLUNTARY_SWITCHES, METRIC_MIGRATIONS,
    METRIC_HUGE_BYTES,
};

static void cold_report(struct trial *t)
{
    const struct table_state *s = table_state(t);
    uint64_t start_ns = UINT64_MAX, end_ns = 0;
    for (uint32_t i = 0; i < s->threads; i++) {
        start_ns = s->thread[i].start_ns < start_ns ? s->thread[i].start_ns : start_ns;
        end_ns = s->thread[i].end_ns > end_ns ? s->thread[i].end_ns : end_ns;
    }
    const double ns = end_ns > start_ns ? (double)(end_ns - start_ns) : 1.0;
    trial_metric(t, METRIC_PAIRS_PER_S, (double)s->threads * s->live * (double)NS_PER_S / ns);
    trial_metric(t, METRIC_NS_PER_PAIR, ns / s->live);
}

static int cold_run(struct trial *t, uint32_t thread)
{
    struct table_state *s = table_state(t);
    struct table_thread *me = &s->thread[thread];
    const struct table_replay replay = table_replay_of(t, thread);
    int r = trial_barrier(t);
    if (r < 0)
        return r;
    me->start_ns = clock_monotonic_ns();
    r = table_fill_all(t, thread);
    if (r < 0)
        return r;
    table_drain(&replay, s->live);
    me->end_ns = clock_monotonic_ns();
    r = trial_barrier(t);
    if (r < 0)
        return r;
    if (thread == 0)
        cold_report(t);
    return table_fill_all(t, thread);
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
    .settle = table_settle,
    .verify = table_verify,
    .teardown = table_teardown,
};
