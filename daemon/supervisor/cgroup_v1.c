/* cgroup v1 controllers. Files: Documentation/admin-guide/cgroup-v1 of the kernel. */
#include "daemon/supervisor/cgroup_ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "daemon/base/io.h"
#include "schema/wire.h"

/* The groups are new and unlimited, so limit before memsw is the order that works: the kernel
 * refuses limit > memsw. With memsw the limit holds for memory and swap together. */
static int v1_memory_limit(int dir, uint64_t bytes)
{
    int r = io_write_u64(dir, "memory.limit_in_bytes", bytes);
    if (r < 0)
        return r;
    r = io_write_u64(dir, "memory.memsw.limit_in_bytes", bytes);
    if (r < 0 && r != -ENOENT)
        return r;
    (void)io_write_u64(dir, "memory.swappiness", 0);
    /* Raising above memsw fails without a word on some kernels: believe only what reads back. */
    uint64_t now;
    if ((r = io_read_u64(dir, "memory.limit_in_bytes", &now)) < 0)
        return r;
    return now <= bytes ? 0 : -EIO;
}

static int v1_memory_peak(int dir, uint64_t *ret_bytes)
{
    return io_read_u64(dir, "memory.max_usage_in_bytes", ret_bytes);
}

static int v1_memory_oom_kills(int dir, uint64_t *ret_count)
{
    return cgroup_read_key(dir, "memory.oom_control", "oom_kill", ret_count);
}

static int v1_copy(int from, int to, const char *file)
{
    char text[4096];
    ssize_t n = io_read_file(from, file, text, sizeof text);
    return n < 0 ? (int)n : io_write_file(to, file, text);
}

static int v1_cpuset(int dir, int base, const char *cpus, const char *mems)
{
    int r = mems ? io_write_file(dir, "cpuset.mems", mems) : v1_copy(base, dir, "cpuset.mems");
    return r < 0 ? r : io_write_file(dir, "cpuset.cpus", cpus);
}

static int v1_pids_max(int dir, uint64_t count)
{
    return io_write_u64(dir, "pids.max", count);
}

static int v1_hugetlb_max(int dir, const char *page_size, uint64_t bytes)
{
    char file[64];
    snprintf(file, sizeof file, "hugetlb.%s.rsvd.limit_in_bytes", page_size);
    (void)io_write_u64(dir, file, bytes); /* since 5.7: mmap says ENOMEM instead of a SIGBUS */
    snprintf(file, sizeof file, "hugetlb.%s.limit_in_bytes", page_size);
    return io_write_u64(dir, file, bytes);
}

/* A new v1 cpuset is empty, and nothing can run in or below it before it has CPUs and nodes. */
static int v1_base_prepare(int dir, int parent, uint32_t controllers)
{
    if (!(controllers & 1u << CONTROLLER_CPUSET))
        return 0;
    int r = v1_copy(parent, dir, "cpuset.mems");
    return r < 0 ? r : v1_copy(parent, dir, "cpuset.cpus");
}

const struct cgroup_ops cgroup_ops_v1 = {
    .memory_limit = v1_memory_limit,
    .memory_peak = v1_memory_peak,
    .memory_oom_kills = v1_memory_oom_kills,
    .cpuset = v1_cpuset,
    .cpuset_effective_file = "cpuset.cpus",
    .pids_max = v1_pids_max,
    .hugetlb_max = v1_hugetlb_max,
    .base_prepare = v1_base_prepare,
};
