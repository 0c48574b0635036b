/* table-warm: the fast path. As table-churn, but every thread keeps to its own slots, so a block
 * is always freed by its maker and slots are plain words. */
#include "workloads/table/table.h"

static const struct param_row warm_params[] = {TABLE_PARAM_ROWS};

static const enum metric_id warm_metrics[] = {
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

static uint64_t warm_warm_ops(const struct workload_point *point)
{
    return 8 * point->params[TABLE_LIVE].u;
}

const struct workload table_warm = {
    .name = "table-warm",
    .family = "alloc",
    .summary = "Random replacement among a thread's own live blocks: the allocator's fast path.",
    .kind = WORKLOAD_STEADY,
    .axis = AXIS_ALLOCATOR,
    .tape = TAPE_CHURN,
    .pages_mask = PAGES_BIT(PAGES_4K) | PAGES_BIT(PAGES_THP) | PAGES_BIT(PAGES_HUGETLB_2M) |
                  PAGES_BIT(PAGES_HUGETLB_1G),
    .threads_max = UINT32_MAX,
    .slice_ops = 20000,
    .params = warm_params,
    .params_count = sizeof warm_params / sizeof warm_params[0],
    .metrics = warm_metrics,
    .metrics_count = sizeof warm_metrics / sizeof warm_metrics[0],
    .build_in_parts = true,
    .heap_bytes = table_heap_bytes,
    .warm_ops = warm_warm_ops,
    .live_ops = table_live_ops,
    .setup = table_setup,
    .build = table_build,
    .step = table_step,
    .settle = table_settle,
    .verify = table_verify,
    .teardown = table_teardown,
};
