/* null: what the harness itself costs. Every call returns the calling thread's one scratch block.
 *
 * Loaded by heapmark-runner, catalogue entry `null`; its share of a cell's time is shown beside
 * every real allocator. Contents mean nothing (RING_SUBJECT_NULL).
 *
 * One block per thread and not one for all: with a shared one, threads that touch their blocks
 * would fight over its cache lines, a cost that no real allocator has. Scratch blocks belong to
 * SLOTS_COUNT slots handed out in turn, so thread churn cannot grow the process; they are mapped
 * at first use and touched only by who uses them. */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "allocators/api/api.h"

#define SCRATCH_SIZE ((size_t)4 << 20)
#define PAGE_MAX     4096 /* alignment a mapping has on every kernel */
#define SLOTS_COUNT  256  /* threads beyond that share a block */

static _Atomic(void *) slots[SLOTS_COUNT];
static atomic_uint slots_taken;
static __thread void *scratch INITIAL_EXEC;

/* Map this thread's block. A slot is published with release and read with acquire; whoever loses
 * the race for a slot drops its mapping. */
static __attribute__((noinline, cold)) void *scratch_attach(void)
{
    unsigned slot = atomic_fetch_add_explicit(&slots_taken, 1, memory_order_relaxed) % SLOTS_COUNT;
    void *block = atomic_load_explicit(&slots[slot], memory_order_acquire);
    if (!block) {
        void *fresh = mmap(NULL, SCRATCH_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (fresh == MAP_FAILED)
            return api_out_of_memory();
        if (atomic_compare_exchange_strong_explicit(&slots[slot], &block, fresh,
                                                    memory_order_acq_rel, memory_order_acquire))
            block = fresh;
        else
            munmap(fresh, SCRATCH_SIZE);
    }
    scratch = block;
    return block;
}

void *API(malloc)(size_t size)
{
    if (UNLIKELY(size > SCRATCH_SIZE))
        return api_out_of_memory();
    void *block = scratch;
    if (UNLIKELY(!block))
        return scratch_attach();
    return block;
}

void API(free)(void *block)
{
    (void)block;
}

void *API(calloc)(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return api_out_of_memory();
    void *block = API(malloc)(total);
    return block ? memset(block, 0, total) : NULL;
}

void *API(realloc)(void *block, size_t size)
{
    if (block && size == 0)
        return NULL;
    return API(malloc)(size);
}

void *API(memalign)(size_t alignment, size_t size)
{
    if (!api_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment > PAGE_MAX)
        return api_out_of_memory();
    return API(malloc)(size);
}
