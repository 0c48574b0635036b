/* chase: dependent loads along one random cycle through all cache lines of a buffer, so that each
 * load waits for the one before and next to none is predictable. What changes between the runners
 * of a ring is the page mode: the difference is what address translation costs.
 *
 * One operation is one load. All threads follow the same cycle, from starts spread over it. The
 * node derives ns_per_access from the slices. Page faults, a kernel's second thoughts about huge
 * pages and counters are not in a slice: pages are touched in build and proved before warm-up and
 * again at the end. */
#include <stddef.h>

#include "workloads/pages/cycle.h"
#include "workloads/pages/mapping.h"
#include "workloads/trial.h"

enum { CHASE_BYTES };

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

/* Loads replayed unmeasured at each turn are four times this: the page tables come back into the
 * caches, and small buffers altogether. */
#define CHASE_LIVE_MAX 8192
#define CHASE_WARM_MAX (UINT64_C(1) << 20)

static const struct param_row chase_params[] = {
    [CHASE_BYTES] = PARAM_ROW_SIZE("bytes", 256 * MIB, MIB, TIB,
                                   "Size of the buffer; rounded up to whole pages of the mode."),
};

static const enum metric_id chase_metrics[] = {
    METRIC_NS_PER_ACCESS, METRIC_DTLB_MISSES_PER_ACCESS,  METRIC_HUGE_BYTES,
    METRIC_HEAP_BYTES,    METRIC_FIRST_TOUCH_NS_PER_PAGE, METRIC_MINOR_FAULTS,
    METRIC_MAJOR_FAULTS,  METRIC_CPU_OUTSIDE_RATIO,       METRIC_INVOLUNTARY_SWITCHES,
    METRIC_MIGRATIONS,
};

struct chase_thread {
    _Alignas(128) struct cycle_line *at;
};

struct chase_state {
    struct mapping map;
    struct cycle_line *lines;
    uint64_t lines_count;
    uint64_t touched_bytes, touch_ns;
    uint64_t seed;
    struct chase_thread thread[];
};

static uint64_t chase_heap_bytes(const struct workload_point *point)
{
    return mapping_size(point->params[CHASE_BYTES].u, (enum page_mode)point->pages);
}

static uint64_t chase_hugetlb_pages(const struct workload_point *point)
{
    return mapping_hugetlb_pages(point->params[CHASE_BYTES].u, (enum page_mode)point->pages);
}

static uint64_t chase_lines(const struct workload_point *point)
{
    return point->params[CHASE_BYTES].u / CYCLE_LINE_BYTES;
}

static uint64_t chase_warm_ops(const struct workload_point *point)
{
    const uint64_t lines = chase_lines(point);
    return lines < CHASE_WARM_MAX ? lines : CHASE_WARM_MAX;
}

static uint64_t chase_live_ops(const struct workload_point *point)
{
    const uint64_t quarter = chase_lines(point) / 4;
    return quarter < CHASE_LIVE_MAX ? quarter : CHASE_LIVE_MAX;
}

static int chase_setup(struct trial *t)
{
    struct chase_state *s = trial_shared(t, sizeof *s + t->point->threads * sizeof s->thread[0]);
    if (!s)
        return trial_fail(t, FAIL_SYSTEM, "no memory for the harness");
    int r = mapping_make(t, t->point->params[CHASE_BYTES].u, &s->map);
    if (r < 0)
        return r;
    s->lines = (struct cycle_line *)(void *)s->map.base;
    s->lines_count = chase_lines(t->point);
    s->seed = t->seed;
    t->state = s;
    return 0;
}

/* Fresh pages for lines below `to`, then the lines themselves. */
static int chase_init_lines(struct trial *t, struct chase_state *s, uint64_t from, uint64_t to)
{
    uint64_t end = mapping_size(to * CYCLE_LINE_BYTES, s->map.mode);
    if (to == s->lines_count)
        end = s->map.bytes;
    if (end > s->touched_bytes) {
        int r = mapping_touch(t, &s->map, s->touched_bytes, end, &s->touch_ns);
        if (r < 0)
            return r;
        s->touched_bytes = end;
    }
    cycle_init(s->lines, from, to);
    return 0;
}

static int chase_built(struct trial *t, struct chase_state *s)
{
    for (uint32_t i = 0; i < t->point->threads; i++)
        s->thread[i].at = &s->lines[s->lines_count / t->point->threads * i];
    return mapping_back(t, &s->map);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Units of work: one per line to write it, one per line to mix it in. */
static int chase_build(struct trial *t, uint32_t thread)
{
    struct chase_state *s = t->state;
    const uint64_t n = s->lines_count;
    const uint64_t from = 2 * n * t->part / t->parts, to = 2 * n * (t->part + 1) / t->parts;
    if (thread != 0)
        return 0;
    if (from < n) {
        int r = chase_init_lines(t, s, from, least(to, n));
        if (r < 0)
            return r;
    }
    if (to > n)
        cycle_mix(s->lines, n, from > n ? from - n : 0, to - n, &s->seed);
    return t->part + 1 == t->parts ? chase_built(t, s) : 0;
}

static int chase_step(struct trial *t, uint32_t thread, uint64_t ops)
{
    struct chase_thread *me = &((struct chase_state *)t->state)->thread[thread];
    struct cycle_line *at = me->at;
    for (; ops > 0; ops--)
        at = at->next;
    me->at = at;
    return 0;
}

static int chase_settle(struct trial *t)
{
    struct chase_state *s = t->state;
    uint64_t huge_bytes;
    int r = mapping_check(t, &s->map, &huge_bytes);
    if (r < 0)
        return r;
    trial_metric(t, METRIC_HUGE_BYTES, (double)huge_bytes);
    trial_metric(t, METRIC_HEAP_BYTES, (double)trial_heap_bytes(t));
    trial_metric(t, METRIC_FIRST_TOUCH_NS_PER_PAGE,
                 (double)s->touch_ns / ((double)s->map.bytes / 4096));
    return 0;
}

static int chase_verify(struct trial *t, uint32_t thread)
{
    struct chase_state *s = t->state;
    uint64_t visited;
    if (thread != 0 || cycle_verify(s->lines, s->lines_count, &visited))
        return 0;
    return trial_fail(t, FAIL_VERIFY, "the cycle visits %llu of %llu lines",
                      (unsigned long long)visited, (unsigned long long)s->lines_count);
}

static int chase_teardown(struct trial *t, uint32_t thread)
{
    struct chase_state *s = t->state;
    if (thread == 0)
        mapping_done(&s->map);
    return 0;
}

const struct workload chase = {
    .name = "chase",
    .family = "pages",
    .summary = "Dependent loads along a random cycle through memory, by page size: what address "
               "translation costs.",
    .kind = WORKLOAD_STEADY,
    .axis = AXIS_PAGES,
    .tape = TAPE_NONE,
    .pages_mask = PAGES_BIT(PAGES_4K) | PAGES_BIT(PAGES_THP) | PAGES_BIT(PAGES_HUGETLB_2M) |
                  PAGES_BIT(PAGES_HUGETLB_1G),
    .threads_max = UINT32_MAX,
    .params = chase_params,
    .params_count = sizeof chase_params / sizeof chase_params[0],
    .metrics = chase_metrics,
    .metrics_count = sizeof chase_metrics / sizeof chase_metrics[0],
    .build_in_parts = true,
    .slice_ops = 2000,
    .heap_bytes = chase_heap_bytes,
    .warm_ops = chase_warm_ops,
    .live_ops = chase_live_ops,
    .hugetlb_pages = chase_hugetlb_pages,
    .setup = chase_setup,
    .build = chase_build,
    .step = chase_step,
    .settle = chase_settle,
    .verify = chase_verify,
    .teardown = chase_teardown,
};
