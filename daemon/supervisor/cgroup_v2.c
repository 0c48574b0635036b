/* cgroup v2 controllers. Files: Documentation/admin-guide/cgroup-v2.rst of the kernel. */
#include "daemon/supervisor/cgroup_ops.h"

#include <errno.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/base/io.h"
#include "schema/wire.h"

static int v2_memory_limit(int dir, uint64_t bytes)
{
    int r = io_write_u64(dir, "memory.max", bytes);
    if (r < 0)
        return r;
    r = io_write_u64(dir, "memory.swap.max", 0); /* the file exists only with swap accounting */
    return r == -ENOENT ? 0 : r;
}

static int v2_memory_peak(int dir, uint64_t *ret_bytes)
{
    return io_read_u64(dir, "memory.peak", ret_bytes); /* since 5.19 */
}

static int v2_memory_oom_kills(int dir, uint64_t *ret_count)
{
    return cgroup_read_key(dir, "memory.events", "oom_kill", ret_count);
}

static int v2_cpuset(int dir, int base, const char *cpus, const char *mems)
{
    (void)base; /* an unset v2 cpuset follows its parent by itself */
    int r = mems ? io_write_file(dir, "cpuset.mems", mems) : 0;
    return r < 0 ? r : io_write_file(dir, "cpuset.cpus", cpus);
}

static int v2_pids_max(int dir, uint64_t count)
{
    return io_write_u64(dir, "pids.max", count);
}

static int v2_hugetlb_max(int dir, const char *page_size, uint64_t bytes)
{
    char file[64];
    snprintf(file, sizeof file, "hugetlb.%s.rsvd.max", page_size);
    (void)io_write_u64(dir, file, bytes); /* mmap says ENOMEM instead of a SIGBUS later */
    snprintf(file, sizeof file, "hugetlb.%s.max", page_size);
    return io_write_u64(dir, file, bytes);
}

/* One controller at a time: one that fails must not take the others with it. Returns the first
 * error; the caller looks at cgroup.controllers of a child to see what is there. */
static int v2_base_prepare(int dir, int parent, uint32_t controllers)
{
    (void)parent;
    int first = 0;
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++) {
        if (i == CONTROLLER_FREEZER || i == CONTROLLER_CPU || !(controllers & 1u << i))
            continue;
        char text[32];
        snprintf(text, sizeof text, "+%s", wire_controller_name((enum wire_controller)i));
        int r = io_write_file(dir, "cgroup.subtree_control", text);
        if (r < 0 && first == 0)
            first = r;
    }
    return first;
}

const struct cgroup_ops cgroup_ops_v2 = {
    .memory_limit = v2_memory_limit,
    .memory_peak = v2_memory_peak,
    .memory_oom_kills = v2_memory_oom_kills,
    .cpuset = v2_cpuset,
    .cpuset_effective_file = "cpuset.cpus.effective",
    .pids_max = v2_pids_max,
    .hugetlb_max = v2_hugetlb_max,
    .base_prepare = v2_base_prepare,
};
