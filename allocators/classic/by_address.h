/* The order first fit and next fit share: by address, each node knowing the size of the largest
 * block below it. A subtree in which nothing fits is never entered, so that the scan "from here
 * upwards, the first that fits" takes O(log n) steps and still finds exactly what a walk over an
 * address-ordered list would find. */
#ifndef HEAPMARK_ALLOCATORS_CLASSIC_BY_ADDRESS_H
#define HEAPMARK_ALLOCATORS_CLASSIC_BY_ADDRESS_H

#include "allocators/classic/block.h"

static inline bool treap_before(const struct block *a, const struct block *b)
{
    return a < b;
}

static inline size_t largest_of(const struct block *node)
{
    return node ? node->largest : 0;
}

static inline void treap_update(struct block *b)
{
    size_t largest = block_size(b);
    if (largest_of(b->left) > largest)
        largest = largest_of(b->left);
    if (largest_of(b->right) > largest)
        largest = largest_of(b->right);
    b->largest = largest;
}

#include "allocators/classic/treap.h"

/* The block of the lowest address that has at least `size` bytes. */
static inline struct block *find_lowest(struct block *node, size_t size)
{
    if (largest_of(node) < size)
        return NULL;
    for (;;) {
        if (largest_of(node->left) >= size)
            node = node->left;
        else if (block_size(node) >= size)
            return node;
        else
            node = node->right;
    }
}

#endif
