/* Blocks and their boundary tags.
 *
 * A region is paved with blocks, no gaps. Each begins with an 8-byte tag; the payload follows and
 * starts at a multiple of 16, so block addresses are 8 more than one. Sizes are multiples of 16
 * and count the tag:
 *
 *        in use                       free
 *        +-----------------------+    +-----------------------+
 *   b -> | tag                   |    | tag                   |
 *        +-----------------------+    +-----------------------+
 *        | payload, the caller's |    | left, right, largest  |   node of the policy's tree
 *        |                       |    | ...                   |
 *        |                       |    | size                  |   the second boundary tag
 *        +-----------------------+    +-----------------------+
 *
 * The tag says whether the block itself and the one before it are in use. Only a free block ends
 * in a copy of its size: that is all its successor needs to find its start and merge with it
 * (Knuth, The Art of Computer Programming, vol. 1, 2.5, algorithm C), and blocks in use pay
 * 8 bytes instead of 16.
 *
 * The tag's upper 16 bits are a check over the rest of it and its own address. A tag that was
 * overwritten, or a pointer that never was a block, has the wrong check but once in 65536. */
#ifndef HEAPMARK_ALLOCATORS_CLASSIC_BLOCK_H
#define HEAPMARK_ALLOCATORS_CLASSIC_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAG_SIZE       ((size_t)8)
#define BLOCK_UNIT     ((size_t)16)
#define BLOCK_MIN      ((size_t)48) /* a free block holds tag, node and size: 40, rounded up */
#define TAG_IN_USE     ((uint64_t)1)
#define TAG_PREV_USED  ((uint64_t)2)
#define TAG_FLAGS      (BLOCK_UNIT - 1)
#define TAG_CHECK_BITS 16
#define TAG_SIZE_MAX   (((uint64_t)1 << (64 - TAG_CHECK_BITS)) - BLOCK_UNIT)

struct block {
    uint64_t tag;
    /* The rest only while the block is free. */
    struct block *left, *right; /* smaller and larger keys */
    size_t largest;             /* size of the largest block of this subtree (first, next fit) */
};

static inline size_t block_size(const struct block *b)
{
    return b->tag & TAG_SIZE_MAX;
}

static inline bool block_in_use(const struct block *b)
{
    return b->tag & TAG_IN_USE;
}

static inline bool block_prev_used(const struct block *b)
{
    return b->tag & TAG_PREV_USED;
}

/* Multiplicative hashing: the multiplier is 2^64 divided by the golden ratio (Knuth, vol. 3, 6.4).
 */
static inline uint64_t tag_check(const struct block *b, uint64_t value)
{
    uint64_t mixed = ((uintptr_t)b ^ value << 1) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed >> (64 - TAG_CHECK_BITS) << (64 - TAG_CHECK_BITS);
}

static inline void block_set(struct block *b, size_t size, uint64_t flags)
{
    uint64_t value = size | flags;
    b->tag = value | tag_check(b, value);
}

static inline void block_set_prev_used(struct block *b, bool used)
{
    uint64_t flags = b->tag & TAG_FLAGS & ~TAG_PREV_USED;
    block_set(b, block_size(b), flags | (used ? TAG_PREV_USED : 0));
}

/* Whether the tag is one that was written here. */
static inline bool block_tag_ok(const struct block *b)
{
    uint64_t value = b->tag & (TAG_SIZE_MAX | TAG_FLAGS);
    return b->tag == (value | tag_check(b, value));
}

static inline void *block_payload(struct block *b)
{
    return (char *)b + TAG_SIZE;
}

static inline struct block *block_of(const void *payload)
{
    return (struct block *)((char *)payload - TAG_SIZE);
}

static inline size_t block_usable(const struct block *b)
{
    return block_size(b) - TAG_SIZE;
}

static inline struct block *block_next(const struct block *b)
{
    return (struct block *)((char *)b + block_size(b));
}

/* The size a free block repeats in its last word. */
static inline size_t *block_last_word(const struct block *b)
{
    return (size_t *)((char *)b + block_size(b) - sizeof(size_t));
}

static inline size_t block_size_before(const struct block *b)
{
    return ((const size_t *)b)[-1];
}

/* The block before b, which must be free (!block_prev_used(b)). */
static inline struct block *block_prev(const struct block *b)
{
    return (struct block *)((char *)b - block_size_before(b));
}

/* Size of the block that holds a payload of `size` bytes, size <= PTRDIFF_MAX. */
static inline size_t block_need(size_t size)
{
    size_t need = (size + TAG_SIZE + BLOCK_UNIT - 1) & ~(BLOCK_UNIT - 1);
    return need < BLOCK_MIN ? BLOCK_MIN : need;
}

#endif
