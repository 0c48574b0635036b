/* The heap walker: for tests, and for whoever steps through the allocator and wants to know where
 * it stands. */
#include <stdio.h>

#include "allocators/classic/heap.h"
#include "allocators/classic/policy.h"

struct walk {
    size_t used_count, free_count, free_bytes;
    unsigned regions_empty;
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

static void walk_block(struct walk *walk, const struct block *b, bool prev_used)
{
    if (block_prev_used(b) != prev_used)
        wrong(walk, b, "the tag is mistaken about the block before it");
    if (block_in_use(b)) {
        walk->used_count++;
        return;
    }
    if (!prev_used)
        wrong(walk, b, "two free blocks touch");
    if (*block_last_word(b) != block_size(b))
        wrong(walk, b, "the size at the end of a free block is not its size");
    walk->free_count++;
    walk->free_bytes += block_size(b);
}

static void walk_region(struct walk *walk, const struct region *region)
{
    const struct block *b = region_first(region);
    const struct block *end = (const struct block *)(region->start + region->size - TAG_SIZE);
    bool prev_used = true;
    while (b < end && !walk->wrong) {
        if (!block_tag_ok(b) || block_size(b) < BLOCK_MIN ||
            block_size(b) > (size_t)((const char *)end - (const char *)b)) {
            wrong(walk, b, "boundary tag overwritten");
            return;
        }
        walk_block(walk, b, prev_used);
        prev_used = block_in_use(b);
        b = block_next(b);
    }
    if (walk->wrong)
        return;
    if (!block_tag_ok(end) || block_size(end) != 0 || block_prev_used(end) != prev_used)
        wrong(walk, end, "end tag overwritten");
    walk->regions_empty += region_is_empty(region);
}

static void walk_heap(struct walk *walk)
{
    for (unsigned i = 0; i < heap.regions_count && !walk->wrong; i++)
        walk_region(walk, &heap.regions[i]);
    if (walk->wrong)
        return;
    if (walk->used_count != heap.used_count || walk->free_count != heap.free_count ||
        walk->free_bytes != heap.free_bytes || walk->regions_empty != heap.regions_empty)
        wrong(walk, &heap, "the figures do not agree with the blocks");
    if (policy_check() != (long)walk->free_count)
        wrong(walk, &heap, "the policy's tree is out of order or does not hold every free block");
}

int classic_check(void)
{
    struct walk walk = {0};
    lock_take(&heap.lock);
    walk_heap(&walk);
    lock_leave(&heap.lock);
    if (!walk.wrong)
        return 0;
    fprintf(stderr, "classic: check: %p: %s\n", walk.where, walk.wrong);
    return -1;
}
