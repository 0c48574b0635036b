/* A tape: the operations of a trial, made before the clock starts, from a seed, identical for
 * every allocator. Node code makes one with tape_generate(); runners map it read-only with
 * tape_map(), which trusts nothing: the bytes came from another process.
 *
 * Layout: a header of one page, then one stream per thread at a fixed stride. A stream is `live`
 * fill entries (entry i is slot i: what build and cold do), then `entries` churn entries, then
 * TAPE_PAD_ENTRIES more so that a replay loop may look ahead of its last entry.
 *
 * An entry is one 64-bit word, little end first: slot:24, hop:8, size:32. Hop 0: the slot is one
 * of the thread's own. Hop h > 0: it belongs to another thread, tape_target() says which; the
 * hop is relative, so a runner with fewer threads than the tape keeps the same remote share.
 *
 * Thread i's slots and sizes depend on seed, i, live and sizes only, never on the thread count.
 * Pure but for memfd and mmap; any thread. */
#ifndef HEAPMARK_WORKLOADS_TAPE_TAPE_H
#define HEAPMARK_WORKLOADS_TAPE_TAPE_H

#include <stdint.h>

#include "daemon/base/err.h"
#include "workloads/ring/ring.h"
#include "workloads/workload.h"

#define TAPE_MAGIC         UINT64_C(0x31657061546d4848) /* "HHmTape1" */
#define TAPE_VERSION       1u
#define TAPE_CHURN_ENTRIES (UINT32_C(1) << 20) /* per thread, replayed round and round */
#define TAPE_LIVE_MAX      (UINT32_C(1) << 24) /* what 24 bits of slot can name */
#define TAPE_SIZE_MAX      UINT32_C(0x7fffffff)
#define TAPE_PAD_ENTRIES   16u
#define TAPE_HEADER_SIZE   4096u

#define TAPE_SLOT_MASK UINT32_C(0xffffff)
#define TAPE_HOP_SHIFT 24

struct tape_spec {
    enum tape_kind kind;
    uint32_t threads;
    uint32_t live;       /* slots of one thread */
    uint32_t entries;    /* churn entries of one thread; 0 for TAPE_COLD */
    uint32_t size_min;   /* bytes, inclusive */
    uint32_t size_max;   /* bytes, inclusive */
    uint32_t remote_pct; /* of churn entries, when threads > 1 */
    uint32_t touch;      /* not used by the generator, part of the identity */
    uint64_t seed;       /* H(workload, repetition); threads mix themselves in */
};

struct tape_header {
    uint64_t magic;
    uint32_t version;
    uint32_t kind;
    uint32_t threads, live, entries, size_min, size_max, remote_pct, touch, pad;
    uint64_t seed;
    uint64_t stride_bytes; /* from one thread's stream to the next */
    uint64_t hash;         /* of every field above and every entry */
};

/* A mapped and checked tape. Lives as long as the process; there is no unmap. */
struct tape {
    const struct tape_header *header;
    uint64_t bytes;
};

/* The spec of `w` at `point` (point->threads: the largest of the ring). ERR_INVALID names the
 * parameter that contradicts another (size_min_bytes above size_max_bytes). */
int tape_spec_for(const struct workload *w, const struct workload_point *point, uint64_t seed,
                  struct tape_spec *ret_spec, struct err *e);

/* Bytes of the tape of a valid spec. 0 or -EINVAL, -EOVERFLOW. */
int tape_size(const struct tape_spec *spec, uint64_t *ret_bytes);

/* Make the tape in a sealed memfd (shrink, grow, write, seal), close-on-exec. */
int tape_generate(const struct tape_spec *spec, int *ret_fd, uint64_t *ret_bytes, struct err *e);

/* Map fd and check all of it: seals, size, every bound, every entry, the hash. 0, or -EPROTO
 * with the reason, or -errno. */
int tape_map(int fd, uint64_t bytes, struct tape *ret_tape, struct err *e);

static inline const uint64_t *tape_fill(const struct tape *t, uint32_t thread)
{
    return (const uint64_t *)((const char *)t->header + TAPE_HEADER_SIZE +
                              thread * t->header->stride_bytes);
}

static inline const uint64_t *tape_churn(const struct tape *t, uint32_t thread)
{
    return tape_fill(t, thread) + t->header->live;
}

static inline uint32_t tape_slot(uint64_t entry)
{
    return (uint32_t)entry & TAPE_SLOT_MASK;
}

static inline uint32_t tape_hop(uint64_t entry)
{
    return (uint32_t)entry >> TAPE_HOP_SHIFT;
}

static inline uint32_t tape_entry_size(uint64_t entry)
{
    return (uint32_t)(entry >> 32);
}

static inline uint64_t tape_entry(uint32_t slot, uint32_t hop, uint32_t size)
{
    return (uint64_t)size << 32 | (uint64_t)hop << TAPE_HOP_SHIFT | slot;
}

/* The thread whose slot a hop means, for thread `self` of `threads`. */
static inline uint32_t tape_target(uint32_t self, uint32_t hop, uint32_t threads)
{
    if (hop == 0 || threads == 1)
        return self;
    return (self + 1 + (hop - 1) % (threads - 1)) % threads;
}

#endif
