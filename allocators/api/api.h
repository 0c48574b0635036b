/* How our in-tree allocators export the malloc family.
 *
 * Each one defines API(malloc), API(free), API(calloc), API(realloc) and API(memalign); api.c,
 * compiled into each, makes the rest of the family out of these. Semantics, where the standards
 * leave a choice: malloc(0) returns a block of its own; realloc(p, 0) frees p and returns NULL, as
 * glibc does; an alignment that is no power of two is EINVAL; free() keeps errno.
 *
 * With HM_API_PREFIX the names get that prefix, so that the same code can be linked into a
 * sanitized test beside the process's own malloc. */
#ifndef HEAPMARK_ALLOCATORS_API_API_H
#define HEAPMARK_ALLOCATORS_API_API_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gcc's analyzer takes our own malloc and free for the C library's: what one returns is leaked,
 * what the other got must not be looked at. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#pragma GCC diagnostic ignored "-Wanalyzer-use-after-free"
#endif

#ifdef HM_API_PREFIX
#define API_PASTE_(a, b) a##b
#define API_PASTE(a, b)  API_PASTE_(a, b)
#define API(name)        API_PASTE(HM_API_PREFIX, name)
#else
#define API(name) name
#endif

#define EXPORT        __attribute__((visibility("default")))
#define UNLIKELY(x)   __builtin_expect(!!(x), 0)
#define INITIAL_EXEC  __attribute__((tls_model("initial-exec")))
#define API_ALIGNMENT 16 /* of every block: max_align_t on x86-64 and aarch64 */

EXPORT void *API(malloc)(size_t size);
EXPORT void API(free)(void *block);
EXPORT void *API(calloc)(size_t count, size_t size);
EXPORT void *API(realloc)(void *block, size_t size);
EXPORT void *API(memalign)(size_t alignment, size_t size);
EXPORT size_t API(malloc_usable_size)(void *block);

EXPORT void *API(aligned_alloc)(size_t alignment, size_t size);
EXPORT int API(posix_memalign)(void **ret_block, size_t alignment, size_t size);
EXPORT void *API(valloc)(size_t size);
EXPORT void *API(pvalloc)(size_t size);
EXPORT void *API(reallocarray)(void *block, size_t count, size_t size);
EXPORT void API(cfree)(void *block);
EXPORT void API(free_sized)(void *block, size_t size);
EXPORT void API(free_aligned_sized)(void *block, size_t alignment, size_t size);

static inline void *api_out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static inline bool api_is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

#endif
