/* What the tests of the slab allocator share: looking at its structures from outside. */
#ifndef HEAPMARK_TESTS_ALLOCATOR_SLUB_LOOK_H
#define HEAPMARK_TESTS_ALLOCATOR_SLUB_LOOK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>

#include "allocators/common/classic.h"
#include "allocators/slub/slub.h"

/* Every test starts and ends with nothing mapped. */
static inline int nothing_left(void **state)
{
    (void)state;
    (void)classic_malloc_trim(0);
    struct mallinfo2 info = classic_mallinfo2();
    return info.arena == 0 && info.uordblks == 0 && info.hblks == 0 && classic_check() == 0 ? 0
                                                                                            : -1;
}

static inline size_t index_of_size(size_t size)
{
    for (size_t i = 0; i < CACHES_COUNT; i++)
        if (caches[i].size == size)
            return i;
    fail_msg("no cache of %zu", size);
    return 0;
}

static inline struct page *page_of(const void *object)
{
    struct arena *arena = arena_of(object);
    assert_non_null(arena);
    struct page *pages = (struct page *)arena->descriptors;
    return atomic_load(&pages[unit_of(arena, object)].head);
}

static inline size_t slabs_of(const struct cache *cache)
{
    return atomic_load(&cache->slabs_count);
}

static inline void run_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, body, arg), 0);
    pthread_join(thread, NULL);
}

struct batch {
    void **objects;
    unsigned count;
};

static inline void *free_batch(void *arg)
{
    const struct batch *batch = arg;
    for (unsigned i = 0; i < batch->count; i++)
        classic_free(batch->objects[i]);
    return NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, nothing_left, nothing_left)

#endif
