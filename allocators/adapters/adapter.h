/* What only some allocators can tell or do, behind one table: their version, their own count of
 * allocated and mapped bytes, giving free memory back. One row per adapter name of the catalogue.
 *
 * Linked into heapmark-runner only. `dl` is the handle the runner got from dlopen (for the C
 * library: dlopen(NULL)); nothing here opens a library. Symbols are looked up in `dl` and nowhere
 * else, and nothing of ours is allocated from any malloc. Main thread, outside measured slices.
 * Calls may themselves allocate inside the allocator under test (mallctl does not; malloc_trim
 * takes its locks). */
#ifndef HEAPMARK_ALLOCATORS_ADAPTERS_ADAPTER_H
#define HEAPMARK_ALLOCATORS_ADAPTERS_ADAPTER_H

#include <stdint.h>

#define ADAPTER_VERSION_SIZE 64
#define ADAPTER_UNKNOWN      UINT64_MAX /* the allocator does not tell this figure */

struct adapter_stats {
    uint64_t allocated_bytes; /* in blocks the program holds, as the allocator counts them */
    uint64_t committed_bytes; /* backed pages it thinks it holds */
    uint64_t mapped_bytes;    /* address space from the kernel */
};

/* Each call may be NULL. They return 0 or -errno: -ENOSYS when the library lacks the symbol,
 * -EIO when the call itself failed. */
struct adapter {
    const char *name; /* "jemalloc", "tcmalloc", "mimalloc", "glibc", "tbb", "scudo", "classic" */
    int (*version)(void *dl, char ret_version[ADAPTER_VERSION_SIZE]);
    int (*stats)(void *dl, struct adapter_stats *ret);
    int (*purge)(void *dl); /* give back what is free, as far as the allocator can */
};

/* NULL for "" and for a name there is no adapter for. */
const struct adapter *adapter_find(const char *name);

/* The visible list, NULL-terminated. */
extern const struct adapter *const adapters[];

#endif
