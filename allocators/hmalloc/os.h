/* The only file that talks to the kernel. Nothing here changes errno, allocates, or takes a lock.
 * Any thread. Sizes are bytes, multiples of the page size where memory is mapped. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_OS_H
#define HEAPMARK_ALLOCATORS_HMALLOC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Page size of this process, a power of two between 4 and 64 KiB. */
size_t os_page_size(void);
/* Significant bits of a user address: 47 on x86-64, 48 on aarch64. */
unsigned os_address_bits(void);

/* Zeroed private memory, or NULL. `reserve`: more than will ever be touched, so it is not to count
 * against overcommit and not to appear in core dumps. */
void *os_map(size_t size, bool reserve);
/* The same, aligned to a power of two. */
void *os_map_aligned(size_t size, size_t alignment, bool reserve);
/* At exactly this address, or NULL when something is there already. */
void *os_map_at(void *address, size_t size);
void os_unmap(void *address, size_t size);
/* Pages stay mapped, their contents are gone, reading gives zeros (MADV_DONTNEED). */
void os_discard(void *address, size_t size);
/* Grow or shrink a mapping where it is. False: nothing changed. */
bool os_resize(void *address, size_t old_size, size_t new_size);
/* Move a mapping onto a larger one, which it replaces from its start on. False: nothing changed. */
bool os_move(void *from, void *to, size_t old_size, size_t new_size);
void os_huge(void *address, size_t size, bool wanted);
/* May it be read and written, or not touched at all. False: nothing changed. */
bool os_protect(void *address, size_t size, bool usable);
/* RLIMIT_AS; SIZE_MAX without one. */
size_t os_address_space_max(void);

/* Milliseconds of a clock that costs a few nanoseconds to read and steps a few milliseconds. */
uint64_t os_clock_ms(void);
uint64_t os_random(void);
void os_yield(void);
/* To the end of a file, made if need be. False: not all of it was written. */
bool os_append(const char *file, const char *text, size_t length);
void os_write_error(const char *text, size_t length);

#endif
