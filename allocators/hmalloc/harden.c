#include "allocators/hmalloc/harden.h"

#include <string.h>

#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/guard.h"
#include "allocators/hmalloc/large.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/purge.h"
#include "allocators/hmalloc/sizes.h"
#include "allocators/hmalloc/slab.h"

#define SEAL_BYTES        sizeof(uint64_t)
#define TAIL_MASK         ((uint64_t)UINT16_MAX) /* filler and seal together: below 64 KiB */
#define QUARANTINE_BLOCKS 4094                   /* the whole is 32 KiB */

struct quarantine {
    size_t bytes;
    uint32_t first, count;
    void *blocks[QUARANTINE_BLOCKS];
};

static uint64_t key; /* written once, before the first block */

void harden_init(void)
{
    if (options.hardened == HARDEN_NONE)
        return;
    key = os_random();
    guard_init();
}

/* ---- filler and seal ---- */

static uint64_t hash_of(const void *block)
{
    const uint64_t h = (key ^ (uintptr_t)block) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* Never 0: a string's end written one too far must show. */
static unsigned char filler_of(uint64_t hash)
{
    return (unsigned char)(hash >> 56 | 1);
}

size_t harden_padded(size_t size, size_t alignment)
{
    if (size > SLAB_MAX || alignment > SLAB_MAX)
        return 0;
    size_t padded = ALIGN_UP((size ? size : 1) + SEAL_BYTES, alignment);
    /* As in memalign: which sizes are multiples of their alignment. */
    if (alignment > GRANULE && padded > FAST_MAX && padded <= SLAB_MAX)
        padded = (size_t)1 << (64 - __builtin_clzl(padded - 1));
    return padded <= SLAB_MAX ? padded : 0;
}

void *harden_seal(void *block, size_t size)
{
    const size_t whole = slab_of(block)->size, used = size ? size : 1, tail = whole - used;
    const uint64_t hash = hash_of(block), seal = hash ^ tail;
    memset((char *)block + used, filler_of(hash), tail - SEAL_BYTES);
    memcpy((char *)block + whole - SEAL_BYTES, &seal, SEAL_BYTES);
    return block;
}

/* Bytes asked for. 0: something was written behind them. */
static size_t sealed_size(const unsigned char *block, size_t whole)
{
    const uint64_t hash = hash_of(block);
    uint64_t seal;
    memcpy(&seal, block + whole - SEAL_BYTES, SEAL_BYTES);
    const uint64_t tail = seal ^ hash;
    if (tail > TAIL_MASK || tail < SEAL_BYTES || tail >= whole)
        return 0;
    for (size_t i = whole - tail; i < whole - SEAL_BYTES; i++)
        if (block[i] != filler_of(hash))
            return 0;
    return whole - tail;
}

/* ---- quarantine: all under the heap's lock ---- */

size_t harden_held(const struct heap *h)
{
    return h->quarantine ? h->quarantine->bytes : 0;
}

static bool is_zero(const unsigned char *block, size_t size)
{
    return block[0] == 0 && memcmp(block, block + 1, size - 1) == 0;
}

/* The oldest block goes to its slab. Returns it if it was written to, for a line about it. */
static void *quarantine_pop(struct heap *h, struct quarantine *q)
{
    void *block = q->blocks[q->first];
    struct slab *s = slab_of(block);
    const bool is_clean = is_zero(block, s->size);
    q->first = (q->first + 1) % QUARANTINE_BLOCKS;
    q->count--;
    q->bytes -= s->size;
    if (!is_clean)
        memset(block, 0, s->size);
    slab_hold(s, block, false);
    slab_put(h, &block, 1);
    return is_clean ? NULL : block;
}

/* Returns one of the blocks that leave if it was written to meanwhile. */
static void *quarantine_push(struct heap *h, void *block, size_t size)
{
    void *written = NULL;
    if (!h->quarantine) {
        h->quarantine = meta_alloc(sizeof *h->quarantine);
        if (h->quarantine)
            memset(h->quarantine, 0, sizeof *h->quarantine);
    }
    struct quarantine *q = h->quarantine;
    while (q && q->count > 0 &&
           (q->count == QUARANTINE_BLOCKS || q->bytes + size > options.quarantine_bytes)) {
        void *found = quarantine_pop(h, q);
        written = found ? found : written;
    }
    if (!q || size > options.quarantine_bytes) {
        slab_put(h, &block, 1);
        return written;
    }
    slab_hold(slab_of(block), block, true);
    q->blocks[(q->first + q->count++) % QUARANTINE_BLOCKS] = block;
    q->bytes += size;
    return written;
}

/* ---- blocks in slabs ---- */

/* What is wrong with a pointer that should be a block in use of this heap; NULL: nothing. */
static const char *wrong_with(const struct heap *h, const void *block)
{
    const struct slab *s = slab_of(block);
    /* Its slab is gone: all blocks of it had come back already. */
    if (s->kind != UNIT_SLAB || s->heap != h)
        return FAULT_FREE_ALREADY;
    switch (slab_state(s, block)) {
    case SLAB_BLOCK_INSIDE:
        return FAULT_INSIDE;
    case SLAB_BLOCK_VIRGIN:
        return FAULT_VIRGIN;
    case SLAB_BLOCK_FREE:
        return FAULT_FREE_ALREADY;
    case SLAB_BLOCK_USED:
        break;
    }
    if (options.hardened >= HARDEN_FILL && sealed_size(block, s->size) == 0)
        return FAULT_BEHIND;
    return NULL;
}

static void free_small(void *block, struct heap *h)
{
    void *written = NULL;
    lock_take(&h->lock);
    const char *wrong = wrong_with(h, block);
    if (!wrong && options.hardened >= HARDEN_FILL) {
        const size_t size = slab_of(block)->size;
        memset(block, 0, size);
        written = quarantine_push(h, block, size);
    } else if (!wrong) {
        slab_put(h, &block, 1);
    }
    if (slab_purge_due(h))
        (void)slab_purge(h);
    lock_leave(&h->lock);
    if (wrong)
        fault("free", block, wrong);
    if (written)
        fault("free", written, "this block, freed before, was written to after that");
}

/* ---- all blocks ---- */

static void free_large(void *block, tag_t tag)
{
    if (options.hardened >= HARDEN_FILL && large_is_start(block, tag))
        os_discard(block, large_usable(block, tag));
    large_free(block, tag);
}

void harden_free(void *block, tag_t tag)
{
    if (tag == TAG_GUARD)
        guard_free(block);
    else if (tag & TAG_SPECIAL)
        free_large(block, tag);
    else
        free_small(block, heap_of_tag(tag));
    purge_step(NULL);
}

static size_t usable_small(const char *call, const void *block, struct heap *h)
{
    size_t size = 0;
    lock_take(&h->lock);
    const char *wrong = wrong_with(h, block);
    if (!wrong)
        size = options.hardened >= HARDEN_FILL ? sealed_size(block, slab_of(block)->size)
                                               : slab_of(block)->size;
    lock_leave(&h->lock);
    if (wrong)
        fault(call, block, wrong);
    return size;
}

size_t harden_usable(const char *call, void *block, tag_t tag)
{
    if (tag == TAG_GUARD)
        return guard_usable(call, block);
    if (!(tag & TAG_SPECIAL))
        return usable_small(call, block, heap_of_tag(tag));
    if (large_is_start(block, tag))
        return large_usable(block, tag);
    fault(call, block, FAULT_INSIDE);
    return 0;
}

bool harden_knows_size(tag_t tag)
{
    return options.hardened >= HARDEN_FILL && (tag == TAG_GUARD || !(tag & TAG_SPECIAL));
}
