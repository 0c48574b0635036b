#include "allocators/hmalloc/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "allocators/hmalloc/config.h"

#ifndef MADV_DONTDUMP
#define MADV_DONTDUMP 16
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

size_t os_page_size(void)
{
#ifdef HMALLOC_TEST_PAGE_SIZE
    return HMALLOC_TEST_PAGE_SIZE; /* larger than the kernel's: nothing in hmalloc can tell */
#else
    static size_t size; /* written once with one value: a race writes the same */
    size_t known = __atomic_load_n(&size, __ATOMIC_RELAXED);
    if (known == 0) {
        known = (size_t)getauxval(AT_PAGESZ);
        __atomic_store_n(&size, known, __ATOMIC_RELAXED);
    }
    return known;
#endif
}

unsigned os_address_bits(void)
{
#if defined(__aarch64__)
    return 48;
#else
    return 47;
#endif
}

static void *os_mmap(void *address, size_t size, int flags)
{
    const int saved = errno;
    void *p =
        mmap(address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    errno = saved;
    return p == MAP_FAILED ? NULL : p;
}

static void os_advise(void *address, size_t size, int advice)
{
    const int saved = errno;
    (void)madvise(address, size, advice);
    errno = saved;
}

void *os_map(size_t size, bool reserve)
{
    void *p = os_mmap(NULL, size, reserve ? MAP_NORESERVE : 0);
    if (p && reserve)
        os_advise(p, size, MADV_DONTDUMP);
    return p;
}

void *os_map_aligned(size_t size, size_t alignment, bool reserve)
{
    const int flags = reserve ? MAP_NORESERVE : 0;
    char *p = os_mmap(NULL, size, flags);
    if (!p || ((uintptr_t)p & (alignment - 1)) == 0)
        return p;
    /* The kernel goes downwards: just below is the next aligned place, often free, and asking for
     * it needs no more address space than the block itself. */
    os_unmap(p, size);
    char *below = (char *)((uintptr_t)p & ~(uintptr_t)(alignment - 1));
    /* Nothing lies below an alignment beyond all addresses: root would get page 0, and NULL could
     * be read and written from then on. */
    if (below && (p = os_map_at(below, size)))
        return p;
    if (size > SIZE_LIMIT - alignment)
        return NULL;
    p = os_mmap(NULL, size + alignment, flags);
    if (!p)
        return NULL;
    char *start = (char *)ALIGN_UP((uintptr_t)p, alignment);
    const size_t before = (size_t)(start - p);
    if (before > 0)
        os_unmap(p, before);
    if (alignment > before)
        os_unmap(start + size, alignment - before);
    return start;
}

void *os_map_at(void *address, size_t size)
{
    void *p = os_mmap(address, size, MAP_NORESERVE | MAP_FIXED_NOREPLACE);
    /* Before Linux 4.17 the flag is unknown and the address a mere hint. */
    if (p && p != address) {
        os_unmap(p, size);
        return NULL;
    }
    return p;
}

void os_unmap(void *address, size_t size)
{
    const int saved = errno;
    /* Fails where it would split a mapping beyond vm.max_map_count: then give the pages back, the
     * addresses are lost. */
    if (munmap(address, size) < 0)
        (void)madvise(address, size, MADV_DONTNEED);
    errno = saved;
}

void os_discard(void *address, size_t size)
{
    const int saved = errno;
    /* Locked pages (mlockall) are refused; since Linux 5.18 they can be asked for by name. Nobody
     * looks at the result, calloc relies on it: then they are cleared by hand. */
    if (madvise(address, size, MADV_DONTNEED) != 0 &&
        madvise(address, size, MADV_DONTNEED_LOCKED) != 0)
        memset(address, 0, size);
    errno = saved;
}

bool os_resize(void *address, size_t old_size, size_t new_size)
{
    const int saved = errno;
    void *p = mremap(address, old_size, new_size, 0);
    errno = saved;
    return p == address;
}

bool os_move(void *from, void *to, size_t old_size, size_t new_size)
{
    const int saved = errno;
    void *p = mremap(from, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    errno = saved;
    return p == to;
}

void os_huge(void *address, size_t size, bool wanted)
{
    os_advise(address, size, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

bool os_protect(void *address, size_t size, bool usable)
{
    const int saved = errno;
    const bool done = mprotect(address, size, usable ? PROT_READ | PROT_WRITE : PROT_NONE) == 0;
    errno = saved;
    return done;
}

size_t os_address_space_max(void)
{
    const int saved = errno;
    struct rlimit limit;
    const bool known = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    errno = saved;
    return known ? (size_t)limit.rlim_cur : SIZE_MAX;
}

uint64_t os_clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t os_random(void)
{
    const int saved = errno;
    uint64_t value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != (ssize_t)sizeof value)
        value = (uint64_t)(uintptr_t)&value * 0x9e3779b97f4a7c15u ^ os_clock_ms();
    errno = saved;
    return value;
}

void os_yield(void)
{
    const int saved = errno;
    (void)sched_yield();
    errno = saved;
}

static bool os_write(int fd, const char *text, size_t length)
{
    while (length > 0) {
        const ssize_t n = write(fd, text, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        length -= (size_t)n;
    }
    return true;
}

bool os_append(const char *file, const char *text, size_t length)
{
    const int saved = errno;
    const int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    bool done = fd >= 0 && os_write(fd, text, length);
    if (fd >= 0)
        done = close(fd) == 0 && done;
    errno = saved;
    return done;
}

void os_write_error(const char *text, size_t length)
{
    const int saved = errno;
    (void)os_write(STDERR_FILENO, text, length);
    errno = saved;
}
