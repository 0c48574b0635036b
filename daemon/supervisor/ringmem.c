#include "daemon/supervisor/ringmem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

void ringmem_init(struct ringmem *ring)
{
    *ring = (struct ringmem){.plan_fd = -1, .gate_fd = -1};
    for (unsigned i = 0; i < RING_RUNNERS_MAX; i++)
        ring->page_fds[i] = ring->page_read_fds[i] = -1;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(take_fd(fd));
}

void ringmem_done(struct ringmem *ring)
{
    for (unsigned i = 0; i < RING_RUNNERS_MAX; i++) {
        if (ring->pages[i])
            munmap(ring->pages[i], ring->page_bytes);
        close_fd(&ring->page_fds[i]);
        close_fd(&ring->page_read_fds[i]);
    }
    if (ring->gate)
        munmap(ring->gate, sizeof *ring->gate);
    close_fd(&ring->plan_fd);
    close_fd(&ring->gate_fd);
    ringmem_init(ring);
}

/* The same memory through a descriptor that cannot write. A read-only *map* of a writable
 * descriptor would not do: old kernels refuse it once F_SEAL_WRITE is there. */
static int reopen_read_only(int fd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int copy = open(path, O_RDONLY | O_CLOEXEC);
    return copy < 0 ? -errno : copy;
}

/* A memfd of `bytes`, mapped writable and touched. */
static int memory_make(const char *name, uint64_t bytes, int *ret_fd, void **ret_map)
{
    cleanup_(close_p) int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return -errno;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    memset(map, 0, bytes); /* a store into every page: charged here, and no fault in a slice */
    *ret_fd = take_fd(&fd);
    *ret_map = map;
    return 0;
}

static int seal(int fd, int seals)
{
    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

static int plan_make(const struct ring_plan *plan, struct ringmem *ring)
{
    cleanup_(close_p) int fd = memfd_create("heapmark-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int r = io_write_all(fd, plan, ring_plan_size(plan->turns_count));
    if (r == 0)
        r = seal(fd, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    if (r == 0)
        r = ring->plan_fd = reopen_read_only(fd);
    if (r >= 0)
        r = fchmod(fd, 0) < 0 ? -errno : 0;
    return r;
}

static int gate_make(struct ringmem *ring)
{
    cleanup_(close_p) int fd = -1;
    void *map = NULL;
    int r = memory_make("heapmark-gate", sizeof *ring->gate, &fd, &map);
    if (r < 0)
        return r;
    ring->gate = map;
    r = seal(fd, F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    if (r == 0)
        r = ring->gate_fd = reopen_read_only(fd);
    if (r >= 0)
        r = fchmod(fd, 0) < 0 ? -errno : 0;
    return r;
}

static int page_make(struct ringmem *ring, unsigned i)
{
    void *map = NULL;
    int r = memory_make("heapmark-page", ring->page_bytes, &ring->page_fds[i], &map);
    if (r < 0)
        return r;
    ring->pages[i] = map;
    r = seal(ring->page_fds[i], F_SEAL_GROW | F_SEAL_SHRINK);
    if (r == 0)
        r = ring->page_read_fds[i] = reopen_read_only(ring->page_fds[i]);
    if (r >= 0)
        r = fchmod(ring->page_fds[i], 0) < 0 ? -errno : 0;
    return r;
}

int ringmem_make(const struct ring_plan *plan, struct ringmem *ret, struct err *e)
{
    struct ringmem ring;
    ringmem_init(&ring);
    ring.runners_count = plan->runners_count;
    ring.page_bytes = ring_page_size(plan->rotations);
    int r = plan_make(plan, &ring);
    if (r == 0)
        r = gate_make(&ring);
    for (unsigned i = 0; r == 0 && i < plan->runners_count; i++)
        r = page_make(&ring, i);
    if (r < 0) {
        ringmem_done(&ring);
        return err_set_errno(e, ERR_IO, -r, "cannot make the ring's memory");
    }
    *ret = ring;
    return 0;
}

int ringmem_seal_page(struct ringmem *ring, unsigned runner)
{
    return seal(ring->page_fds[runner], F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void ringmem_open_gate(struct ringmem *ring, uint32_t value)
{
    /* Release: pairs with the runners' acquire load of the gate. */
    atomic_store_explicit(&ring->gate->start, value, memory_order_release);
    futex_wake_all(&ring->gate->start);
}

void ringmem_drop(struct ringmem *ring, unsigned runner)
{
    /* Release: pairs with the acquire load of whoever waits for this runner. */
    atomic_store_explicit(&ring->pages[runner]->done, RING_DROPPED, memory_order_release);
    futex_wake_all(&ring->pages[runner]->done);
}

int ringmem_tape_open(int fd, uint64_t bytes, int *ret_fd, struct err *e)
{
    const int needed = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & needed) != needed)
        return err_set(e, ERR_INVALID, "/tape", "the tape is not a memfd sealed against writing");
    struct stat st;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != bytes)
        return err_set(e, ERR_INVALID, "/tape", "the tape does not have %llu bytes",
                       (unsigned long long)bytes);
    int copy = reopen_read_only(fd);
    if (copy < 0)
        return err_set_errno(e, ERR_IO, -copy, "cannot open the tape read-only");
    *ret_fd = copy;
    return 0;
}
