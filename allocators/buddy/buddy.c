/* Splitting and merging. The free blocks of each order are in a list, which goes through the
 * blocks themselves; the map says which units start a block, of which order, in use or free. */
#include "allocators/buddy/buddy.h"

#include <sys/mman.h>
#include <unistd.h>

#include "allocators/common/fault.h"

struct buddy buddy;

/* --- the lists -------------------------------------------------------------------------------- */

/* Whether a free block of that order starts there. A link leads nowhere else, unless the program
 * wrote to memory it had freed. */
static bool is_free(const struct link *link, unsigned order)
{
    const struct arena *arena = arena_of(link);
    return arena && (uintptr_t)link % order_bytes(order) == 0 &&
           arena->map[unit_of(arena, link)] == (MAP_FREE | order);
}

static void file_block(struct arena *arena, unsigned unit, unsigned order)
{
    struct free_list *list = &buddy.free[order];
    struct link *link = unit_address(arena, unit);
    arena->map[unit] = (uint8_t)(MAP_FREE | order);
    *link = (struct link){.prev = NULL, .next = list->first};
    if (list->first)
        list->first->prev = link;
    list->first = link;
    list->count++;
}

/* Take a free block out of its list. Its map entry is the caller's to change. */
static void unfile_block(struct link *link, unsigned order)
{
    struct free_list *list = &buddy.free[order];
    bool prev_ok =
        link->prev ? is_free(link->prev, order) && link->prev->next == link : list->first == link;
    bool next_ok = !link->next || (is_free(link->next, order) && link->next->prev == link);
    if (!prev_ok || !next_ok) {
        lock_leave(&buddy.lock);
        fault("list", link, "a free block was written to");
    }
    if (link->prev)
        link->prev->next = link->next;
    else
        list->first = link->next;
    if (link->next)
        link->next->prev = link->prev;
    list->count--;
}

/* --- allocation ------------------------------------------------------------------------------- */

/* A free block of at least that order, out of its list. Its order to *ret_order. */
static struct link *take_free(unsigned order, unsigned *ret_order)
{
    for (unsigned o = order; o <= ORDER_ARENA; o++) {
        struct link *link = buddy.free[o].first;
        if (!link)
            continue;
        unfile_block(link, o);
        if (o == ORDER_ARENA)
            buddy.arenas_empty--;
        *ret_order = o;
        return link;
    }
    struct arena *arena = arena_add_locked();
    *ret_order = ORDER_ARENA;
    return arena ? unit_address(arena, 0) : NULL;
}

/* Halve a block of order `from` until it is of order `to`. The upper halves become free. */
static void split(struct arena *arena, unsigned unit, unsigned from, unsigned to)
{
    while (from > to) {
        from--;
        file_block(arena, unit + (1u << from), from);
    }
}

void *buddy_alloc_locked(unsigned order)
{
    unsigned found;
    struct link *block = take_free(order, &found);
    if (!block)
        return NULL;
    struct arena *arena = arena_of(block);
    unsigned unit = unit_of(arena, block);
    split(arena, unit, found, order);
    arena->map[unit] = (uint8_t)(MAP_USED | order);
    buddy.used_count++;
    buddy.used_bytes += order_bytes(order);
    return block;
}

/* --- release ---------------------------------------------------------------------------------- */

/* Of two empty arenas the one that was empty before stays: a program that hovers around the edge
 * of an arena does not map and unmap it for ever. */
static void arena_became_empty(struct arena *arena)
{
    if (buddy.arenas_empty > 0) {
        arena_remove_locked(arena);
        return;
    }
    buddy.arenas_empty++;
    file_block(arena, 0, ORDER_ARENA);
}

/* Make a block free: as long as its buddy is free and whole, the two are one block. */
static void merge(struct arena *arena, unsigned unit, unsigned order)
{
    while (order < ORDER_ARENA) {
        unsigned other = unit ^ (1u << order);
        if (arena->map[other] != (MAP_FREE | order))
            break;
        unfile_block(unit_address(arena, other), order);
        arena->map[unit | other] = MAP_INSIDE; /* the upper half's; the lower half's is set below */
        unit &= other;
        order++;
    }
    if (order == ORDER_ARENA)
        arena_became_empty(arena);
    else
        file_block(arena, unit, order);
}

void buddy_free_locked(struct arena *arena, unsigned unit)
{
    unsigned order = map_order(arena->map[unit]);
    buddy.used_count--;
    buddy.used_bytes -= order_bytes(order);
    arena->map[unit] = MAP_INSIDE;
    merge(arena, unit, order);
}

/* --- resizing --------------------------------------------------------------------------------- */

static bool can_grow(const struct arena *arena, unsigned unit, unsigned from, unsigned to)
{
    for (unsigned o = from; o < to; o++)
        if ((unit & (1u << o)) || arena->map[unit + (1u << o)] != (MAP_FREE | o))
            return false;
    return true;
}

bool buddy_resize_locked(struct arena *arena, unsigned unit, unsigned order)
{
    unsigned old = map_order(arena->map[unit]);
    if (order > old && !can_grow(arena, unit, old, order))
        return false;
    for (unsigned o = old; o < order; o++) {
        unfile_block(unit_address(arena, unit + (1u << o)), o);
        arena->map[unit + (1u << o)] = MAP_INSIDE;
    }
    split(arena, unit, old, order);
    arena->map[unit] = (uint8_t)(MAP_USED | order);
    buddy.used_bytes += order_bytes(order) - order_bytes(old);
    return true;
}

/* --- questions -------------------------------------------------------------------------------- */

/* A block of order k that contains the unit can only start in one place: try each order. */
unsigned buddy_head_locked(const struct arena *arena, unsigned unit)
{
    for (unsigned order = 0;; order++) {
        unsigned head = unit & ~((1u << order) - 1);
        if (arena->map[head] != MAP_INSIDE)
            return head;
    }
}

const char *buddy_misuse_locked(const void *payload)
{
    const struct arena *arena = arena_of(payload);
    if (!arena)
        return "pointer from elsewhere, or a large block freed before";
    unsigned head = buddy_head_locked(arena, unit_of(arena, payload));
    bool at_unit = (uintptr_t)payload % UNIT_SIZE == 0;
    if (at_unit && !(arena->map[head] & MAP_USED))
        return "double free: the block is already free";
    return "not the start of a block";
}

/* --- giving back ------------------------------------------------------------------------------ */

/* The whole pages after the link. */
static bool purge_block(const struct link *link, unsigned order, size_t page)
{
    uintptr_t from = ((uintptr_t)(link + 1) + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)link + order_bytes(order)) & ~(page - 1);
    return to > from && madvise((void *)from, to - from, MADV_DONTNEED) == 0;
}

bool buddy_trim_locked(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bool released = buddy.arenas_empty > 0;
    while (buddy.free[ORDER_ARENA].first) {
        struct link *link = buddy.free[ORDER_ARENA].first;
        unfile_block(link, ORDER_ARENA);
        arena_remove_locked(arena_of(link));
    }
    buddy.arenas_empty = 0;
    for (unsigned order = 0; order < ORDER_ARENA; order++)
        for (struct link *link = buddy.free[order].first; link; link = link->next)
            released |= purge_block(link, order, page);
    return released;
}
