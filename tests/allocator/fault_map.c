/* See fault_map.h. */
#include "tests/allocator/fault_map.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

void *__real_mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *start, size_t length);
int __wrap_munmap(void *start, size_t length);
void *__real_mremap(void *start, size_t length, size_t new_length, int flags);
void *__wrap_mremap(void *start, size_t length, size_t new_length, int flags);

#define PAGE ((size_t)4096)

static long calls_left = LONG_MAX;
static bool has_failed;
static bool shifts;
static long bytes;

void fault_map_arm(long nth)
{
    calls_left = nth - 1;
    has_failed = false;
}

bool fault_map_disarm(void)
{
    calls_left = LONG_MAX;
    return has_failed;
}

void fault_map_shift(bool on)
{
    shifts = on;
}

long fault_map_bytes(void)
{
    return bytes;
}

static bool fails(void)
{
    if (calls_left > 0) {
        calls_left--;
        return false;
    }
    has_failed = true;
    errno = ENOMEM;
    return true;
}

static long pages(size_t length)
{
    return (long)((length + PAGE - 1) & ~(PAGE - 1));
}

void *__wrap_mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (fails())
        return MAP_FAILED;
    bytes += pages(length);
    if (!shifts)
        return __real_mmap(start, length, protection, flags, fd, offset);
    char *wider = __real_mmap(start, length + 2 * PAGE, protection, flags, fd, offset);
    if (wider == MAP_FAILED)
        return MAP_FAILED;
    size_t skip = (uintptr_t)wider / PAGE % 2 ? 0 : PAGE;
    if (skip > 0)
        __real_munmap(wider, skip);
    __real_munmap(wider + skip + pages(length), 2 * PAGE - skip);
    return wider + skip;
}

int __wrap_munmap(void *start, size_t length)
{
    bytes -= pages(length);
    return __real_munmap(start, length);
}

void *__wrap_mremap(void *start, size_t length, size_t new_length, int flags)
{
    if (fails())
        return MAP_FAILED;
    bytes += pages(new_length) - pages(length);
    return __real_mremap(start, length, new_length, flags);
}
