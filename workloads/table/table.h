/* What table-cold, table-churn and table-warm share: parameters, slots, building, the audit of
 * what is alive, verification, teardown. Functions are workload callbacks (workload.h) and run
 * only inside heapmark-runner. */
#ifndef HEAPMARK_WORKLOADS_TABLE_TABLE_H
#define HEAPMARK_WORKLOADS_TABLE_TABLE_H

#include <stdint.h>

#include "workloads/table/table_replay.h"
#include "workloads/trial.h"
#include "workloads/workload.h"

/* Rows shared by the three, always first and in this order; churn adds remote_pct. */
enum table_param { TABLE_LIVE, TABLE_SIZE_MIN, TABLE_SIZE_MAX, TABLE_TOUCH, TABLE_REMOTE_PCT };

#define TABLE_LIVE_DEFAULT 100000

extern const char *const table_touch_choices[];

#define TABLE_PARAM_ROWS                                                                        \
    [TABLE_LIVE] = PARAM_ROW_U64("live", TABLE_LIVE_DEFAULT, 1, 1000000, "blocks",              \
                                 "Blocks alive per thread."),                                   \
    [TABLE_SIZE_MIN] =                                                                          \
        PARAM_ROW_SIZE("size_min_bytes", 16, 1, 1048576, "Smallest block; sizes are uniform."), \
    [TABLE_SIZE_MAX] = PARAM_ROW_SIZE("size_max_bytes", 1024, 1, 1048576, "Largest block."),    \
    [TABLE_TOUCH] = PARAM_ROW_ENUM("touch", TOUCH_ENDS, table_touch_choices,                    \
                                   "Bytes written to each block: none, its first and last, all.")

/* One thread's part, on cache lines of its own: two lines, since the prefetcher fetches pairs. */
struct table_thread {
    _Alignas(128) uint64_t *slots; /* live words, see table_replay.h */
    uint32_t *sizes;               /* requested size of the block in each slot, set by the audit */
    uint64_t *targets[256];        /* by hop */
    uint64_t position;             /* next churn entry */
    uint64_t replaced;             /* churn entries done so far */
    uint64_t start_ns[2], end_ns[2]; /* table-cold, by phase */
};

struct table_state {
    uint32_t live, threads;
    enum table_touch touch;
    uint64_t peak_bytes; /* table-cold: with all blocks alive, first time */
    bool shared;         /* slots are exchanged atomically, words carry tags */
    struct table_thread thread[];
};

uint64_t table_heap_bytes(const struct workload_point *point);
uint64_t table_live_ops(const struct workload_point *point);

int table_setup(struct trial *t);
int table_build(struct trial *t, uint32_t thread);
int table_step(struct trial *t, uint32_t thread, uint64_t ops);
int table_settle(struct trial *t);
int table_verify(struct trial *t, uint32_t thread);
int table_teardown(struct trial *t, uint32_t thread);

static inline struct table_state *table_state(const struct trial *t)
{
    return t->state;
}

/* Bytes in all live blocks: asked for (from the tape), and as the allocator counts them (0 where
 * it cannot tell). Main thread, no replay running. */
struct table_audit {
    uint64_t requested, usable;
};
struct table_audit table_audit(const struct trial *t);

/* Report 1 - part/whole; not where one is zero, which is no data. Below zero where part is the
 * larger: pages never written, or a figure that is a little off. Dropping those would leave only
 * the errors to the other side. */
void table_ratio(struct trial *t, enum metric_id metric, uint64_t part, uint64_t whole);

/* The arguments of the loops for one thread. */
struct table_replay table_replay_of(const struct trial *t, uint32_t thread);

/* Fill all slots of one thread from its tape. 0 or FAIL_ENOMEM. */
int table_fill_all(struct trial *t, uint32_t thread);

#endif
