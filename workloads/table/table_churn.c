/* table-churn: `live` blocks per thread, replaced at random for ever; a share of the replacements
 * hits a slot of another thread, so the block there is freed by a thread that did not make it.
 * One operation is one replacement: one malloc and one free. At 0 %, and with one thread, slots are
 * exchanged all the same: the loop is no part of the comparison. */
#include "workloads/table/table.h"

static const struct param_row churn_params[] = {
    TABLE_PARAM_ROWS,
    [TABLE_REMOTE_PCT] = PARAM_ROW_U64("remote_pct", 1, 0, 50, "%",
                                       "Share of replacements made in another thread's slot."),
};

static const enum metric_id churn_metrics[] = {
    METRIC_PAIRS_PER_S,       METRIC_NS_PER_PAIR,
    METRIC_FRAG_TOTAL,        METRIC_FRAG_INTERNAL,
    METRIC_FRAG_EXTERNAL,     METRIC_FRAG_PEAK,
    METRIC_HEAP_BYTES,        METRIC_HEAP_PEAK_BYTES,
    METRIC_LIVE_BYTES,        METRIC_HEAP_AFTER_FREE_BYTES,
    METRIC_MINOR_FAULTS,      METRIC_MAJOR_FAULTS,
    METRIC_CPU_OUTSIDE_RATIO, METRIC_INVOLUNTARY_SWITCHES,
    METRIC_MIGRATIONS,        METRIC_HUGE_BYTES,
    METRIC_START_SKEW_RATIO,  TRIAL_ALLOCATOR_METRICS,
};

/* 16 replacements per slot: with the slices of a full ring about four million at the default
 * size, after which the share of waste no longer moves. */
static uint64_t churn_warm_ops(const struct workload_point *point)
{
    return 16 * point->params[TABLE_LIVE].u;
}

const struct workload table_churn = {
    .name = "table-churn",
    .family = "alloc",
    .summary = "Random replacement among live blocks, with frees from other threads: throughput "
               "and fragmentation at steady state.",
    .kind = WORKLOAD_STEADY,
    .axis = AXIS_ALLOCATOR,
    .tape = TAPE_CHURN,
    .pages_mask = PAGES_BIT(PAGES_4K) | PAGES_BIT(PAGES_THP) | PAGES_BIT(PAGES_HUGETLB_2M) |
                  PAGES_BIT(PAGES_HUGETLB_1G),
    .threads_max = UINT32_MAX,
    .slice_ops = 20000,
    .params = churn_params,
    .params_count = sizeof churn_params / sizeof churn_params[0],
    .metrics = churn_metrics,
    .metrics_count = sizeof churn_metrics / sizeof churn_metrics[0],
    .build_in_parts = true,
    .heap_bytes = table_heap_bytes,
    .warm_ops = churn_warm_ops,
    .live_ops = table_live_ops,
    .setup = table_setup,
    .build = table_build,
    .step = table_step,
    .settle = table_settle,
    .verify = table_verify,
    .teardown = table_teardown,
};
