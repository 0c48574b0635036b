#include "workloads/table/table_replay.h"

#include <stdatomic.h>
#include <string.h>

#include "workloads/tape/tape.h"

#define LOOKAHEAD 8 /* entries; the slot's line is the harness's own miss, the block's is not */

_Static_assert(LOOKAHEAD <= TAPE_PAD_ENTRIES, "lookahead stays inside the stream");

#define HOT static inline __attribute__((always_inline))

/* The entry is read again from the tape after each call, not kept: that leaves registers for the
 * pointers, and its line is in the first cache. */
HOT void *replay_malloc(void *(*malloc_fn)(size_t), const uint64_t *at, enum table_touch touch)
{
    unsigned char *block = malloc_fn(tape_entry_size(*at));
    if (__builtin_expect(block == NULL, 0))
        return NULL;
    if (touch == TOUCH_FULL)
        block = memset(block, table_first_byte(*at), tape_entry_size(*at));
    if (touch == TOUCH_ENDS)
        block[0] = table_first_byte(*at);
    if (touch != TOUCH_NONE)
        block[tape_entry_size(*at) - 1] = table_last_byte(*at);
    return block;
}

HOT uint64_t replay_plain(const struct table_replay *replay, const uint64_t *at, uint64_t count,
                          enum table_touch touch)
{
    void *(*const malloc_fn)(size_t) = replay->malloc;
    void (*const free_fn)(void *) = replay->free;
    uint64_t *const slots = replay->slots;
    const uint64_t *const end = at + count;
    for (; at < end; at++) {
        __builtin_prefetch(&slots[tape_slot(at[LOOKAHEAD])], 1);
        void *block = replay_malloc(malloc_fn, at, touch);
        if (__builtin_expect(block == NULL, 0))
            break;
        uint64_t *slot = &slots[tape_slot(*at)];
        void *old = (void *)(uintptr_t)*slot;
        *slot = (uint64_t)(uintptr_t)block;
        free_fn(old);
    }
    return (uint64_t)(end - at);
}

HOT uint64_t replay_shared(const struct table_replay *replay, const uint64_t *at, uint64_t count,
                           enum table_touch touch)
{
    void *(*const malloc_fn)(size_t) = replay->malloc;
    void (*const free_fn)(void *) = replay->free;
    uint64_t *const *const targets = replay->targets;
    const uint64_t tag = replay->tag;
    const uint64_t *const end = at + count;
    for (; at < end; at++) {
        void *block = replay_malloc(malloc_fn, at, touch);
        if (__builtin_expect(block == NULL, 0))
            break;
        uint64_t *slot = &targets[tape_hop(*at)][tape_slot(*at)];
        /* Release: the bytes just written belong to whoever takes the block out. Acquire: its
         * partner, the bytes of the block taken out, before it is freed. */
        uint64_t old =
            __atomic_exchange_n(slot, (uint64_t)(uintptr_t)block | tag, __ATOMIC_ACQ_REL);
        free_fn(table_block(old));
    }
    return (uint64_t)(end - at);
}

HOT uint64_t fill(const struct table_replay *replay, const uint64_t *at, uint64_t count,
                  enum table_touch touch)
{
    void *(*const malloc_fn)(size_t) = replay->malloc;
    uint64_t *const slots = replay->slots;
    const uint64_t tag = replay->tag;
    const uint64_t *const end = at + count;
    for (; at < end; at++) {
        void *block = replay_malloc(malloc_fn, at, touch);
        if (__builtin_expect(block == NULL, 0))
            break;
        slots[tape_slot(*at)] = (uint64_t)(uintptr_t)block | tag;
    }
    return (uint64_t)(end - at);
}

/* One function per loop and touch mode, never inlined: the test finds them by these names. */
#define LOOP(name, body, touch)                                                        \
    static __attribute__((noinline)) uint64_t name(const struct table_replay *replay,  \
                                                   const uint64_t *at, uint64_t count) \
    {                                                                                  \
        return body(replay, at, count, touch);                                         \
    }

LOOP(table_plain_none, replay_plain, TOUCH_NONE)
LOOP(table_plain_ends, replay_plain, TOUCH_ENDS)
LOOP(table_plain_full, replay_plain, TOUCH_FULL)
LOOP(table_shared_none, replay_shared, TOUCH_NONE)
LOOP(table_shared_ends, replay_shared, TOUCH_ENDS)
LOOP(table_shared_full, replay_shared, TOUCH_FULL)
LOOP(table_fill_none, fill, TOUCH_NONE)
LOOP(table_fill_ends, fill, TOUCH_ENDS)
LOOP(table_fill_full, fill, TOUCH_FULL)

table_loop *const table_replay_plain[TOUCH_COUNT_] = {table_plain_none, table_plain_ends,
                                                      table_plain_full};
table_loop *const table_replay_shared[TOUCH_COUNT_] = {table_shared_none, table_shared_ends,
                                                       table_shared_full};
table_loop *const table_fill[TOUCH_COUNT_] = {table_fill_none, table_fill_ends, table_fill_full};

void table_drain(const struct table_replay *replay, uint64_t count)
{
    void (*const free_fn)(void *) = replay->free;
    uint64_t *at = replay->slots;
    uint64_t *const end = at + count;
    for (; at < end; at++) {
        void *block = table_block(*at);
        *at = 0;
        free_fn(block);
    }
}
