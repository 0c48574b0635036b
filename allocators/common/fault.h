/* A program that misuses the heap ends here. */
#ifndef HEAPMARK_ALLOCATORS_COMMON_FAULT_H
#define HEAPMARK_ALLOCATORS_COMMON_FAULT_H

#include <stdnoreturn.h>

extern const char fault_name[]; /* of the allocator; each defines it */

/* One line on stderr, "NAME: call(payload): what", then abort. Leave every lock first: a handler
 * of SIGABRT may allocate. */
noreturn void fault(const char *call, const void *payload, const char *what);

#endif
