/* mmap that fails when a test wants it to, and a count of what is mapped. The test links
 * fault_map.c and passes --wrap=mmap, --wrap=munmap and --wrap=mremap. One thread at a time. */
#ifndef HEAPMARK_TESTS_ALLOCATOR_FAULT_MAP_H
#define HEAPMARK_TESTS_ALLOCATOR_FAULT_MAP_H

#include <stdbool.h>

void fault_map_arm(long nth);  /* the nth call from now fails with ENOMEM, and all after it */
bool fault_map_disarm(void);   /* whether one failed */
void fault_map_shift(bool on); /* what is mapped starts at an odd page */
long fault_map_bytes(void);    /* mapped and not unmapped so far */

#endif
