/* A treap of free blocks: a search tree by a key, and a heap by a priority that is a hash of the
 * block's address (Seidel, Aragon 1996). Random priorities keep it balanced whatever the order
 * of insertions; that they follow from the address means they need no room in the block.
 *
 * The including file defines, before inclusion:
 *   bool treap_before(const struct block *a, const struct block *b)   strict order of keys
 *   void treap_update(struct block *b)   recompute what b knows of its subtree
 * and gets a static implementation of its own. Expected O(log n) each. */
#ifndef HEAPMARK_ALLOCATORS_CLASSIC_TREAP_H
#define HEAPMARK_ALLOCATORS_CLASSIC_TREAP_H

#include "allocators/classic/block.h"

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014) without its first step. */
static inline uint64_t treap_priority(const struct block *b)
{
    uint64_t z = (uintptr_t)b >> 4;
    z = (z ^ (z >> 15)) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ (z >> 29);
}

/* All of `node` that comes before key to *ret_left, the rest to *ret_right. */
static void treap_split(struct block *node, const struct block *key, struct block **ret_left,
                        struct block **ret_right)
{
    if (!node) {
        *ret_left = *ret_right = NULL;
    } else if (treap_before(node, key)) {
        treap_split(node->right, key, &node->right, ret_right);
        treap_update(node);
        *ret_left = node;
    } else {
        treap_split(node->left, key, ret_left, &node->left);
        treap_update(node);
        *ret_right = node;
    }
}

/* One tree of two, every key of left being before every key of right. */
static struct block *treap_join(struct block *left, struct block *right)
{
    if (!left || !right)
        return left ? left : right;
    if (treap_priority(left) > treap_priority(right)) {
        left->right = treap_join(left->right, right);
        treap_update(left);
        return left;
    }
    right->left = treap_join(left, right->left);
    treap_update(right);
    return right;
}

/* Each returns the new root of the subtree it was given. */
static struct block *treap_insert(struct block *node, struct block *b)
{
    if (!node || treap_priority(b) > treap_priority(node)) {
        treap_split(node, b, &b->left, &b->right);
        treap_update(b);
        return b;
    }
    if (treap_before(b, node))
        node->left = treap_insert(node->left, b);
    else
        node->right = treap_insert(node->right, b);
    treap_update(node);
    return node;
}

static struct block *treap_remove(struct block *node, const struct block *b)
{
    if (node == b)
        return treap_join(node->left, node->right);
    if (treap_before(b, node))
        node->left = treap_remove(node->left, b);
    else
        node->right = treap_remove(node->right, b);
    treap_update(node);
    return node;
}

/* Number of nodes, or -1 if order, priorities or what treap_update keeps is wrong. Keys must lie
 * between low and high (NULL: no bound). */
static long treap_check(struct block *node, const struct block *low, const struct block *high)
{
    if (!node)
        return 0;
    if (!block_tag_ok(node) || block_in_use(node) || (low && !treap_before(low, node)) ||
        (high && !treap_before(node, high)))
        return -1;
    for (int side = 0; side < 2; side++) {
        const struct block *child = side ? node->right : node->left;
        if (child && treap_priority(child) > treap_priority(node))
            return -1;
    }
    long left = treap_check(node->left, low, node);
    long right = treap_check(node->right, node, high);
    size_t largest = node->largest;
    treap_update(node);
    return left < 0 || right < 0 || node->largest != largest ? -1 : left + right + 1;
}

#endif
