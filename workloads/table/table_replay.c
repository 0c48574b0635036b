#include "workloads/table/table_replay.h"

#include <stdatomic.h>
#include <stdbool.h>
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
        (block + tape_entry_size(*at))[-1] = table_last_byte(*at);
    return block;
}

/* What a step of a loop needs, held in registers. */
struct step {
    void *(*malloc_fn)(size_t);
    void (*free_fn)(void *);
    uint64_t *slots;
    uint64_t *const *targets;
    uint64_t tag;
};

HOT bool step_plain(const struct step *s, const uint64_t *at, enum table_touch touch)
{
    __builtin_prefetch(&s->slots[tape_slot(at[LOOKAHEAD])], 1);
    void *block = replay_malloc(s->malloc_fn, at, touch);
    if (__builtin_expect(block == NULL, 0))
        return false;
    uint64_t *slot = &s->slots[tape_slot(*at)];
    void *old = (void *)(uintptr_t)*slot;
    *slot = (uint64_t)(uintptr_t)block;
    s->free_fn(old);
    return true;
}

/* table_block() by shifts that the compiler must not turn into a mask: the mask is a constant of
 * 48 bits, which takes a register, and there is none left for it. */
HOT void *untagged(uint64_t word)
{
    word <<= 64 - TABLE_TAG_SHIFT;
    __asm__("" : "+r"(word));
    return (void *)(uintptr_t)(word >> (64 - TABLE_TAG_SHIFT));
}

HOT bool step_shared(const struct step *s, const uint64_t *at, enum table_touch touch)
{
    const uint64_t ahead = at[LOOKAHEAD];
    __builtin_prefetch(&s->targets[tape_hop(ahead)][tape_slot(ahead)], 1);
    void *block = replay_malloc(s->malloc_fn, at, touch);
    if (__builtin_expect(block == NULL, 0))
        return false;
    uint64_t *slot = &s->targets[tape_hop(*at)][tape_slot(*at)];
    /* Release: the bytes just written belong to whoever takes the block out. Acquire: its
     * partner, the bytes of the block taken out, before it is freed. */
    uint64_t old = __atomic_exchange_n(slot, (uint64_t)(uintptr_t)block | s->tag, __ATOMIC_ACQ_REL);
    s->free_fn(untagged(old));
    return true;
}

/* clang would count this along with `at` in a register of its own, were `at` not opaque. */
HOT uint64_t steps_left(const uint64_t *at, const uint64_t *end)
{
    __asm__("" : "+r"(at));
    return (uint64_t)(end - at);
}

typedef bool step_fn(const struct step *s, const uint64_t *at, enum table_touch touch);

/* Four steps a round: the jumps back are the harness's own cost. Unrolled here and not by the
 * compiler, whose count of the rest would take the register that keeps this off the stack. */
HOT uint64_t replay_steps(const struct table_replay *replay, const uint64_t *at, uint64_t count,
                          enum table_touch touch, step_fn *step)
{
    const struct step s = {replay->malloc, replay->free, replay->slots, replay->targets,
                           replay->tag};
    const uint64_t *const end = at + count;
    const uint64_t *const rounds_end = at + (count & ~UINT64_C(3));
    for (; at < rounds_end; at += 4) {
        if (!step(&s, at, touch))
            return steps_left(at, end);
        if (!step(&s, at + 1, touch))
            return steps_left(at + 1, end);
        if (!step(&s, at + 2, touch))
            return steps_left(at + 2, end);
        if (!step(&s, at + 3, touch))
            return steps_left(at + 3, end);
    }
    /* Waited on the stack; from here on it has the register of rounds_end. */
    const uint64_t *rest_end = end;
    __asm__("" : "+r"(rest_end));
    while (at < rest_end && step(&s, at, touch))
        at++;
    return steps_left(at, rest_end);
}

HOT uint64_t replay_plain(const struct table_replay *replay, const uint64_t *at, uint64_t count,
                          enum table_touch touch)
{
    return replay_steps(replay, at, count, touch, step_plain);
}

HOT uint64_t replay_shared(const struct table_replay *replay, const uint64_t *at, uint64_t count,
                           enum table_touch touch)
{
    return replay_steps(replay, at, count, touch, step_shared);
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
