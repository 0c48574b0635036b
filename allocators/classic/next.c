/* Next fit: as first fit, but the search goes on where the last one ended: the first free block
 * at or above the roving pointer that is large enough, and from the bottom if there is none.
 *
 * The rover stands at the end of the block handed out last. A free block that has grown around it
 * by coalescing takes it along to its own start, so that the block is not skipped. */
#include "allocators/classic/policy.h"

#include "allocators/classic/by_address.h"

POLICY_NAMED("next fit");

static struct block *root;        /* heap lock */
static const struct block *rover; /* heap lock; an address only, never followed */

void policy_insert(struct block *b)
{
    if (b < rover && rover < block_next(b))
        rover = b;
    root = treap_insert(root, b);
}

void policy_remove(struct block *b)
{
    root = treap_remove(root, b);
}

/* The lowest block at or above `from` that has at least `size` bytes. Below a node that lies at
 * or above `from`, everything to the right does too: at most one path is searched in vain. */
static struct block *find_from(struct block *node, const struct block *from, size_t size)
{
    if (largest_of(node) < size)
        return NULL;
    if (node < from)
        return find_from(node->right, from, size);
    struct block *found = find_from(node->left, from, size);
    if (found)
        return found;
    return block_size(node) >= size ? node : find_lowest(node->right, size);
}

struct block *policy_find(size_t size)
{
    struct block *found = find_from(root, rover, size);
    return found ? found : find_lowest(root, size);
}

void policy_allocated(const struct block *b)
{
    rover = block_next(b);
}

long policy_check(void)
{
    return treap_check(root, NULL, NULL);
}
