/* Free objects: the pointer to the next one, and what it gives away about misuse.
 *
 * As in a hardened kernel (CONFIG_SLAB_FREELIST_HARDENED) the pointer is stored XORed with a secret
 * of the cache and with its own address, bytes swapped, so that who overwrites it cannot aim it.
 * Here it also serves as the mark of a free object: decoded, it is NULL or an object of the same
 * slab. In an object in use the word is cleared when it is handed out, and what the program writes
 * there afterwards decodes to such a value by chance once in 2^48. */
#ifndef HEAPMARK_ALLOCATORS_SLUB_OBJECT_H
#define HEAPMARK_ALLOCATORS_SLUB_OBJECT_H

#include "allocators/slub/slub.h"

static inline uintptr_t *object_word(const struct cache *cache, const struct object *object)
{
    return (uintptr_t *)((uintptr_t)object + cache->offset);
}

static inline uintptr_t object_key(const struct cache *cache, const uintptr_t *word)
{
    return cache->secret ^ __builtin_bswap64((uintptr_t)word);
}

static inline struct object *object_next(const struct cache *cache, const struct object *object)
{
    const uintptr_t *word = object_word(cache, object);
    return (struct object *)(*word ^ object_key(cache, word));
}

static inline void object_set_next(const struct cache *cache, struct object *object,
                                   const struct object *next)
{
    uintptr_t *word = object_word(cache, object);
    *word = (uintptr_t)next ^ object_key(cache, word);
}

static inline void object_clear(const struct cache *cache, struct object *object)
{
    *object_word(cache, object) = 0;
}

/* Slabs are aligned to their size: two addresses in one differ in the low bits only. */
static inline bool object_same_slab(const struct cache *cache, const void *a, const void *b)
{
    return ((uintptr_t)a ^ (uintptr_t)b) < order_bytes(cache->order);
}

static inline char *object_slab_start(const struct cache *cache, const void *object)
{
    return (char *)((uintptr_t)object & ~(order_bytes(cache->order) - 1));
}

/* Index of the object an address is in; at most cache->objects, which is behind the last. */
static inline unsigned object_index(const struct cache *cache, const void *address)
{
    size_t offset = (size_t)((const char *)address - object_slab_start(cache, address));
    return (unsigned)(((uint64_t)offset * cache->reciprocal) >> 32);
}

static inline bool object_is_start(const struct cache *cache, const void *address)
{
    unsigned index = object_index(cache, address);
    return index < cache->objects &&
           (const char *)address == object_slab_start(cache, address) + index * cache->size;
}

/* Whether the word says that the object is free. */
static inline bool object_looks_free(const struct cache *cache, const struct object *object)
{
    const struct object *next = object_next(cache, object);
    return !next || object_same_slab(cache, object, next);
}

/* Whether what a free object points to can be: NULL or another object of its slab. */
static inline bool object_next_ok(const struct cache *cache, const struct object *object,
                                  const struct object *next)
{
    return !next || (object_same_slab(cache, object, next) && object_is_start(cache, next));
}

#endif
