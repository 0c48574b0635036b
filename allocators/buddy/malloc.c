/* The malloc family on the buddy system: a block for every request, its size rounded up to a power
 * of two; above BLOCK_MAX a mapping of its own (common/large.c).
 *
 * Loaded by heapmark-runner or by LD_PRELOAD as libhm_classic_buddy.so. One lock: any thread. */
#include <stdio.h>
#include <string.h>

#include "allocators/buddy/buddy.h"
#include "allocators/common/classic.h"
#include "allocators/common/fault.h"
#include "allocators/common/fork.h"
#include "allocators/common/large.h"

#define BLOCK_MAX (ARENA_SIZE / 2)

const char fault_name[] = "buddy";

/* A block in use, or a large one: exactly one of arena and large is set. */
struct found {
    struct arena *arena;
    unsigned unit;
    struct large *large;
};

static size_t found_size(const struct found *found)
{
    return order_bytes(map_order(found->arena->map[found->unit]));
}

/* What the caller's pointer means; else the program ends. With the lock held, which is left if the
 * block is a large one. */
static struct found resolve(const char *call, const void *payload)
{
    struct found found = {.arena = arena_of(payload)};
    if (found.arena) {
        found.unit = unit_of(found.arena, payload);
        if ((uintptr_t)payload % UNIT_SIZE == 0 && found.arena->map[found.unit] & MAP_USED)
            return found;
    } else {
        found.large = large_of(payload);
    }
    const char *misuse = found.large ? NULL : buddy_misuse_locked(payload);
    lock_leave(&buddy.lock);
    if (misuse)
        fault(call, payload, misuse);
    return found;
}

static void *block_alloc(size_t size)
{
    lock_take(&buddy.lock);
    void *payload = buddy_alloc_locked(order_of(size));
    lock_leave(&buddy.lock);
    return payload ? payload : api_out_of_memory();
}

void *API(malloc)(size_t size)
{
    if (UNLIKELY(size > PTRDIFF_MAX))
        return api_out_of_memory();
    return size <= BLOCK_MAX ? block_alloc(size) : large_alloc(API_ALIGNMENT, size);
}

void API(free)(void *payload)
{
    if (!payload)
        return;
    int saved = errno;
    lock_take(&buddy.lock);
    struct found found = resolve("free", payload);
    if (found.large) {
        large_free(found.large);
    } else {
        buddy_free_locked(found.arena, found.unit);
        lock_leave(&buddy.lock);
    }
    errno = saved;
}

void *API(calloc)(size_t count, size_t size)
{
    return large_calloc(count, size, BLOCK_MAX + 1);
}

/* A block is aligned to its size: one that is as large as the alignment will do. */
void *API(memalign)(size_t alignment, size_t size)
{
    if (!api_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (size > PTRDIFF_MAX || alignment > PTRDIFF_MAX)
        return api_out_of_memory();
    if (size <= BLOCK_MAX && alignment <= BLOCK_MAX)
        return block_alloc(size > alignment ? size : alignment);
    return large_alloc(alignment > API_ALIGNMENT ? alignment : API_ALIGNMENT, size);
}

size_t API(malloc_usable_size)(void *payload)
{
    if (!payload)
        return 0;
    lock_take(&buddy.lock);
    struct found found = resolve("malloc_usable_size", payload);
    if (found.large)
        return large_usable(found.large);
    size_t usable = found_size(&found);
    lock_leave(&buddy.lock);
    return usable;
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
    lock_take(&buddy.lock);
    struct found found = resolve("realloc", payload);
    if (found.large)
        return size > BLOCK_MAX ? large_resize(found.large, size)
                                : move(payload, large_usable(found.large), size);
    size_t usable = found_size(&found);
    bool done = size <= BLOCK_MAX && buddy_resize_locked(found.arena, found.unit, order_of(size));
    lock_leave(&buddy.lock);
    return done ? payload : move(payload, usable, size);
}

/* --- what it says of itself ------------------------------------------------------------------- */

const char *classic_version(void)
{
    return "buddy 1";
}

int classic_check(void)
{
    const void *where;
    lock_take(&buddy.lock);
    const char *wrong = buddy_check_locked(&where);
    lock_leave(&buddy.lock);
    if (!wrong)
        return 0;
    fprintf(stderr, "buddy: check: %p: %s\n", where, wrong);
    return -1;
}

struct mallinfo2 API(mallinfo2)(void)
{
    size_t free_count = 0;
    lock_take(&buddy.lock);
    for (unsigned order = 0; order < ORDERS_COUNT; order++)
        free_count += buddy.free[order].count;
    struct mallinfo2 info = {
        .arena = buddy.arenas_count * ARENA_SIZE,
        .ordblks = free_count,
        .hblks = atomic_load_explicit(&large_figures.count, memory_order_relaxed),
        .hblkhd = atomic_load_explicit(&large_figures.bytes, memory_order_relaxed),
        .uordblks = buddy.used_bytes,
        .fordblks = buddy.arenas_count * ARENA_SIZE - buddy.used_bytes,
        .keepcost = buddy.arenas_empty * ARENA_SIZE,
    };
    lock_leave(&buddy.lock);
    return info;
}

/* The figures, and the free blocks of each order as /proc/buddyinfo has them. */
void API(malloc_stats)(void)
{
    struct mallinfo2 info = API(mallinfo2)();
    size_t counts[ORDERS_COUNT];
    lock_take(&buddy.lock);
    for (unsigned order = 0; order < ORDERS_COUNT; order++)
        counts[order] = buddy.free[order].count;
    lock_leave(&buddy.lock);
    char text[1024];
    int length =
        snprintf(text, sizeof text,
                 "classic, buddy\n"
                 "arenas        %14zu bytes\n"
                 "in use        %14zu bytes\n"
                 "free          %14zu bytes in %zu blocks\n"
                 "large         %14zu bytes in %zu blocks\n"
                 "free by size ",
                 info.arena, info.uordblks, info.fordblks, info.ordblks, info.hblkhd, info.hblks);
    for (unsigned order = 0; order < ORDERS_COUNT; order++)
        length += snprintf(text + length, sizeof text - (size_t)length, " %zu:%zu",
                           order_bytes(order), counts[order]);
    length += snprintf(text + length, sizeof text - (size_t)length, "\n");
    (void)!write(STDERR_FILENO, text, (size_t)length);
}

int API(malloc_trim)(size_t pad)
{
    (void)pad; /* glibc's: bytes to leave at the top; there is no single top here */
    lock_take(&buddy.lock);
    bool released = buddy_trim_locked();
    lock_leave(&buddy.lock);
    return released;
}

/* --- fork ------------------------------------------------------------------------------------- */

__attribute__((constructor)) static void watch_forks(void)
{
    fork_watch(&buddy.lock);
}
