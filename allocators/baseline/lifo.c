/* lifo: the cheapest thing that really reuses memory: per thread, one LIFO list per size in steps
 * of 16 bytes, refilled from a bump pointer.
 *
 * Loaded by heapmark-runner, catalogue entry `lifo`. It is a yardstick, not an allocator to use:
 * lists are never merged, split or given back, so memory once used for one size stays there, and
 * a block freed by another thread goes to the list of the thread that frees it.
 *
 * An 8-byte word before each block holds its size (a multiple of 16 that counts the word), which
 * is also its list's offset. What is not small has a word above SMALL_MAX and takes the slow
 * path: large blocks, which are mappings of their own, and aligned ones, whose word leads back to
 * the block they were cut from. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "allocators/api/api.h"
#include "allocators/baseline/chunk.h"

#define WORD          ((size_t)8)
#define SMALL_MAX     ((size_t)32768) /* of a whole block, word included */
#define LARGE_WORD    ((size_t)1 << 62)
#define ALIGNED_WORD  ((size_t)1 << 63) /* | distance back to the block it was cut from */
#define ALIGNMENT_MAX (CHUNK_SIZE / 2)
#define LARGE_OFFSET  CHUNK_HEADER /* of a large block in its mapping */

struct free_block {
    struct free_block *next;
};

struct heap {
    struct free_block *lists[SMALL_MAX / 16 + 1];
    char *at, *end; /* what is left of the current chunk: `at` is 8 below a multiple of 16 */
    struct heap *next_orphan;
};

/* A heap nobody owns has empty lists and no room: threads start with it, so that the fast paths
 * need no test. Nothing writes to it. */
static struct heap no_heap;
static __thread struct heap *heap INITIAL_EXEC = &no_heap;

/* Heaps of threads that ended. Taken whole by exchange (acquire), put back by compare-exchange
 * (release): no ABA, and nothing a fork could catch half-done. */
static _Atomic(struct heap *) orphans;
static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;

static void orphan_push(struct heap *first, struct heap *last)
{
    struct heap *head = atomic_load_explicit(&orphans, memory_order_relaxed);
    do
        last->next_orphan = head;
    while (!atomic_compare_exchange_weak_explicit(&orphans, &head, first, memory_order_release,
                                                  memory_order_relaxed));
}

static struct heap *orphan_pop(void)
{
    struct heap *first = atomic_exchange_explicit(&orphans, NULL, memory_order_acquire);
    if (!first || !first->next_orphan)
        return first;
    struct heap *rest = first->next_orphan, *last = rest;
    while (last->next_orphan)
        last = last->next_orphan;
    orphan_push(rest, last);
    return first;
}

static void on_thread_exit(void *arg)
{
    heap = &no_heap;
    orphan_push(arg, arg);
}

static void make_exit_key(void)
{
    (void)pthread_key_create(&exit_key, on_thread_exit);
}

/* Give the calling thread a heap of its own. pthread_setspecific may allocate: by then it can. */
static bool heap_attach(void)
{
    struct heap *mine = orphan_pop();
    if (!mine) {
        mine = mmap(NULL, sizeof *mine, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mine == MAP_FAILED)
            return false;
    }
    heap = mine;
    pthread_once(&exit_once, make_exit_key);
    (void)pthread_setspecific(exit_key, mine);
    return true;
}

static size_t *word_of(void *block)
{
    return (size_t *)((char *)block - WORD);
}

static void *large_alloc(size_t size)
{
    size_t whole;
    if (__builtin_add_overflow(size, LARGE_OFFSET, &whole))
        return api_out_of_memory();
    struct chunk *chunk = chunk_map(whole);
    if (!chunk)
        return NULL;
    char *block = (char *)chunk + LARGE_OFFSET;
    *word_of(block) = LARGE_WORD;
    return block;
}

/* A block of `whole` bytes, at most SMALL_MAX, from the chunk. */
static void *carve(size_t whole)
{
    if (heap == &no_heap && !heap_attach())
        return api_out_of_memory();
    if ((size_t)(heap->end - heap->at) < whole) {
        struct chunk *chunk = chunk_map(CHUNK_SIZE);
        if (!chunk)
            return NULL;
        heap->at = (char *)chunk + CHUNK_HEADER - WORD;
        heap->end = (char *)chunk + chunk->size_bytes;
    }
    char *block = heap->at + WORD;
    heap->at += whole;
    *word_of(block) = whole;
    return block;
}

static __attribute__((noinline, cold)) void *malloc_slow(size_t size)
{
    if (size > PTRDIFF_MAX)
        return api_out_of_memory();
    size_t whole = (size + WORD + 15) & ~(size_t)15;
    if (whole > SMALL_MAX)
        return large_alloc(size);
    struct heap *before = heap;
    if (before == &no_heap && heap_attach() && heap->lists[whole / 16])
        return API(malloc)(size); /* an adopted heap may have what is needed */
    return carve(whole);
}

void *API(malloc)(size_t size)
{
    size_t whole = (size + WORD + 15) & ~(size_t)15;
    if (UNLIKELY(size > SMALL_MAX - WORD))
        return malloc_slow(size);
    struct heap *mine = heap;
    struct free_block *block = mine->lists[whole / 16];
    if (UNLIKELY(!block))
        return malloc_slow(size);
    mine->lists[whole / 16] = block->next;
    return block;
}

static __attribute__((noinline, cold)) void free_slow(void *block)
{
    if (!block)
        return;
    size_t word = *word_of(block);
    if (word & ALIGNED_WORD) {
        API(free)((char *)block - (word & ~ALIGNED_WORD));
    } else if (word == LARGE_WORD) {
        chunk_free(chunk_of(block));
    } else if (heap != &no_heap || heap_attach()) {
        API(free)(block);
    } /* else: no memory for a heap, the block is lost */
}

void API(free)(void *block)
{
    struct heap *mine = heap;
    if (UNLIKELY(!block || *word_of(block) > SMALL_MAX || mine == &no_heap)) {
        free_slow(block);
        return;
    }
    struct free_block *freed = block;
    size_t list = *word_of(block) / 16;
    freed->next = mine->lists[list];
    mine->lists[list] = freed;
}

size_t API(malloc_usable_size)(void *block)
{
    if (!block)
        return 0;
    size_t word = *word_of(block);
    if (word & ALIGNED_WORD) {
        size_t back = word & ~ALIGNED_WORD;
        return API(malloc_usable_size)((char *)block - back) - back;
    }
    if (word == LARGE_WORD)
        return chunk_of(block)->size_bytes - LARGE_OFFSET;
    return word - WORD;
}

void *API(calloc)(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return api_out_of_memory();
    void *block = API(malloc)(total);
    if (block && total <= SMALL_MAX - WORD) /* a large one is fresh: zero */
        memset(block, 0, total);
    return block;
}

void *API(realloc)(void *block, size_t size)
{
    if (!block)
        return API(malloc)(size);
    if (size == 0) {
        API(free)(block);
        return NULL;
    }
    size_t usable = API(malloc_usable_size)(block);
    if (size <= usable && size >= usable / 2)
        return block;
    void *fresh = API(malloc)(size);
    if (!fresh)
        return NULL;
    memcpy(fresh, block, size < usable ? size : usable);
    API(free)(block);
    return fresh;
}

void *API(memalign)(size_t alignment, size_t size)
{
    if (!api_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment <= API_ALIGNMENT)
        return API(malloc)(size);
    size_t padded;
    if (alignment > ALIGNMENT_MAX || __builtin_add_overflow(size, alignment, &padded))
        return api_out_of_memory();
    char *block = API(malloc)(padded);
    if (!block)
        return NULL;
    size_t skip = (size_t)(-(uintptr_t)block & (alignment - 1));
    if (skip == 0)
        return block;
    *word_of(block + skip) = ALIGNED_WORD | skip;
    return block + skip;
}
