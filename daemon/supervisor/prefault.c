#include "daemon/supervisor/prefault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
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

#define CHUNK_BYTES (UINT64_C(16) << 20)
#define PAGE_BYTES  4096
#define NODES_MAX   64

uint64_t prefault_bounded(uint64_t planned_bytes, const char *meminfo)
{
    const char *line = strstr(meminfo, "MemAvailable:");
    if (!line)
        return 0;
    uint64_t available = strtoull(line + strlen("MemAvailable:"), NULL, 10);
    available = available > UINT64_MAX / 1024 ? UINT64_MAX : available * 1024;
    uint64_t room = (available - available / 8) / CHUNK_BYTES * CHUNK_BYTES;
    return planned_bytes < room ? planned_bytes : room;
}

/* Chunk by chunk, all held until the end: freed ones would be taken again. The child of a fork
 * shares the worker's descriptors and locks, so it leaves by _exit and touches nothing of them. */
static void child_touch(uint64_t bytes, uint64_t mems_mask, _Atomic uint64_t *done)
{
    uint64_t end_ns = clock_monotonic_ns() + PREFAULT_MS_MAX * NS_PER_MS;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
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

uint64_t prefault_touch(uint64_t bytes, uint64_t mems_mask)
{
    _Atomic uint64_t *done =
        mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (done == MAP_FAILED)
        return 0;
    pid_t pid = fork();
    if (pid == 0)
        child_touch(bytes, mems_mask, done);
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0)
        log_warning("no process for touching memory: %s", strerror(errno));
    else if (WIFSIGNALED(status))
        log_warning("touching memory ended by signal %d", WTERMSIG(status));
    uint64_t touched = atomic_load(done);
    munmap((void *)done, PAGE_BYTES);
    return touched;
}

uint64_t prefault(uint64_t planned_bytes, uint64_t mems_mask)
{
    char meminfo[4096] = "";
    if (planned_bytes == 0)
        return 0;
    ssize_t r = io_read_file(AT_FDCWD, "/proc/meminfo", meminfo, sizeof meminfo);
    uint64_t bytes = r < 0 ? 0 : prefault_bounded(planned_bytes, meminfo);
    uint64_t touched = bytes ? prefault_touch(bytes, mems_mask) : 0;
    if (touched < planned_bytes)
        log_warning("%llu of %llu bytes were touched before a trial: it may pay for the rest",
                    (unsigned long long)touched, (unsigned long long)planned_bytes);
    return touched;
}
