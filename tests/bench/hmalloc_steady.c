/* Steady cases of `./dev bench hmalloc`. Sizes are uniform in 16..1024 bytes where nothing else is
 * said; every block's first bytes are written. */
/* Blocks wait in tables the analyzer does not follow, a case without memory may crash, and reading
 * what was never written is what some cases do. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#pragma GCC diagnostic ignored "-Wanalyzer-possible-null-dereference"
#pragma GCC diagnostic ignored "-Wanalyzer-use-of-uninitialized-value"
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/hmalloc_cases.h"

static char **slots[CASE_THREADS];
static uint64_t seeds[CASE_THREADS * 16]; /* a cache line apart, and more */

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static inline size_t scaled(uint64_t random, size_t count)
{
    return (size_t)((uint32_t)(random >> 32) * (uint64_t)count >> 32);
}

static inline size_t small_size(uint64_t random)
{
    return 16 + scaled(random, 1009);
}

static char *block_new(size_t size)
{
    char *block = malloc(size);
    *(volatile size_t *)block = size;
    return block;
}

static void setup_slots(const struct bench_case *c)
{
    for (unsigned t = 0; t < c->threads; t++) {
        seeds[t * 16] = 88172645463325252u + t * 7919;
        slots[t] = case_map((c->argument + 1) * sizeof(char *));
    }
}

/* st, mt: replace a random block by one of random size. */
static void slice_replace(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    char **mine = slots[thread];
    uint64_t state = seeds[thread * 16];
    for (uint64_t i = 0; i < operations; i++) {
        const uint64_t random = next_random(&state);
        const size_t k = (size_t)((uint32_t)random * c->argument >> 32);
        free(mine[k]);
        mine[k] = block_new(small_size(random));
    }
    seeds[thread * 16] = state;
}

/* One thread fills them here, so that each begins with its own. */
static void setup_replace(const struct bench_case *c)
{
    setup_slots(c);
    for (unsigned t = 0; t < c->threads; t++)
        for (uint64_t k = 0; k < c->argument; k++)
            slots[t][k] = block_new(small_size(next_random(&seeds[t * 16])));
}

/* fifo, lifo: a batch of 64-byte blocks, freed in order or in reverse. */
static void slice_batch(const struct bench_case *c, uint64_t operations, bool reverse)
{
    char **mine = slots[0];
    const uint64_t n = c->argument;
    for (uint64_t done = 0; done < operations; done += n) {
        for (uint64_t i = 0; i < n; i++) {
            mine[i] = malloc(64);
            *(volatile char *)mine[i] = 1;
        }
        for (uint64_t i = 0; i < n; i++)
            free(mine[reverse ? n - 1 - i : i]);
    }
}

static void slice_fifo(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    (void)thread;
    slice_batch(c, operations, false);
}

static void slice_lifo(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    (void)thread;
    slice_batch(c, operations, true);
}

/* large: 32 KiB to 4 MiB, a byte in each 64 KiB written. */
static void slice_large(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    char **mine = slots[thread];
    uint64_t *state = &seeds[thread * 16];
    for (uint64_t i = 0; i < operations; i++) {
        const uint64_t random = next_random(state);
        const size_t k = (uint32_t)random % c->argument, size = 32768 + (random >> 32) % (4u << 20);
        free(mine[k]);
        mine[k] = malloc(size);
        for (size_t at = 0; at < size; at += 65536)
            ((volatile char *)mine[k])[at] = 1;
    }
}

/* realloc: blocks that grow by half from 16 bytes to 200 KB, then go. */
static void slice_realloc(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    char **mine = slots[thread];
    for (uint64_t done = 0; done < operations;) {
        for (size_t size = 16; size < 200000; size += size / 2)
            for (uint64_t k = 0; k < c->argument; k++, done++) {
                mine[k] = realloc(mine[k], size);
                ((volatile char *)mine[k])[size - 1] = 1;
            }
        for (uint64_t k = 0; k < c->argument; k++) {
            free(mine[k]);
            mine[k] = NULL;
        }
    }
}

/* ---- between threads ---- */

#define RING 1024
static struct {
    _Alignas(128) _Atomic uint64_t head;
    _Alignas(128) _Atomic uint64_t tail;
    _Alignas(128) char *blocks[RING];
} ring;
static volatile size_t sink;

static void produce(uint64_t operations)
{
    uint64_t *state = &seeds[0];
    uint64_t tail = atomic_load_explicit(&ring.tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring.head, memory_order_acquire);
    for (uint64_t i = 0; i < operations; i++) {
        char *block = block_new(small_size(next_random(state)));
        while (tail - head >= RING)
            head = atomic_load_explicit(&ring.head, memory_order_acquire);
        ring.blocks[tail++ % RING] = block;
        if (tail % 16 == 0 || i + 1 == operations)
            atomic_store_explicit(&ring.tail, tail, memory_order_release);
    }
}

static void consume(uint64_t operations, bool reads)
{
    uint64_t head = atomic_load_explicit(&ring.head, memory_order_relaxed), tail = head;
    for (uint64_t i = 0; i < operations; i++) {
        while (head == tail)
            tail = atomic_load_explicit(&ring.tail, memory_order_acquire);
        char *block = ring.blocks[head++ % RING];
        if (reads)
            sink += *(volatile size_t *)block;
        free(block);
        if (head % 16 == 0 || i + 1 == operations)
            atomic_store_explicit(&ring.head, head, memory_order_release);
    }
}

static void slice_handoff(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    if (thread == 0)
        produce(operations);
    else
        consume(operations, c->argument > 0);
}

static void setup_handoff(const struct bench_case *c)
{
    (void)c;
    seeds[0] = 12345678912345u;
}

/* larson: like mt with 10..500 bytes, but each slice a thread goes on with the other's blocks. */
static _Atomic unsigned larson_round[CASE_THREADS];

static void slice_larson(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    const unsigned round =
        atomic_fetch_add_explicit(&larson_round[thread], 1, memory_order_relaxed);
    char **mine = slots[(thread + round) % c->threads];
    uint64_t state = seeds[thread * 16];
    for (uint64_t i = 0; i < operations; i++) {
        const uint64_t random = next_random(&state);
        const size_t k = (size_t)((uint32_t)random * c->argument >> 32);
        free(mine[k]);
        mine[k] = block_new(10 + scaled(random, 491));
    }
    seeds[thread * 16] = state;
}

/* xmalloc: batches of blocks go over a stack both threads take from; who takes one frees it. */
#define BATCH 120
struct batch {
    struct batch *next;
    char *blocks[BATCH];
};
static _Atomic int stack_lock;
static struct batch *stack;
static unsigned stack_depth;

static struct batch *stack_swap(struct batch *push)
{
    struct batch *pop = NULL;
    while (atomic_exchange_explicit(&stack_lock, 1, memory_order_acquire))
        ;
    if (push) {
        push->next = stack;
        stack = push;
        stack_depth++;
    }
    if (stack_depth > 8) {
        pop = stack;
        stack = pop->next;
        stack_depth--;
    }
    atomic_store_explicit(&stack_lock, 0, memory_order_release);
    return pop;
}

static void slice_xmalloc(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    (void)c;
    uint64_t *state = &seeds[thread * 16];
    for (uint64_t i = 0; i < operations; i += BATCH) {
        struct batch *b = (struct batch *)block_new(sizeof *b);
        for (unsigned k = 0; k < BATCH; k++)
            b->blocks[k] = block_new(16 + scaled(next_random(state), 497));
        b = stack_swap(b);
        if (!b)
            continue;
        for (unsigned k = 0; k < BATCH; k++)
            free(b->blocks[k]);
        free(b);
    }
}

/* cache-scratch: blocks one thread made side by side, freed and taken again by each, then written
 * often: an allocator that hands one line to two threads pays. cache-thrash: the same, own ones. */
static void slice_scratch(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    char *block = slots[0] ? slots[thread][0] : NULL;
    if (c->argument > 0 && block) {
        free(block);
        slots[thread][0] = NULL;
    }
    for (uint64_t i = 0; i < operations; i++) {
        block = malloc(8);
        for (unsigned k = 0; k < 50; k++)
            (*(volatile char *)block)++;
        free(block);
    }
}

static void setup_scratch(const struct bench_case *c)
{
    setup_slots(c);
    for (unsigned t = 0; t < c->threads; t++)
        slots[t][0] = malloc(8);
}

/* mstress: sizes mostly small with a long tail, and one block in ten goes to another thread by a
 * shared table. */
#define EXCHANGE 1000
static _Atomic(char *) exchange[EXCHANGE];

static size_t tailed_size(uint64_t random)
{
    const unsigned shift = (unsigned)(random >> 40) % 100;
    const size_t most = shift < 60 ? 128 : shift < 90 ? 1024 : shift < 99 ? 8192 : 65536;
    return 8 + scaled(random << 13, most);
}

static void slice_mstress(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    char **mine = slots[thread];
    uint64_t *state = &seeds[thread * 16];
    for (uint64_t i = 0; i < operations; i++) {
        const uint64_t random = next_random(state);
        char **slot = &mine[(uint32_t)random % c->argument];
        if (*slot && random >> 60 < 2) {
            *slot =
                atomic_exchange_explicit(&exchange[random % EXCHANGE], *slot, memory_order_acq_rel);
            continue;
        }
        free(*slot);
        *slot = random >> 61 ? block_new(tailed_size(random)) : NULL;
    }
}

/* rptest: 16..8000 bytes, linearly falling; batches freed whole, one in four by the other. */
static _Atomic(struct batch *) passed[CASE_THREADS];

static size_t falling_size(uint64_t random)
{
    const size_t a = scaled(random, 7984), b = scaled(random << 17, 7984);
    return 16 + (a < b ? a : b);
}

static void batch_free(struct batch *b)
{
    for (unsigned k = 0; b && k < BATCH; k++)
        free(b->blocks[k]);
    free(b);
}

static void slice_rptest(const struct bench_case *c, unsigned thread, uint64_t operations)
{
    uint64_t *state = &seeds[thread * 16];
    for (uint64_t i = 0; i < operations; i += BATCH) {
        struct batch *b = (struct batch *)block_new(sizeof *b), *old;
        for (unsigned k = 0; k < BATCH; k++)
            b->blocks[k] = block_new(falling_size(next_random(state)));
        if (i / BATCH % 4 == 0) {
            old = atomic_exchange_explicit(&passed[1 - thread], b, memory_order_acq_rel);
        } else {
            struct batch **slot = (struct batch **)&slots[thread][i / BATCH % c->argument];
            old = *slot;
            *slot = b;
        }
        batch_free(old);
    }
}

const struct bench_case steady_cases[] = {
    {"st 1k", 1, 50000, 1000, setup_replace, slice_replace},
    {"st 10k", 1, 50000, 10000, setup_replace, slice_replace},
    {"st 100k", 1, 50000, 100000, setup_replace, slice_replace},
    {"mt 10k", 2, 50000, 10000, setup_replace, slice_replace},
    {"xt", 2, 50000, 0, setup_handoff, slice_handoff},
    {"xr", 2, 50000, 1, setup_handoff, slice_handoff},
    {"lifo 2k", 1, 100000, 2000, setup_slots, slice_lifo},
    {"fifo 20k", 1, 100000, 20000, setup_slots, slice_fifo},
    {"lifo 200k", 1, 200000, 200000, setup_slots, slice_lifo},
    {"fifo 200k", 1, 200000, 200000, setup_slots, slice_fifo},
    {"large", 1, 500, 50, setup_slots, slice_large},
    {"realloc", 1, 2300, 100, setup_slots, slice_realloc},
    {"larson", 2, 50000, 5000, setup_replace, slice_larson},
    {"xmalloc", 2, 30000, 1, setup_slots, slice_xmalloc},
    {"cache-scratch", 2, 5000, 1, setup_scratch, slice_scratch},
    {"cache-thrash", 2, 5000, 0, setup_slots, slice_scratch},
    {"mstress", 2, 20000, 2000, setup_slots, slice_mstress},
    {"rptest", 2, 24000, 20, setup_slots, slice_rptest},
    {0},
};
