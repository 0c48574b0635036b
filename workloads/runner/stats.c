/* What the allocator says of itself (allocators/adapters), beside what the kernel says (heap.c):
 * when all blocks of the trial are alive, when none is, and what its own purge call gives back.
 * Figures it does not tell are absent with the reason. What it tells is its claim: a figure no
 * address space could hold is not passed on. A call that crashes or hangs fails the trial as any
 * other call of the allocator would. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "allocators/adapters/adapter.h"
#include "workloads/runner/runner.h"

#define STATS_BYTES_MAX (UINT64_C(1) << 57) /* user space with five levels of page tables */

enum { STATS_ALLOCATED, STATS_COMMITTED, STATS_MAPPED, STATS_FIGURES };

static const enum metric_id steady_metrics[STATS_FIGURES] = {
    [STATS_ALLOCATED] = METRIC_ALLOCATOR_ALLOCATED_BYTES,
    [STATS_COMMITTED] = METRIC_ALLOCATOR_COMMITTED_BYTES,
    [STATS_MAPPED] = METRIC_ALLOCATOR_MAPPED_BYTES,
};
static const enum metric_id freed_metrics[STATS_FIGURES] = {
    [STATS_ALLOCATED] = METRIC_ALLOCATOR_ALLOCATED_AFTER_FREE_BYTES,
    [STATS_COMMITTED] = METRIC_ALLOCATOR_COMMITTED_AFTER_FREE_BYTES,
    [STATS_MAPPED] = METRIC_ALLOCATOR_MAPPED_AFTER_FREE_BYTES,
};

/* Why there is no answer to a call, from what the adapter has and what it returned. */
static const char *stats_why(const struct adapter *adapter, bool has_call, int e)
{
    if (!adapter)
        return "heapmark knows no call of this allocator for it";
    if (!has_call)
        return "this allocator has no call for it";
    if (e == -ENOSYS)
        return "the library lacks the symbol of the call";
    return e < 0 ? "the allocator's call failed" : NULL;
}

static void stats_figure(struct runner *r, enum metric_id metric, uint64_t bytes, const char *why)
{
    if (!trial_lists(&r->trial, metric))
        return;
    if (why)
        trial_absent(&r->trial, metric, "%s", why);
    else if (bytes == ADAPTER_UNKNOWN)
        trial_absent(&r->trial, metric, "this allocator does not tell it");
    else if (bytes > STATS_BYTES_MAX)
        trial_absent(&r->trial, metric, "not believed: the allocator says %" PRIu64 " bytes",
                     bytes);
    else
        trial_metric(&r->trial, metric, (double)bytes);
}

static void stats_report(struct runner *r, const enum metric_id ids[STATS_FIGURES])
{
    const struct adapter *adapter = adapter_find(r->subject->symbols.adapter);
    struct adapter_stats stats = {ADAPTER_UNKNOWN, ADAPTER_UNKNOWN, ADAPTER_UNKNOWN};
    const bool has_call = adapter && adapter->stats;
    if (!trial_lists(&r->trial, ids[STATS_ALLOCATED]))
        return;
    const int e = has_call ? adapter->stats(r->dl, &stats) : 0;
    const char *why = stats_why(adapter, has_call, e);
    stats_figure(r, ids[STATS_ALLOCATED], stats.allocated_bytes, why);
    stats_figure(r, ids[STATS_COMMITTED], stats.committed_bytes, why);
    stats_figure(r, ids[STATS_MAPPED], stats.mapped_bytes, why);
}

void stats_steady(struct runner *r)
{
    stats_report(r, steady_metrics);
}

void stats_freed(struct runner *r)
{
    stats_report(r, freed_metrics);
    if (!trial_lists(&r->trial, METRIC_HEAP_AFTER_PURGE_BYTES))
        return;
    const struct adapter *adapter = adapter_find(r->subject->symbols.adapter);
    const bool has_call = adapter && adapter->purge;
    const int e = has_call ? adapter->purge(r->dl) : 0;
    const char *why = stats_why(adapter, has_call, e);
    if (why)
        trial_absent(&r->trial, METRIC_HEAP_AFTER_PURGE_BYTES, "%s", why);
    else
        trial_metric(&r->trial, METRIC_HEAP_AFTER_PURGE_BYTES, (double)trial_heap_bytes(&r->trial));
}
