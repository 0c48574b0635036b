/* What the heap says of itself, and malloc_trim. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "allocators/common/classic.h"
#include "allocators/common/large.h"
#include "allocators/slub/slub.h"

const char *classic_version(void)
{
    return "slub 1";
}

struct figures {
    size_t live[CACHES_COUNT];    /* objects the program has */
    size_t slabs[CACHES_COUNT];   /* slabs, full ones too */
    size_t partial[CACHES_COUNT]; /* in the caches' lists */
    size_t live_bytes, slab_bytes, block_bytes, arena_bytes, empty_bytes;
};

/* With every lock held. Threads at work go on counting: figures are exact when they rest. */
static void figures_read(struct figures *f)
{
    memset(f, 0, sizeof *f);
    for (unsigned i = 0; i < CACHES_COUNT; i++) {
        long live = atomic_load_explicit(&caches[i].live, memory_order_relaxed);
        for (const struct thread *t = NULL; (t = thread_next(t));)
            live += atomic_load_explicit(&t->active[i].live, memory_order_relaxed);
        f->live[i] = live > 0 ? (size_t)live : 0;
        f->slabs[i] = atomic_load_explicit(&caches[i].slabs_count, memory_order_relaxed);
        f->partial[i] = caches[i].partial_count;
        f->live_bytes += f->live[i] * caches[i].size;
        f->slab_bytes += f->slabs[i] * order_bytes(caches[i].order);
    }
    f->block_bytes = buddy.used_bytes > f->slab_bytes ? buddy.used_bytes - f->slab_bytes : 0;
    f->arena_bytes = buddy.arenas_count * ARENA_SIZE;
    f->empty_bytes = buddy.arenas_empty * ARENA_SIZE;
}

static void figures_get(struct figures *f)
{
    lock_everything();
    figures_read(f);
    leave_everything();
}

struct mallinfo2 API(mallinfo2)(void)
{
    struct figures f;
    figures_get(&f);
    size_t used = f.live_bytes + f.block_bytes;
    return (struct mallinfo2){
        .arena = f.arena_bytes,
        .hblks = atomic_load_explicit(&large_figures.count, memory_order_relaxed),
        .hblkhd = atomic_load_explicit(&large_figures.bytes, memory_order_relaxed),
        .uordblks = used,
        .fordblks = f.arena_bytes > used ? f.arena_bytes - used : 0,
        .keepcost = f.empty_bytes,
    };
}

/* The figures, then a line per cache as /proc/slabinfo has them. */
void API(malloc_stats)(void)
{
    struct figures f;
    figures_get(&f);
    char text[2048];
    int length = snprintf(text, sizeof text,
                          "classic, slub\n"
                          "arenas        %14zu bytes\n"
                          "slabs         %14zu bytes, objects in use %zu\n"
                          "pages         %14zu bytes\n"
                          "large         %14zu bytes in %zu blocks\n"
                          "cache   in use   objects per-slab pages    slabs  partial\n",
                          f.arena_bytes, f.slab_bytes, f.live_bytes, f.block_bytes,
                          atomic_load_explicit(&large_figures.bytes, memory_order_relaxed),
                          atomic_load_explicit(&large_figures.count, memory_order_relaxed));
    for (unsigned i = 0; i < CACHES_COUNT; i++)
        length += snprintf(text + length, sizeof text - (size_t)length,
                           "%5zu %8zu %9zu %8u %5u %8zu %8zu\n", caches[i].size, f.live[i],
                           f.slabs[i] * caches[i].objects, caches[i].objects, 1u << caches[i].order,
                           f.slabs[i], f.partial[i]);
    (void)!write(STDERR_FILENO, text, (size_t)length);
}

/* The caller's slabs go to their caches, empty ones become pages, free pages go to the kernel. What
 * other threads hold stays theirs. */
int API(malloc_trim)(size_t pad)
{
    (void)pad; /* glibc's: bytes to leave at the top; there is no single top here */
    thread_flush_self();
    for (unsigned i = 0; i < CACHES_COUNT; i++)
        slab_shrink(&caches[i]);
    lock_take(&buddy.lock);
    bool released = buddy_trim_locked();
    lock_leave(&buddy.lock);
    return released;
}
