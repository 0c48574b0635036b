/* A workload: what is measured, as data (rows the daemon lists, validates and documents) and as
 * functions (which only heapmark-runner calls, inside a trial).
 *
 * The daemon links the same descriptors and must never call the functions. Functions reach the
 * allocator under test only through trial->alloc, never through libc's malloc, and keep all their
 * own data in trial_shared() memory, so that RssAnon is the allocator's and nobody else's. */
#ifndef HEAPMARK_WORKLOADS_WORKLOAD_H
#define HEAPMARK_WORKLOADS_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/metrics.h"
#include "schema/params.h"

enum workload_kind {
    WORKLOAD_STEADY,  /* runs in rings: build, warm, many slices */
    WORKLOAD_ONESHOT, /* one fresh process per trial, in randomised complete blocks */
};

/* What is varied between the runners of a ring or block, everything else being equal. */
enum workload_axis {
    AXIS_ALLOCATOR, /* subjects are allocators; the control is the job's reference allocator */
    AXIS_PAGES,     /* the workload maps its own pages; the control is page mode 4k */
};

enum page_mode { PAGES_4K, PAGES_THP, PAGES_HUGETLB_2M, PAGES_HUGETLB_1G, PAGES_COUNT_ };
#define PAGES_BIT(mode) (1u << (mode))

const char *page_mode_name(enum page_mode mode); /* "4k", "thp", "hugetlb-2m", "hugetlb-1g" */
int page_mode_parse(const char *name);           /* enum page_mode or -ENOENT */
uint64_t page_mode_bytes(enum page_mode mode);   /* 4096, 2 MiB, 2 MiB, 1 GiB */

enum tape_kind { TAPE_NONE, TAPE_COLD, TAPE_CHURN };

struct trial;

/* What one cell asks for; plain data, filled by the daemon, copied to the runner. */
struct workload_point {
    uint32_t threads;
    uint32_t pages; /* enum page_mode */
    union param_value params[PARAMS_MAX];
};

struct workload {
    const char *name;    /* id in the API: "table-churn" */
    const char *family;  /* "alloc", "pages", "fork" */
    const char *summary; /* one line for the web form */
    enum workload_kind kind;
    enum workload_axis axis;
    enum tape_kind tape;
    unsigned pages_mask;  /* page modes it accepts */
    uint32_t threads_max; /* bound by nature (fork: 1), else UINT32_MAX */
    const struct param_row *params;
    unsigned params_count;
    const enum metric_id *metrics; /* what it reports; the first is its headline */
    unsigned metrics_count;
    bool build_in_parts; /* build() does share trial->part of trial->parts, once per BUILD turn;
                            otherwise it is called once, in the first of them */

    bool checks_pages; /* proves its page mode itself, before it measures: what it does afterwards
                          may undo it (copy on write splits huge pages) */

    uint64_t slice_ops; /* STEADY: default operations of one slice and thread, about 0.3 ms */

    /* Pure figures for planning, called by the daemon. Bytes of heap one runner will hold at its
     * peak for this point (allocator overhead not included), and operations of one thread's
     * fixed warm-up. NULL: none. */
    uint64_t (*heap_bytes)(const struct workload_point *point);
    uint64_t (*warm_ops)(const struct workload_point *point);
    /* Live operations of one thread: sets the unmeasured replay at each turn (baton). */
    uint64_t (*live_ops)(const struct workload_point *point);
    /* hugetlb pages of the point's page mode (2 MiB or 1 GiB) that one runner maps and the
     * supervisor must reserve first; 0 in the other modes. NULL: none ever. */
    uint64_t (*hugetlb_pages)(const struct workload_point *point);

    /* Runner only. Each returns 0 or -errno and says why with trial_fail(). `thread` counts from
     * 0 to point.threads-1; functions with it run on every thread of the trial at once.
     * STEADY order: setup, build*, step* (warm), [step* (replay, unmeasured), step* (slice)]…,
     *               settle, verify*, teardown*.
     * ONESHOT order: setup, run*, settle, verify*, teardown*. */
    int (*setup)(struct trial *t);
    int (*build)(struct trial *t, uint32_t thread);
    int (*step)(struct trial *t, uint32_t thread, uint64_t ops);
    int (*run)(struct trial *t, uint32_t thread);
    int (*settle)(struct trial *t); /* heap figures at steady state; outside measured slices */
    int (*verify)(struct trial *t, uint32_t thread);
    int (*teardown)(struct trial *t, uint32_t thread);
};

/* The visible list, from workloads.def, NULL-terminated. */
extern const struct workload *const workloads[];
const struct workload *workload_find(const char *name);
/* As workload_find, plus -> position; the number on the wire. */
int workload_index(const char *name);

/* Fill params with the rows' defaults, threads 1, pages 4k. */
void workload_defaults(const struct workload *w, struct workload_point *ret_point);

#endif
