#include "allocators/hmalloc/meta.h"

#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/os.h"

#define META_ORDERS 11 /* 64 << 10 = 64 KiB */
#define META_STEP   KIB(256)

struct meta_free {
    struct meta_free *next;
};

struct lock meta_lock;
/* All under meta_lock. */
static struct meta_free *free_lists[META_ORDERS];
static char *fresh, *fresh_end;
static size_t mapped_bytes;

static unsigned order_of(size_t size)
{
    return size <= META_MIN ? 0 : (unsigned)(64 - __builtin_clzl((size - 1) / META_MIN));
}

/* From the fresh area; what alignment skips goes to the free lists. */
static void *fresh_take(size_t size)
{
    const size_t alignment = size < 4096 ? size : 4096;
    for (;;) {
        while (fresh && ((uintptr_t)fresh & (alignment - 1)) != 0) {
            const size_t piece = (size_t)1 << __builtin_ctzl((uintptr_t)fresh);
            struct meta_free *f = (struct meta_free *)fresh;
            f->next = free_lists[order_of(piece)];
            free_lists[order_of(piece)] = f;
            fresh += piece;
        }
        if (fresh && (size_t)(fresh_end - fresh) >= size) {
            void *block = fresh;
            fresh += size;
            return block;
        }
        /* What is left of the old area (less than `size`) is lost to fresh_take, not to us: page
         * sized pieces go to the lists. */
        while (fresh && fresh < fresh_end) {
            const size_t left = (size_t)(fresh_end - fresh);
            size_t piece = (size_t)1 << __builtin_ctzl((uintptr_t)fresh);
            while (piece > left || piece > META_MAX)
                piece /= 2;
            struct meta_free *f = (struct meta_free *)fresh;
            f->next = free_lists[order_of(piece)];
            free_lists[order_of(piece)] = f;
            fresh += piece;
        }
        fresh = os_map(META_STEP, false);
        if (!fresh) {
            fresh_end = NULL;
            return NULL;
        }
        os_huge(fresh, META_STEP, false);
        fresh_end = fresh + META_STEP;
        mapped_bytes += META_STEP;
    }
}

void *meta_alloc(size_t size)
{
    const unsigned order = order_of(size);
    lock_take(&meta_lock);
    struct meta_free *f = free_lists[order];
    void *block = f;
    if (f)
        free_lists[order] = f->next;
    else
        block = fresh_take((size_t)META_MIN << order);
    lock_leave(&meta_lock);
    return block;
}

void meta_free(void *block, size_t size)
{
    const unsigned order = order_of(size);
    struct meta_free *f = block;
    lock_take(&meta_lock);
    f->next = free_lists[order];
    free_lists[order] = f;
    lock_leave(&meta_lock);
}

size_t meta_bytes(void)
{
    return __atomic_load_n(&mapped_bytes, __ATOMIC_RELAXED);
}
