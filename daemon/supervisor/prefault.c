#include "daemon/supervisor/prefault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/supervisor/cgroup_room.h"

#define CHUNK_BYTES   (UINT64_C(16) << 20)
#define PAGE_BYTES    4096
#define NODES_MAX     64
#define CHILD_TICK_MS 100 /* should there be no pidfd to wake us */

uint64_t prefault_bounded(uint64_t planned_bytes, const char *meminfo, uint64_t room_bytes)
{
    const char *line = strstr(meminfo, "MemAvailable:");
    if (!line)
        return 0;
    uint64_t available = strtoull(line + strlen("MemAvailable:"), NULL, 10);
    available = available > UINT64_MAX / 1024 ? UINT64_MAX : available * 1024;
    available = available < room_bytes ? available : room_bytes;
    uint64_t room = (available - available / 8) / CHUNK_BYTES * CHUNK_BYTES;
    return planned_bytes < room ? planned_bytes : room;
}

/* Chunk by chunk, all held until the end: freed ones would be taken again. The child of a fork
 * shares the worker's descriptors and locks, so it leaves by _exit and touches nothing of them. */
static void child_touch(uint64_t bytes, uint64_t mems_mask, pid_t parent, _Atomic uint64_t *done)
{
    uint64_t end_ns = clock_monotonic_ns() + PREFAULT_MS_MAX * NS_PER_MS;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    (void)io_write_file(AT_FDCWD, "/proc/self/oom_score_adj", "1000");
    while (atomic_load(done) < bytes && clock_monotonic_ns() < end_ns) {
        uint64_t left = bytes - atomic_load(done);
        size_t size = left < CHUNK_BYTES ? (size_t)left : (size_t)CHUNK_BYTES;
        char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED)
            break;
        if (mems_mask)
            (void)syscall(SYS_mbind, map, size, MPOL_INTERLEAVE, &mems_mask, NODES_MAX + 1, 0);
        for (size_t at = 0; at < size; at += PAGE_BYTES)
            *(volatile char *)(map + at) = 1;
        atomic_fetch_add(done, size);
    }
    _exit(0);
}

/* Until the child is gone. -ECANCELED when somebody else had something to say: then it is killed.
 */
static int child_wait(pid_t pid, const struct prefault_watch *watch, int *ret_status)
{
    struct pollfd p[] = {
        {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN},
        {.fd = watch->socket, .events = POLLIN},
        {.fd = watch->signal_fd, .events = POLLIN},
    };
    int r = 0;
    while (r == 0 && waitpid(pid, ret_status, WNOHANG) == 0)
        if (poll(p, sizeof p / sizeof p[0], CHILD_TICK_MS) > 0 && (p[1].revents || p[2].revents))
            r = -ECANCELED;
    if (r < 0) {
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
            ;
    }
    if (p[0].fd >= 0)
        close(p[0].fd);
    return r;
}

int prefault_touch(uint64_t bytes, uint64_t mems_mask, const struct prefault_watch *watch,
                   uint64_t *ret_touched)
{
    _Atomic uint64_t *done =
        mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *ret_touched = 0;
    if (done == MAP_FAILED)
        return 0;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        child_touch(bytes, mems_mask, parent, done);
    int status = 0;
    int r = pid > 0 ? child_wait(pid, watch, &status) : 0;
    if (pid < 0)
        log_warning("no process for touching memory: %s", strerror(errno));
    else if (r == 0 && WIFSIGNALED(status))
        log_warning("touching memory ended by signal %d", WTERMSIG(status));
    *ret_touched = atomic_load(done);
    munmap((void *)done, PAGE_BYTES);
    return r;
}

int prefault(const struct wire_launch *q, const struct cgroup_layout *layout,
             const struct prefault_watch *watch, uint64_t *ret_touched)
{
    char meminfo[4096] = "";
    uint64_t planned_bytes = q->prefault_bytes;
    *ret_touched = 0;
    if (planned_bytes == 0)
        return 0;
    ssize_t n = io_read_file(AT_FDCWD, "/proc/meminfo", meminfo, sizeof meminfo);
    uint64_t bytes = n < 0 ? 0 : prefault_bounded(planned_bytes, meminfo, cgroup_room(layout));
    int r = bytes ? prefault_touch(bytes, q->mems_mask, watch, ret_touched) : 0;
    if (r == 0 && *ret_touched < planned_bytes)
        log_warning("%llu of %llu bytes were touched before a trial: it may pay for the rest",
                    (unsigned long long)*ret_touched, (unsigned long long)planned_bytes);
    return r;
}
