/* Best fit: of all free blocks that are large enough, the smallest; among equals the one with the
 * lowest address. The tree is ordered by size, then address, and needs no figures of subtrees. */
#include "allocators/classic/policy.h"

static inline bool treap_before(const struct block *a, const struct block *b)
{
    size_t a_size = block_size(a), b_size = block_size(b);
    return a_size != b_size ? a_size < b_size : a < b;
}

static inline void treap_update(struct block *b)
{
    (void)b;
}

#include "allocators/classic/treap.h"

POLICY_NAMED("best fit");

static struct block *root; /* heap lock */

void policy_insert(struct block *b)
{
    root = treap_insert(root, b);
}

void policy_remove(struct block *b)
{
    root = treap_remove(root, b);
}

struct block *policy_find(size_t size)
{
    struct block *best = NULL;
    for (struct block *node = root; node;) {
        if (block_size(node) >= size) {
            best = node; /* and perhaps a smaller one, or an equal one lower, to the left */
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

void policy_allocated(const struct block *b)
{
    (void)b;
}

long policy_check(void)
{
    return treap_check(root, NULL, NULL);
}
