/* Symbol lookup of the adapters, and the list of their descriptors. */
#ifndef HEAPMARK_ALLOCATORS_ADAPTERS_LOOKUP_H
#define HEAPMARK_ALLOCATORS_ADAPTERS_LOOKUP_H

#include "allocators/adapters/adapter.h"

/* dlsym that does not look into dependencies: a handle's search order ends in the C library,
 * whose mallinfo2 or malloc_trim would answer for an allocator that has none. NULL if the library
 * behind `dl` does not define the symbol itself. */
void *adapter_lookup(void *dl, const char *name);

/* The same in the C library, whatever handle the runner has for it. */
void *adapter_lookup_libc(void *dl, const char *name);

#define ADAPTER(name) extern const struct adapter adapter_##name;
#include "allocators/adapters/adapters.def"
#undef ADAPTER

#endif
