/* Runs of set bits in a bitmap of CHUNK_UNITS bits. Pure. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_BITS_H
#define HEAPMARK_ALLOCATORS_HMALLOC_BITS_H

#include <stdbool.h>

#include "allocators/hmalloc/config.h"

#define BITS_WORDS (CHUNK_UNITS / 64)

struct bits {
    uint64_t word[BITS_WORDS];
};

/* First bit at or after `from` that is `value`; CHUNK_UNITS when there is none. */
static inline unsigned bits_find(const struct bits *b, unsigned from, bool value)
{
    const uint64_t flip = value ? 0 : ~(uint64_t)0;
    if (from >= CHUNK_UNITS)
        return CHUNK_UNITS;
    unsigned w = from / 64;
    uint64_t word = (b->word[w] ^ flip) & (~(uint64_t)0 << (from % 64));
    while (word == 0)
        if (++w == BITS_WORDS)
            return CHUNK_UNITS;
        else
            word = b->word[w] ^ flip;
    return w * 64 + (unsigned)__builtin_ctzl(word);
}

static inline void bits_set(struct bits *b, unsigned from, unsigned count, bool value)
{
    while (count > 0) {
        const unsigned shift = from % 64, n = 64 - shift < count ? 64 - shift : count;
        const uint64_t mask = (n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << shift;
        if (value)
            b->word[from / 64] |= mask;
        else
            b->word[from / 64] &= ~mask;
        from += n;
        count -= n;
    }
}

/* How many of these bits are set. */
static inline unsigned bits_count(const struct bits *b, unsigned from, unsigned count)
{
    unsigned set = 0;
    while (count > 0) {
        const unsigned shift = from % 64, n = 64 - shift < count ? 64 - shift : count;
        const uint64_t mask = (n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << shift;
        set += (unsigned)__builtin_popcountl(b->word[from / 64] & mask);
        from += n;
        count -= n;
    }
    return set;
}

#endif
