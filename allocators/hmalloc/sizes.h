/* Size classes: 16-byte steps to 1 KiB, then eight per doubling to 32 KiB (at most 12.5% waste).
 * The tables are constant; both are derived from the formulas of sizes.c and tested against them.
 */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_SIZES_H
#define HEAPMARK_ALLOCATORS_HMALLOC_SIZES_H

#include "allocators/hmalloc/config.h"

/* Class of a request of 0..SLAB_MAX bytes: 1..CLASS_COUNT - 1. */
static inline unsigned size_class(size_t size)
{
    if (size <= FAST_MAX)
        return size == 0 ? 1 : (unsigned)((size + GRANULE - 1) / GRANULE);
    const unsigned doubling = 63 - (unsigned)__builtin_clzl(size - 1); /* 2^doubling < size */
    return 65 + (doubling - 10) * 8 + (unsigned)(((size - 1) >> (doubling - 3)) & 7);
}

static inline uint32_t class_size(unsigned class)
{
    if (class <= 64)
        return class * GRANULE;
    const unsigned doubling = 10 + (class - 65) / 8, step = (class - 65) % 8 + 1;
    return (1u << doubling) + (step << (doubling - 3));
}

/* What a thread that rarely uses a size takes instead, so that such sizes share slabs: classes in
 * eight steps per doubling below FAST_MAX too. An alignment that divides the class's size and is
 * asked for by memalign divides this one as well: see memalign. */
static inline unsigned class_coarse(unsigned class)
{
    if (class <= 16 || class > 64)
        return class;
    const unsigned step = class <= 32 ? 2 : 4;
    return (class + step - 1) / step * step;
}

/* Units of a slab of this class: at least eight blocks. */
static inline unsigned class_units(unsigned class)
{
    return class_size(class) <= KIB(8) ? 1 : 4;
}

#endif
