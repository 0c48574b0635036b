/* What every allocator of kind classic exports beside the malloc family: the classic adapter, the
 * tests and a debugger ask for these. */
#ifndef HEAPMARK_ALLOCATORS_COMMON_CLASSIC_H
#define HEAPMARK_ALLOCATORS_COMMON_CLASSIC_H

#include <malloc.h>

#include "allocators/api/api.h"

EXPORT const char *classic_version(void); /* "first fit 1" */
/* Walk the whole heap and compare everything that is said twice: metadata, lists, figures. 0, or
 * -1 after one line on stderr that says what is wrong and where. Other threads should rest. */
EXPORT int classic_check(void);

EXPORT struct mallinfo2 API(mallinfo2)(void);
EXPORT void API(malloc_stats)(void);
EXPORT int API(malloc_trim)(size_t pad);

#endif
