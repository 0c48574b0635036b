#include "allocators/hmalloc/magazine.h"

#include <string.h>

#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/remote.h"
#include "allocators/hmalloc/sizes.h"
#include "allocators/hmalloc/slab.h"

#define CAPACITY_FIRST 8
#define CAPACITY_MAX   4096
#define CAPACITY_MIN   4 /* of the largest classes */
/* All magazines of a heap together may hold this much before they stop growing. */
#define HEAP_MAGAZINE_BYTES MIB(2)
/* A class is cold until a thread took this many bytes, or blocks, of it one by one. */
#define COLD_BYTES  KIB(8)
#define COLD_BLOCKS 16

void magazine_reset(struct bin *b)
{
    *b = (struct bin){NULL, bin_nothing, bin_nothing, bin_nothing};
}

static void **array_new(unsigned capacity)
{
    void **array = meta_alloc(capacity * sizeof(void *));
    if (array)
        array[0] = NULL;
    return array;
}

static void array_free(void **array, unsigned capacity)
{
    if (array)
        meta_free(array, capacity * sizeof(void *));
}

static unsigned capacity_max(unsigned class)
{
    const size_t fit = options.magazine_bytes / class_size(class);
    unsigned capacity = CAPACITY_MIN;
    while (capacity < CAPACITY_MAX && 2 * capacity <= fit)
        capacity *= 2;
    return capacity;
}

static bool is_cold(const struct heap *h, unsigned class)
{
    const struct magazine *m = &h->magazines[class];
    return !bin_has_array(&h->bins[class]) && m->misses < COLD_BLOCKS &&
           m->misses * class_size(class) < COLD_BYTES;
}

static unsigned capacity_next(const struct heap *h, unsigned class)
{
    const struct magazine *m = &h->magazines[class];
    const unsigned most = capacity_max(class);
    const unsigned now = m->capacity, next = now ? 2 * now : CAPACITY_FIRST;
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
    const unsigned capacity = capacity_next(h, class), old = m->capacity;
    if (capacity == old || m->spare_full)
        return false;
    void **array = array_new(capacity);
    if (!array)
        return false;
    const size_t held = (size_t)(b->top - b->array);
    if (held > 0)
        memcpy(array, b->array, held * sizeof array[0]);
    if (old > 0)
        array_free(b->array, old);
    array_free(m->spare, old);
    h->magazine_bytes += (capacity - old) * class_size(class);
    m->spare = NULL;
    m->capacity = (uint16_t)capacity;
    *b = (struct bin){b->next, array + held, array + capacity, array};
    return true;
}

/* All blocks of a full bin side by side, from array[0] on: the topmost takes the NULL's place. */
static void **bin_close(struct bin *b)
{
    b->array[0] = b->next;
    return b->array;
}

/* The full bin's array becomes the spare, an empty one takes its place. */
static void swap_full(struct heap *h, unsigned class)
{
    struct magazine *m = &h->magazines[class];
    struct bin *b = &h->bins[class];
    void **array = m->spare;
    array[0] = NULL;
    m->spare = bin_close(b);
    m->spare_full = true;
    *b = (struct bin){NULL, array, array + m->capacity, array};
}

/* The full spare becomes the empty bin's array. */
static void swap_empty(struct heap *h, unsigned class)
{
    struct magazine *m = &h->magazines[class];
    struct bin *b = &h->bins[class];
    void **array = m->spare, **limit = array + m->capacity, *next = array[0];
    array[0] = NULL;
    m->spare = b->array;
    m->spare_full = false;
    *b = (struct bin){next, limit, limit, array};
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
    struct bin *b = &h->bins[class];
    void *one[1];
    (void)grow(h, class);
    if (!bin_has_array(b))
        return slab_take(h, class, one, 1, ret_zeroed) == 1 ? one[0] : NULL;
    /* The last one goes to the program, the one before it is next. */
    const unsigned got = slab_take(h, class, b->array + 1, m->capacity / 2, ret_zeroed);
    if (got == 0)
        return NULL;
    void *block = b->array[got];
    b->next = got > 1 ? b->array[got - 1] : NULL;
    b->array[0] = NULL;
    __atomic_store_n(&b->top, b->array + got - 1, __ATOMIC_RELEASE);
    return block;
}

void *magazine_refill(struct heap *h, unsigned class, bool *ret_zeroed)
{
    struct magazine *m = &h->magazines[class];
    struct bin *b = &h->bins[class];
    void *block = NULL;
    *ret_zeroed = false;
    m->refilled = true;
    lock_take(&h->lock);
    if (m->spare_full)
        swap_empty(h, class);
    else if (remote_waiting(h))
        (void)remote_drain(h, true, h);
    if (b->next)
        block = bin_pop(b);
    else if (!is_cold(h, class))
        block = refill_locked(h, class, ret_zeroed);
    lock_leave(&h->lock);
    if (!block && is_cold(h, class))
        block = cold_take(h, class, ret_zeroed);
    return block;
}

/* Nowhere to keep it: to the slab at once. */
static bool make_room(struct heap *h, unsigned class)
{
    struct magazine *m = &h->magazines[class];
    struct bin *b = &h->bins[class];
    /* Only while the program takes as well as frees: who only frees needs no larger magazine. */
    const bool takes = m->refilled || !bin_has_array(b);
    m->refilled = false;
    if (takes && grow(h, class))
        return true;
    if (!bin_has_array(b))
        return false;
    if (!m->spare)
        m->spare = array_new(m->capacity);
    if (!m->spare) {
        /* No memory for a second array: flush the only one. */
        slab_put(h, bin_close(b), m->capacity);
        b->array[0] = NULL;
        *b = (struct bin){NULL, b->array, b->limit, b->array};
        return true;
    }
    if (m->spare_full)
        slab_put(h, m->spare, m->capacity);
    swap_full(h, class);
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
    if (!h->magazines[class].refilled && is_draining(h))
        magazine_empty(h);
    if (make_room(h, class))
        bin_push(&h->bins[class], block);
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
        if (b->next)
            slab_put(h, bin_close(b), (size_t)(b->top - b->array));
        if (m->spare_full)
            slab_put(h, m->spare, m->capacity);
        if (bin_has_array(b))
            array_free(b->array, m->capacity);
        array_free(m->spare, m->capacity);
        *m = (struct magazine){.misses = m->misses};
        magazine_reset(b);
    }
    h->magazine_bytes = 0;
}

size_t magazine_blocks(const struct heap *h, unsigned class)
{
    const struct bin *b = &h->bins[class];
    const size_t spare = h->magazines[class].spare_full ? h->magazines[class].capacity : 0;
    if (!bin_has_array(b))
        return spare;
    /* Acquire: partner of the fast paths of malloc.c, which do not take the lock. */
    return spare + (size_t)(__atomic_load_n(&b->top, __ATOMIC_ACQUIRE) - b->array);
}

size_t magazine_held(const struct heap *h)
{
    size_t bytes = 0;
    for (unsigned class = 1; class < CLASS_COUNT; class ++)
        bytes += magazine_blocks(h, class) * class_size(class);
    return bytes;
}
