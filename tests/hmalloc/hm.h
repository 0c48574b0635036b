/* What hmalloc's tests share. They are linked with libhmalloc_test, whose names begin with hm_ and
 * which has whatever sanitizers the build has. */
#ifndef HEAPMARK_TESTS_HMALLOC_HM_H
#define HEAPMARK_TESTS_HMALLOC_HM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/api/api.h"
#include "allocators/hmalloc/hmalloc.h"

#if defined(__SANITIZE_THREAD__)
#define HM_TSAN 1
#else
#define HM_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HM_ASAN 1
#else
#define HM_ASAN 0
#endif

static inline uint64_t hm_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Every byte of small blocks; of large ones both ends and a byte of each page. */
static inline size_t hm_next_byte(size_t at, size_t size)
{
    return at < 2048 || size - at <= 2048 ? at + 1
           : at + 4096 < size - 2048      ? at + 4096
                                          : size - 2048;
}

static inline unsigned char hm_byte(size_t at, uint32_t seed)
{
    return (unsigned char)((seed >> 8) + (uint32_t)at * (seed | 1));
}

static inline void hm_fill(void *block, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i = hm_next_byte(i, size))
        ((unsigned char *)block)[i] = hm_byte(i, seed);
}

/* Is what hm_fill wrote to a block of `size` still there, as far as `up_to`? */
static inline bool hm_intact(const void *block, size_t size, size_t up_to, uint32_t seed)
{
    for (size_t i = 0; i < size && i < up_to; i = hm_next_byte(i, size))
        if (((const unsigned char *)block)[i] != hm_byte(i, seed))
            return false;
    return true;
}

static inline size_t hm_allocated(void)
{
    struct hmalloc_stats s;
    (void)hmalloc_purge();
    hmalloc_stats_get(&s);
    return s.allocated;
}

#endif
