/* The walker: every arena's map from its first unit to its last, then every list. For tests, and
 * for whoever steps through the allocator and wants to know where it stands. */
#include "allocators/buddy/buddy.h"

struct walk {
    size_t free_count[ORDERS_COUNT]; /* as the maps say */
    size_t used_count, used_bytes, arenas_count;
    const char *wrong; /* NULL so far */
    const void *where;
};

static void wrong(struct walk *walk, const void *where, const char *what)
{
    if (!walk->wrong) {
        walk->wrong = what;
        walk->where = where;
    }
}

/* The block that starts at a unit. Returns the unit behind it. */
static unsigned walk_block(struct walk *walk, const struct arena *arena, unsigned unit)
{
    uint8_t entry = arena->map[unit];
    unsigned order = map_order(entry), units = 1u << order;
    const void *where = unit_address(arena, unit);
    if (order > ORDER_ARENA || unit % units != 0 ||
        (entry != (MAP_USED | order) && entry != (MAP_FREE | order))) {
        wrong(walk, where, "the map names no block where one must start");
        return ARENA_UNITS;
    }
    for (unsigned i = 1; i < units; i++)
        if (arena->map[unit + i] != MAP_INSIDE)
            wrong(walk, where, "the map names a block inside of a block");
    if (entry & MAP_USED) {
        walk->used_count++;
        walk->used_bytes += order_bytes(order);
        return unit + units;
    }
    if (order < ORDER_ARENA && arena->map[unit ^ units] == entry)
        wrong(walk, where, "two free buddies are not one block");
    walk->free_count[order]++;
    return unit + units;
}

static void walk_arena(struct walk *walk, const struct arena *arena)
{
    if (arena_of(arena->start) != arena || arena_of(arena->start + ARENA_SIZE - 1) != arena)
        wrong(walk, arena, "the table leads elsewhere");
    for (unsigned unit = 0; unit < ARENA_UNITS && !walk->wrong;)
        unit = walk_block(walk, arena, unit);
    walk->arenas_count++;
}

static void walk_list(struct walk *walk, unsigned order)
{
    const struct link *before = NULL;
    size_t count = 0;
    for (const struct link *link = buddy.free[order].first; link; link = link->next) {
        const struct arena *arena = arena_of(link);
        if (!arena || arena->map[unit_of(arena, link)] != (MAP_FREE | order) ||
            link->prev != before || count > buddy.free[order].count) {
            wrong(walk, link, "the list of an order is broken, or a free block was written to");
            return;
        }
        before = link;
        count++;
    }
    if (count != walk->free_count[order] || count != buddy.free[order].count)
        wrong(walk, &buddy.free[order], "a list does not hold every free block of its order");
}

const char *buddy_check_locked(const void **ret_where)
{
    struct walk walk = {0};
    for (const struct arena *arena = buddy.arenas; arena && !walk.wrong; arena = arena->next)
        walk_arena(&walk, arena);
    for (unsigned order = 0; order < ORDERS_COUNT && !walk.wrong; order++)
        walk_list(&walk, order);
    if (!walk.wrong &&
        (walk.used_count != buddy.used_count || walk.used_bytes != buddy.used_bytes ||
         walk.arenas_count != buddy.arenas_count ||
         walk.free_count[ORDER_ARENA] != buddy.arenas_empty))
        wrong(&walk, &buddy, "the figures do not agree with the blocks");
    *ret_where = walk.where;
    return walk.wrong;
}
