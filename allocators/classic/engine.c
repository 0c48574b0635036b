/* The textbook allocator: blocks with boundary tags, split on allocation, merged on free.
 *
 * Loaded by heapmark-runner or by LD_PRELOAD. One heap, one lock: any thread. The policy
 * (policy.h) says which free block to take; everything else is here. Common part of
 * libhm_classic_first.so, libhm_classic_next.so and libhm_classic_best.so. */
#include <string.h>

#include "allocators/classic/heap.h"
#include "allocators/classic/policy.h"
#include "allocators/common/fork.h"

struct heap heap;
const char fault_name[] = "classic";

noreturn void fault_locked(const char *call, const void *payload, const char *what)
{
    lock_leave(&heap.lock);
    fault(call, payload, what);
}

/* Put a free block on file: tag, the size in its last word, its successor's flag, the policy. */
static void file_free(struct block *b, size_t size)
{
    block_set(b, size, TAG_PREV_USED); /* before it: in use, or it would have been merged */
    *block_last_word(b) = size;
    block_set_prev_used(block_next(b), false);
    policy_insert(b);
    heap.free_count++;
    heap.free_bytes += size;
}

void block_unfile(struct block *b)
{
    policy_remove(b);
    heap.free_count--;
    heap.free_bytes -= block_size(b);
}

/* Of two empty regions the one that was empty before stays. */
static void give_back(struct region *region)
{
    if (heap.regions_empty == 0) {
        heap.regions_empty = 1;
        return;
    }
    block_unfile(region_first(region));
    region_remove(region);
}

struct block *block_release(struct block *b)
{
    struct block *next = block_next(b);
    size_t size = block_size(b);
    block_set(b, size, b->tag & TAG_PREV_USED); /* stays readable: a second free is recognised */
    if (!block_in_use(next)) {
        block_unfile(next);
        size += block_size(next);
    }
    if (!block_prev_used(b)) {
        b = block_prev(b);
        block_unfile(b);
        size += block_size(b);
    }
    file_free(b, size);
    heap.used_count--;
    return b;
}

static void block_give(struct block *b)
{
    struct region *region = region_of(block_release(b));
    if (region_is_empty(region))
        give_back(region);
}

/* Cut what b, in use, does not need off its end, if it is enough for a block. */
static void trim_tail(struct block *b, size_t need)
{
    size_t rest = block_size(b) - need;
    if (rest < BLOCK_MIN)
        return;
    struct block *tail = (struct block *)((char *)b + need);
    block_set(tail, rest, TAG_IN_USE | TAG_PREV_USED);
    block_set(b, need, b->tag & TAG_FLAGS);
    heap.used_count++;
    block_give(tail);
}

/* A block in use of at least `need` bytes and perhaps much more. NULL: out of memory. */
static struct block *take_whole(size_t need)
{
    struct block *b = policy_find(need);
    if (!b) {
        if (region_add(need) < 0)
            return NULL;
        b = policy_find(need);
    }
    if (region_is_empty(region_of(b)))
        heap.regions_empty--;
    block_unfile(b);
    block_set(b, block_size(b), TAG_IN_USE | TAG_PREV_USED);
    block_set_prev_used(block_next(b), true);
    heap.used_count++;
    return b;
}

static void *small_alloc(size_t size)
{
    size_t need = block_need(size);
    lock_take(&heap.lock);
    struct block *b = take_whole(need);
    if (b) {
        trim_tail(b, need);
        policy_allocated(b);
    }
    lock_leave(&heap.lock);
    return b ? block_payload(b) : api_out_of_memory();
}

/* Take enough that an aligned payload is in it, then give both ends back. */
static void *small_alloc_aligned(size_t alignment, size_t size)
{
    size_t need = block_need(size);
    lock_take(&heap.lock);
    struct block *b = take_whole(need + alignment + BLOCK_MIN);
    if (b) {
        uintptr_t payload = (uintptr_t)block_payload(b);
        if (payload & (alignment - 1)) {
            /* The front must be a block of its own. */
            size_t front = BLOCK_MIN + (-(payload + BLOCK_MIN) & (alignment - 1));
            struct block *aligned = (struct block *)((char *)b + front);
            block_set(aligned, block_size(b) - front, TAG_IN_USE | TAG_PREV_USED);
            block_set(b, front, b->tag & TAG_FLAGS);
            heap.used_count++;
            block_give(b);
            b = aligned;
        }
        trim_tail(b, need);
        policy_allocated(b);
    }
    lock_leave(&heap.lock);
    return b ? block_payload(b) : api_out_of_memory();
}

/* The block a caller's pointer means, which must be in use and sound; else the program ends. */
static struct block *check_block(const struct region *region, const char *call, const void *payload)
{
    struct block *b = block_of(payload);
    if ((uintptr_t)payload % API_ALIGNMENT != 0 || b < region_first(region) || !block_tag_ok(b))
        fault_locked(call, payload,
                     "not the start of a block, or the boundary tag before it was overwritten");
    if (!block_in_use(b))
        fault_locked(call, payload, "double free: the block is already free");
    struct block *next = block_next(b);
    if (!block_tag_ok(next) || !block_prev_used(next))
        fault_locked(call, payload, "the boundary tag after the block was overwritten");
    if (block_prev_used(b))
        return b;
    size_t before = block_size_before(b);
    if (before < BLOCK_MIN || before % BLOCK_UNIT != 0 ||
        before > (size_t)((char *)b - (char *)region_first(region)) ||
        !block_tag_ok(block_prev(b)) || block_size(block_prev(b)) != before)
        fault_locked(call, payload, "the free block before it was written to");
    return b;
}

/* With the lock held: the block in a region, or NULL and the lock left if it is a large one. */
static struct block *resolve(const char *call, const void *payload, struct large **ret_large)
{
    const struct region *region = region_of(payload);
    if (region)
        return check_block(region, call, payload);
    *ret_large = large_of(payload);
    if (!*ret_large)
        fault_locked(call, payload, "pointer from elsewhere, or a large block freed before");
    lock_leave(&heap.lock);
    return NULL;
}

void *API(malloc)(size_t size)
{
    if (UNLIKELY(size > PTRDIFF_MAX))
        return api_out_of_memory();
    return size < LARGE_MIN ? small_alloc(size) : large_alloc(API_ALIGNMENT, size);
}

void API(free)(void *payload)
{
    if (!payload)
        return;
    struct large *large = NULL;
    lock_take(&heap.lock);
    struct block *b = resolve("free", payload, &large);
    if (!b) {
        large_free(large);
        return;
    }
    int saved = errno;
    block_give(b);
    lock_leave(&heap.lock);
    errno = saved;
}

void *API(calloc)(size_t count, size_t size)
{
    return large_calloc(count, size, LARGE_MIN);
}

void *API(memalign)(size_t alignment, size_t size)
{
    if (!api_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment <= API_ALIGNMENT)
        return API(malloc)(size);
    if (size > PTRDIFF_MAX || alignment > PTRDIFF_MAX)
        return api_out_of_memory();
    if (size >= LARGE_MIN || alignment >= LARGE_MIN || size + alignment >= LARGE_MIN)
        return large_alloc(alignment, size);
    return small_alloc_aligned(alignment, size);
}

size_t API(malloc_usable_size)(void *payload)
{
    if (!payload)
        return 0;
    struct large *large = NULL;
    lock_take(&heap.lock);
    struct block *b = resolve("malloc_usable_size", payload, &large);
    if (!b)
        return large_usable(large);
    size_t usable = block_usable(b);
    lock_leave(&heap.lock);
    return usable;
}

/* Shrink, or grow into a free block that follows. With the lock held. */
static bool resize_in_place(struct block *b, size_t need)
{
    struct block *next = block_next(b);
    if (block_size(b) < need) {
        if (block_in_use(next) || block_size(b) + block_size(next) < need)
            return false;
        block_unfile(next);
        block_set(b, block_size(b) + block_size(next), b->tag & TAG_FLAGS);
        block_set_prev_used(block_next(b), true);
    }
    trim_tail(b, need);
    return true;
}

static void *move(void *payload, size_t usable, size_t size)
{
    void *moved = API(malloc)(size);
    if (!moved)
        return NULL;
    memcpy(moved, payload, size < usable ? size : usable);
    API(free)(payload);
    return moved;
}

void *API(realloc)(void *payload, size_t size)
{
    if (!payload)
        return API(malloc)(size);
    if (size == 0) {
        API(free)(payload);
        return NULL;
    }
    if (UNLIKELY(size > PTRDIFF_MAX))
        return api_out_of_memory();
    struct large *large = NULL;
    lock_take(&heap.lock);
    struct block *b = resolve("realloc", payload, &large);
    if (!b)
        return size >= LARGE_MIN ? large_resize(large, size)
                                 : move(payload, large_usable(large), size);
    size_t usable = block_usable(b);
    bool done = size < LARGE_MIN && resize_in_place(b, block_need(size));
    lock_leave(&heap.lock);
    return done ? payload : move(payload, usable, size);
}

const char *classic_version(void)
{
    return policy_version;
}

__attribute__((constructor)) static void watch_forks(void)
{
    fork_watch(&heap.lock);
}
