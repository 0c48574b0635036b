#include "allocators/hmalloc/magazine.h"

#include <string.h>

#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/remote.h"
#include "allocators/hmalloc/sizes.h"
#include "allocators/hmalloc/slab.h"

#define CAPACITY_FIRST 7
#define CAPACITY_MAX   1023
#define CAPACITY_MIN   3 /* of the largest classes */
/* All magazines of a heap together may hold this much before they stop growing. */
#define HEAP_MAGAZINE_BYTES MIB(2)
/* A class is cold until a thread took this many bytes, or blocks, of it one by one. */
#define COLD_BYTES  KIB(8)
#define COLD_BLOCKS 16

void magazine_reset(struct bin *b)
{
    *b = (struct bin)BIN_NOTHING;
}

static void **array_new(unsigned capacity)
{
    void **array = meta_alloc((capacity + 1u) * sizeof(void *));
    if (array)
        array[0] = NULL;
    return array;
}

static void array_free(void **array, unsigned capacity)
{
    if (array)
        meta_free(array, (capacity + 1u) * sizeof(void *));
}

static unsigned capacity_max(unsigned class)
{
    const size_t fit = options.magazine_bytes / class_size(class);
    unsigned capacity = CAPACITY_MIN;
    while (capacity < CAPACITY_MAX && 2 * capacity + 1 <= fit)
        capacity = 2 * capacity + 1;
    return capacity;
}

static bool is_cold(const struct magazine *m, unsigned class)
{
    return !m->array && m->misses < COLD_BLOCKS && m->misses * class_size(class) < COLD_BYTES;
}

static unsigned capacity_next(const struct heap *h, unsigned class)
{
    const struct magazine *m = &h->magazines[class];
    const unsigned most = capacity_max(class);
    const unsigned now = m->array ? m->capacity : 0, next = now ? 2 * now + 1 : CAPACITY_FIRST;
    const unsigned capacity = next > most ? most : next;
    const size_t more = (size_t)(capacity - now) * class_size(class);
    return now > 0 && h->magazine_bytes + more > HEAP_MAGAZINE_BYTES ? now : capacity;
}

/* Give the bin an array, or one twice as large, with what it holds. False: it stays as it is,
 * because it is large enough or there is no memory. */
static bool grow(struct heap *h, unsigned class)
{
    if (options.hardened) /* every call is to come through the slow path */
        return false;
    struct magazine *m = &h->magazines[class];
    struct bin *b = &h->bins[class];
    const unsigned capacity = capacity_next(h, class), old = m->array ? m->capacity : 0;
    if (capacity == old || m->spare_full)
        return false;
    void **array = array_new(capacity);
    if (!array)
        return false;
    const size_t held = m->array ? (size_t)(b->top - m->array - 1) : 0;
    if (held > 0)
        memcpy(array + 1, m->array + 1, held * sizeof array[0]);
    array_free(m->array, old);
    array_free(m->spare, old);
    h->magazine_bytes += (capacity - old) * class_size(class);
    m->array = array;
    m->spare = NULL;
    m->capacity = (uint16_t)capacity;
    *b = (struct bin){array + 1 + held, array + 1 + capacity};
    return true;
}

static void swap(struct heap *h, unsigned class, bool to_full)
{
    struct magazine *m = &h->magazines[class];
    void **array = m->array;
    m->array = m->spare;
    m->spare = array;
    m->spare_full = !to_full;
    void **limit = m->array + 1 + m->capacity;
    h->bins[class] = (struct bin){to_full ? limit : m->array + 1, limit};
}

static void *pop(struct bin *b)
{
    return *--b->top;
}

static void *cold_take(struct heap *h, unsigned class, bool *ret_zeroed)
{
    struct heap *shared = heap_shared_lock();
    void *block = NULL;
    h->magazines[class].misses++;
    if (slab_take(shared, class_coarse(class), &block, 1, ret_zeroed) == 0)
        block = NULL;
    lock_leave(&shared->lock);
    return block;
}

static void *refill_locked(struct heap *h, unsigned class, bool *ret_zeroed)
{
    struct magazine *m = &h->magazines[class];
    void *one[1];
    (void)grow(h, class);
    void **out = m->array ? m->array + 1 : one;
    const unsigned want = m->array ? (m->capacity + 1u) / 2 : 1;
    const unsigned got = slab_take(h, class, out, want, ret_zeroed);
    if (got == 0)
        return NULL;
    if (m->array)
        h->bins[class].top = out + got - 1;
    return out[got - 1];
}

void *magazine_refill(struct heap *h, unsigned class, bool *ret_zeroed)
{
    struct magazine *m = &h->magazines[class];
    struct bin *b = &h->bins[class];
    void *block = NULL;
    *ret_zeroed = false;
    lock_take(&h->lock);
    if (m->spare_full)
        swap(h, class, true);
    else if (remote_waiting(h))
        (void)remote_drain(h, true, h);
    if (b->top[-1])
        block = pop(b);
    else if (!is_cold(m, class))
        block = refill_locked(h, class, ret_zeroed);
    lock_leave(&h->lock);
    if (!block && is_cold(m, class))
        block = cold_take(h, class, ret_zeroed);
    return block;
}

/* Nowhere to keep it: to the slab at once. */
static bool make_room(struct heap *h, unsigned class)
{
    struct magazine *m = &h->magazines[class];
    if (grow(h, class))
        return true;
    if (!m->array)
        return false;
    if (!m->spare)
        m->spare = array_new(m->capacity);
    if (!m->spare) {
        /* Flush what we have instead: no swap needs no memory. */
        slab_put(h, m->array + 1, m->capacity);
        h->bins[class].top = m->array + 1;
        return true;
    }
    if (m->spare_full)
        slab_put(h, m->spare + 1, m->capacity);
    swap(h, class, false);
    return true;
}

/* The program has given back most of what this heap handed out, and what is left is mostly in
 * magazines, where each block keeps a page: nobody may come by to free them later. The capacities
 * are a quick bound for what magazines hold. */
static bool is_draining(const struct heap *h)
{
    const size_t handed_out = h->block_bytes - h->free_bytes - h->virgin_bytes;
    return handed_out / 2 < h->magazine_bytes && handed_out / 2 < magazine_held(h);
}

void magazine_overflow(struct heap *h, unsigned class, void *block)
{
    lock_take(&h->lock);
    if (h->magazines[class].spare_full && is_draining(h))
        magazine_empty(h);
    if (make_room(h, class))
        *h->bins[class].top++ = block;
    else
        slab_put(h, &block, 1);
    if (slab_purge_due(h))
        (void)slab_purge(h);
    lock_leave(&h->lock);
}

void magazine_empty(struct heap *h)
{
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        struct magazine *m = &h->magazines[class];
        struct bin *b = &h->bins[class];
        if (m->array)
            slab_put(h, m->array + 1, (size_t)(b->top - m->array - 1));
        if (m->spare_full)
            slab_put(h, m->spare + 1, m->capacity);
        array_free(m->array, m->capacity);
        array_free(m->spare, m->capacity);
        *m = (struct magazine){.misses = m->misses};
        magazine_reset(b);
    }
    h->magazine_bytes = 0;
}

size_t magazine_held(const struct heap *h)
{
    size_t bytes = 0;
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        const struct magazine *m = &h->magazines[class];
        size_t blocks = m->spare_full ? m->capacity : 0;
        /* Acquire: partner of the fast paths of malloc.c, which do not take the lock. */
        if (m->array)
            blocks +=
                (size_t)(__atomic_load_n(&h->bins[class].top, __ATOMIC_ACQUIRE) - m->array - 1);
        bytes += blocks * class_size(class);
    }
    return bytes;
}
