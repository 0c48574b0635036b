/* Arenas: where they come from and how the one behind an address is found.
 *
 * An arena is a mapping aligned to its size; its descriptor with the map is another mapping, so
 * that nothing of ours lies between the program's blocks. A table of two levels over the address
 * leads from one to the other, as the kernel's sparse memory model leads from a page frame number
 * to the section's page descriptors. Leaves are mapped when first needed and stay.
 *
 * The table is written under the lock and read without it: whoever holds a block in an arena got
 * it after the entry was stored, and the entry stays until the last block is free. */
#include <stdatomic.h>
#include <sys/mman.h>

#include "allocators/api/api.h"
#include "allocators/buddy/buddy.h"

#define ADDRESS_BITS 48
#define LEAF_BITS    14
#define ROOT_BITS    (ADDRESS_BITS - ARENA_SHIFT - LEAF_BITS)

struct leaf {
    _Atomic(struct arena *) arenas[1 << LEAF_BITS];
};

static _Atomic(struct leaf *) root[1 << ROOT_BITS]; /* release on storing, acquire on loading */

static void *map_pages(size_t size)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

static size_t descriptor_size(void)
{
    return sizeof(struct arena) + (size_t)ARENA_UNITS * BUDDY_DESCRIPTOR_SIZE;
}

struct arena *arena_of(const void *address)
{
    uintptr_t number = (uintptr_t)address >> ARENA_SHIFT;
    if (number >> (ROOT_BITS + LEAF_BITS))
        return NULL;
    struct leaf *leaf = atomic_load_explicit(&root[number >> LEAF_BITS], memory_order_acquire);
    if (!leaf)
        return NULL;
    return atomic_load_explicit(&leaf->arenas[number & ((1 << LEAF_BITS) - 1)],
                                memory_order_acquire);
}

/* Say which arena lies at an address. False: no memory for the leaf. */
static bool table_set(const char *start, struct arena *arena)
{
    uintptr_t number = (uintptr_t)start >> ARENA_SHIFT;
    if (number >> (ROOT_BITS + LEAF_BITS))
        return false;
    struct leaf *leaf = atomic_load_explicit(&root[number >> LEAF_BITS], memory_order_relaxed);
    if (!leaf) {
        leaf = map_pages(sizeof *leaf);
        if (!leaf)
            return false;
        atomic_store_explicit(&root[number >> LEAF_BITS], leaf, memory_order_release);
    }
    atomic_store_explicit(&leaf->arenas[number & ((1 << LEAF_BITS) - 1)], arena,
                          memory_order_release);
    return true;
}

/* The kernel hands out addresses downwards: below an arena, the next is often aligned by itself.
 * If not, map twice as much and cut off what is too much. */
static char *map_aligned(void)
{
    char *start = map_pages(ARENA_SIZE);
    if (!start || (uintptr_t)start % ARENA_SIZE == 0)
        return start;
    munmap(start, ARENA_SIZE);
    start = map_pages(2 * ARENA_SIZE);
    if (!start)
        return NULL;
    size_t before = -(uintptr_t)start & (ARENA_SIZE - 1);
    if (before > 0)
        munmap(start, before);
    munmap(start + before + ARENA_SIZE, ARENA_SIZE - before);
    return start + before;
}

struct arena *arena_add_locked(void)
{
    char *start = map_aligned();
    struct arena *arena = start ? map_pages(descriptor_size()) : NULL;
    if (!arena || !table_set(start, arena)) {
        if (arena)
            munmap(arena, descriptor_size());
        if (start)
            munmap(start, ARENA_SIZE);
        return NULL;
    }
    arena->start = start;
    arena->next = buddy.arenas;
    if (arena->next)
        arena->next->prev = arena;
    buddy.arenas = arena;
    buddy.arenas_count++;
    return arena;
}

void arena_remove_locked(struct arena *arena)
{
    if (arena->prev)
        arena->prev->next = arena->next;
    else
        buddy.arenas = arena->next;
    if (arena->next)
        arena->next->prev = arena->prev;
    buddy.arenas_count--;
    (void)table_set(arena->start, NULL);
    munmap(arena->start, ARENA_SIZE);
    munmap(arena, descriptor_size());
}
