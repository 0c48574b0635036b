/* A heap: what one thread owns. Type-stable: once made it is never unmapped, so its address in a
 * tag stays valid; a thread that ends leaves its heap to the next one (thread.c).
 *
 * Two halves. The bins and magazines belong to the thread, without a lock: the fast paths of
 * malloc.c touch nothing else. The slabs belong to whoever holds the lock, which is nearly always
 * the same thread, once per refill or overflow of a magazine; but other threads may drain the
 * inbox of a heap whose owner sleeps, take figures, or fork.
 *
 * A few heaps are shared: no thread owns them and their bins stay empty. Sizes a thread rarely
 * uses come from them, block by block. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_HEAP_H
#define HEAPMARK_ALLOCATORS_HMALLOC_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "allocators/hmalloc/chunk.h"
#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/lock.h"
#include "allocators/hmalloc/tagmap.h"

/* A stack of free blocks, with its topmost one in the bin itself: malloc has it one load earlier
 * than from the array, and what a program does first with a block is to write to it. `next` is NULL
 * when the stack is empty. The array holds the blocks below it, and array[0] the NULL below the
 * lowest: so popping never asks how many are left. The stack holds top - array blocks.
 *
 * Without an array all three point to the same place: at once empty and full. */
struct bin {
    void *next;
    void **top, **limit;
    void **array;
};

extern void *bin_nothing[1];

/* Beside a bin. `spare` is a second array of the same size, either full or empty; it is swapped
 * with the first instead of moving pointers. */
struct magazine {
    void **spare;
    uint16_t capacity; /* 2^k */
    uint16_t misses;   /* refills while the class was cold, saturating */
    bool spare_full;
    bool refilled; /* since it last was full */
};

/* What the fast paths of malloc.c do, for everybody else. Owner. */
static inline bool bin_is_full(const struct bin *b)
{
    return b->top == b->limit;
}

static inline bool bin_has_array(const struct bin *b)
{
    return b->array != bin_nothing;
}

static inline void bin_push(struct bin *b, void *block)
{
    *b->top = b->next;
    b->next = block;
    /* Release: whoever counts (magazine_held) acquires. */
    __atomic_store_n(&b->top, b->top + 1, __ATOMIC_RELEASE);
}

/* Of a bin that is not empty. */
static inline void *bin_pop(struct bin *b)
{
    void *block = b->next;
    b->next = b->top[-1];
    __atomic_store_n(&b->top, b->top - 1, __ATOMIC_RELEASE);
    return block;
}

#define OUTBOXES 8

struct message;
struct outbox {
    struct heap *to;
    struct message *message;
    uint32_t bytes;
};

struct heap {
    struct bin bins[CLASS_COUNT]; /* by class: the bin of class c is at 32 c */

    /* Owner only, from here on. */
    struct magazine magazines[CLASS_COUNT];
    struct outbox outboxes[OUTBOXES];
    struct message *stash; /* empty messages */
    uint32_t stash_count;
    uint32_t magazine_bytes; /* capacities times block sizes */
    bool is_shared;

    /* Push by any thread: release. Taken whole under the lock: acquire. */
    _Alignas(CACHE_LINE) _Atomic(struct message *) inbox;
    _Atomic uint32_t inbox_depth; /* messages in it, about. Relaxed. */

    /* Under the lock, from here on. */
    _Alignas(CACHE_LINE) struct lock lock;
    _Atomic bool is_orphan; /* no thread owns it: see remote.h */
    struct slab *partial[CLASS_COUNT];
    size_t slab_bytes;             /* of all its slabs */
    size_t block_bytes;            /* of all blocks in them */
    size_t free_bytes;             /* of blocks that are in slabs, not in magazines */
    size_t virgin_bytes;           /* of blocks never handed out */
    struct quarantine *quarantine; /* harden.c */
    uint64_t random;               /* slab.c, when hardened; 0: not seeded */
    uint32_t class_slabs[CLASS_COUNT], class_out[CLASS_COUNT]; /* slabs; blocks handed out */
    size_t purged_bytes; /* of pages in slabs that were given back and are not used yet */
    /* Free but not given back when that was last tried: no page of it is whole. */
    size_t purge_floor;
    struct heap *next;        /* in the list of all heaps: written once, before it is seen */
    struct heap *next_orphan; /* under the heap list's lock */
};

/* Start values that need no memory: for threads without a heap. */
extern struct heap heap_none; /* has not called malloc yet */
extern struct heap heap_dead; /* its destructors have run */
extern HIDDEN __thread struct heap *heap_mine __attribute__((tls_model("initial-exec")));

#define HEAPS_SHARED 4

/* Fresh, with no blocks, in the list of all heaps. NULL without memory. */
struct heap *heap_new(void);
/* A shared heap, with its lock taken: the thread's usual one, or another while that is busy. */
struct heap *heap_shared_lock(void);
bool heap_shared_init(void);

/* All heaps ever made, shared ones included; newest first, linked by `next`. */
extern _Atomic(struct heap *) heap_list;

static inline struct heap *heap_of_tag(tag_t tag)
{
    return (struct heap *)(tag & ~(tag_t)(HEAP_ALIGN - 1));
}

static inline unsigned class_of_tag(tag_t tag)
{
    return (unsigned)(tag & (HEAP_ALIGN - 1)) / (unsigned)sizeof(struct bin);
}

static inline tag_t heap_tag(const struct heap *h, unsigned class)
{
    return (tag_t)(uintptr_t)&h->bins[class];
}

#endif
