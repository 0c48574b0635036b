/* The measured loops: a tape against malloc and free, nothing else. Compiled with -O2 and
 * -fno-builtin in every preset, so the compiler neither removes a call nor keeps state in memory
 * that could alias with the heap by layout (baton.md); tests/runner reads the machine code.
 *
 * A replacement is malloc, touch, store into the slot, free what was there. Two loops do that.
 * In the plain one every thread keeps to its own slots, and they are plain words. In the shared
 * one a slot may be reached by several threads: the store is an atomic exchange, and the word
 * carries its writer in the top 16 bits, from which settle finds the block's size without
 * counting anything here. The workload decides which, never the thread count or the remote share:
 * across those, figures must differ by the allocator alone.
 *
 * A replay stops early only when malloc returns NULL. Any thread; the caller owns the slots. */
#ifndef HEAPMARK_WORKLOADS_TABLE_TABLE_REPLAY_H
#define HEAPMARK_WORKLOADS_TABLE_TABLE_REPLAY_H

#include <stddef.h>
#include <stdint.h>

enum table_touch { TOUCH_NONE, TOUCH_ENDS, TOUCH_FULL, TOUCH_COUNT_ };

/* What is written to a block: contents that name slot and size, so that blocks that overlap are
 * found out later. A block of one byte keeps the last. */
static inline unsigned char table_first_byte(uint64_t entry)
{
    return (unsigned char)entry; /* the slot's low byte */
}

static inline unsigned char table_last_byte(uint64_t entry)
{
    return (unsigned char)(entry >> 32); /* the size's low byte */
}

#define TABLE_TAG_SHIFT 48
#define TABLE_WORD_MASK ((UINT64_C(1) << TABLE_TAG_SHIFT) - 1)

static inline void *table_block(uint64_t word)
{
    return (void *)(uintptr_t)(word & TABLE_WORD_MASK);
}

static inline uint32_t table_tag(uint64_t word)
{
    return (uint32_t)(word >> TABLE_TAG_SHIFT);
}

struct table_replay {
    void *(*malloc)(size_t size);
    void (*free)(void *block);
    uint64_t *slots;          /* own slots: plain replay, fill and drain */
    uint64_t *const *targets; /* by hop: whose slots; shared replay only */
    uint64_t tag;             /* of this thread, already shifted; 0 in plain replay */
};

/* Replay `count` entries from `at`, which must have TAPE_PAD_ENTRIES readable ones after them.
 * Returns how many were NOT done: 0, or the rest from the one malloc refused. */
typedef uint64_t table_loop(const struct table_replay *replay, const uint64_t *at, uint64_t count);

extern table_loop *const table_replay_plain[TOUCH_COUNT_];
extern table_loop *const table_replay_shared[TOUCH_COUNT_];
extern table_loop *const table_fill[TOUCH_COUNT_]; /* entry i goes to slots[entry's slot] */

/* Free slots[0..count) in order and clear them. */
void table_drain(const struct table_replay *replay, uint64_t count);

#endif
