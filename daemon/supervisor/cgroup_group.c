/* One runner's group: made, entered, killed, read and removed (cgroup.h). Called by the worker,
 * cgroup_group_enter in its child. */
#include "daemon/supervisor/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/supervisor/cgroup_ops.h"

#define LIST_TEXT_MAX 2048

/* Where a controller's files of this group are. False when nobody serves it. */
static bool group_dir(const struct cgroup_host *host, const struct cgroup_group *group,
                      enum wire_controller controller, int *ret_dir, int *ret_base,
                      const struct cgroup_ops **ret_ops)
{
    int at = host->layout.where[controller];
    if (at < 0 || group->fds[at] < 0)
        return false;
    *ret_dir = group->fds[at];
    *ret_base = host->base_fds[at];
    *ret_ops = host->layout.hierarchies[at].version == 2 ? &cgroup_ops_v2 : &cgroup_ops_v1;
    return true;
}

static int limit_memory(const struct cgroup_host *host, struct cgroup_group *group,
                        const struct cgroup_limits *limits, struct err *e)
{
    int dir, base;
    const struct cgroup_ops *ops;
    bool wanted = limits->memory_bytes > 0;
    if (!group_dir(host, group, CONTROLLER_MEMORY, &dir, &base, &ops)) {
        if (wanted && limits->memory_require)
            return err_set(e, ERR_UNAVAILABLE, "/memory_limit",
                           "no memory controller on this host can enforce a limit: %s",
                           host->layout.reason[CONTROLLER_MEMORY]);
        return 0;
    }
    int r = wanted ? ops->memory_limit(dir, limits->memory_bytes) : 0;
    if (r < 0 && limits->memory_require)
        return err_set_errno(e, ERR_UNAVAILABLE, -r, "the memory limit cannot be set");
    if (r < 0)
        log_warning("memory limit not set: %s", strerror(-r));
    else
        group->isolation |= ISOLATION_CGROUP_MEMORY;
    return 0;
}

static int mems_format(uint64_t mask, char *buf, size_t buf_size)
{
    uint16_t nodes[WIRE_MEMS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < WIRE_MEMS_MAX; i++)
        if (mask & UINT64_C(1) << i)
            nodes[count++] = (uint16_t)i;
    return cgroup_format_list(nodes, count, buf, buf_size);
}

static int limit_cpuset(const struct cgroup_host *host, struct cgroup_group *group,
                        const struct cgroup_limits *limits, struct err *e)
{
    int dir, base;
    const struct cgroup_ops *ops;
    if (!group_dir(host, group, CONTROLLER_CPUSET, &dir, &base, &ops))
        return 0;
    char cpus[LIST_TEXT_MAX], mems[LIST_TEXT_MAX], effective[LIST_TEXT_MAX];
    if (cgroup_format_list(limits->cpus, limits->cpus_count, cpus, sizeof cpus) < 0 ||
        mems_format(limits->mems_mask, mems, sizeof mems) < 0)
        return err_set(e, ERR_TOO_LARGE, "/cpus", "the CPU list is too long");
    int r = ops->cpuset(dir, base, cpus, limits->mems_mask ? mems : NULL);
    if (r < 0)
        return err_set(e, ERR_UNAVAILABLE, "/cpus",
                       "CPUs %s with memory nodes %s are not ours to use: %s", cpus,
                       limits->mems_mask ? mems : "any", strerror(-r));
    /* v2 takes any list and silently falls back to what the parent has. */
    ssize_t n = io_read_file(dir, ops->cpuset_effective_file, effective, sizeof effective);
    if (n < 0 || !cgroup_list_equal(effective, limits->cpus, limits->cpus_count))
        return err_set(e, ERR_UNAVAILABLE, "/cpus", "CPUs %s asked for, the kernel gives \"%s\"",
                       cpus, n < 0 ? "none" : effective);
    group->isolation |= ISOLATION_CGROUP_CPUSET;
    return 0;
}

static void limit_pids(const struct cgroup_host *host, struct cgroup_group *group,
                       const struct cgroup_limits *limits)
{
    int dir, base;
    const struct cgroup_ops *ops;
    if (!group_dir(host, group, CONTROLLER_PIDS, &dir, &base, &ops))
        return;
    int r = ops->pids_max(dir, limits->pids_max);
    if (r == 0)
        group->isolation |= ISOLATION_CGROUP_PIDS;
    else
        log_warning("pids limit not set: %s", strerror(-r));
}

static void limit_hugetlb(const struct cgroup_host *host, struct cgroup_group *group,
                          const struct cgroup_limits *limits)
{
    int dir, base;
    const struct cgroup_ops *ops;
    if (!group_dir(host, group, CONTROLLER_HUGETLB, &dir, &base, &ops))
        return;
    int small = ops->hugetlb_max(dir, "2MB", limits->hugetlb_2m_bytes);
    int large = ops->hugetlb_max(dir, "1GB", limits->hugetlb_1g_bytes);
    /* A CPU without 1 GiB pages has no files for them. */
    if (small == 0 && (large == 0 || large == -ENOENT))
        group->isolation |= ISOLATION_CGROUP_HUGETLB;
    else
        log_warning("huge page limit not set: %s", strerror(small < 0 ? -small : -large));
}

static int group_apply(const struct cgroup_host *host, struct cgroup_group *group,
                       const struct cgroup_limits *limits, struct err *e)
{
    int r = limit_memory(host, group, limits, e);
    if (r == 0)
        r = limit_cpuset(host, group, limits, e);
    if (r < 0)
        return r;
    limit_pids(host, group, limits);
    limit_hugetlb(host, group, limits);
    if (host->layout.where[CONTROLLER_FREEZER] >= 0)
        group->isolation |= ISOLATION_CGROUP_KILL;
    return 0;
}

int cgroup_group_make(const struct cgroup_host *host, const char *name,
                      const struct cgroup_limits *limits, struct cgroup_group *ret_group,
                      struct err *e)
{
    struct cgroup_group group = {0};
    snprintf(group.name, sizeof group.name, "%s", name);
    for (unsigned i = 0; i < CGROUP_HIERARCHIES_MAX; i++)
        group.fds[i] = -1;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < host->layout.hierarchies_count; i++) {
        int base = host->base_fds[i];
        if (base < 0)
            continue;
        r = cgroup_tree_remove(base, name, NULL); /* one of the same name was left */
        if (r >= 0)
            r = mkdirat(base, name, 0755) < 0 ? -errno : 0;
        if (r == 0 && (group.fds[i] =
                           openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
            r = -errno;
        if (r < 0)
            err_set_errno(e, ERR_IO, -r, "cannot make group %s", name);
    }
    if (r == 0)
        r = group_apply(host, &group, limits, e);
    if (r < 0) {
        (void)cgroup_group_remove(host, &group);
        return r;
    }
    *ret_group = group;
    return 0;
}

int cgroup_group_v2_fd(const struct cgroup_host *host, const struct cgroup_group *group)
{
    int v2 = cgroup_layout_v2(&host->layout);
    return v2 < 0 || group->name[0] == '\0' ? -1 : group->fds[v2];
}

int cgroup_group_enter(const struct cgroup_host *host, const struct cgroup_group *group,
                       bool v2_done)
{
    for (unsigned i = 0; i < host->layout.hierarchies_count; i++) {
        if (group->fds[i] < 0 || (v2_done && host->layout.hierarchies[i].version == 2))
            continue;
        int r = io_write_file(group->fds[i], "cgroup.procs", "0");
        if (r < 0)
            return r;
    }
    return 0;
}

int cgroup_group_kill(const struct cgroup_host *host, const struct cgroup_group *group)
{
    if (group->name[0] == '\0')
        return -EOPNOTSUPP;
    int result = -EOPNOTSUPP;
    int best = host->layout.where[CONTROLLER_FREEZER];
    if (best >= 0 && group->fds[best] >= 0)
        result = cgroup_dir_empty(group->fds[best]);
    for (unsigned i = 0; i < host->layout.hierarchies_count; i++) {
        if (group->fds[i] < 0 || (int)i == best)
            continue;
        int r = cgroup_dir_empty(group->fds[i]);
        if (result == 0 || result == -EOPNOTSUPP)
            result = r;
    }
    return result;
}

void cgroup_group_figures(const struct cgroup_host *host, const struct cgroup_group *group,
                          struct cgroup_figures *ret)
{
    *ret = (struct cgroup_figures){0};
    int dir, base;
    const struct cgroup_ops *ops;
    if (group->name[0] == '\0' || !group_dir(host, group, CONTROLLER_MEMORY, &dir, &base, &ops))
        return;
    uint64_t value;
    if (ops->memory_peak(dir, &value) == 0)
        ret->peak_bytes = value;
    if (ops->memory_oom_kills(dir, &value) == 0)
        ret->oom_kills = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

int cgroup_group_remove(const struct cgroup_host *host, struct cgroup_group *group)
{
    int result = 0;
    for (unsigned i = 0; group->name[0] && i < host->layout.hierarchies_count; i++) {
        if (host->base_fds[i] < 0)
            continue;
        if (group->fds[i] >= 0)
            close(take_fd(&group->fds[i]));
        int r = cgroup_tree_remove(host->base_fds[i], group->name, NULL);
        if (r < 0)
            result = r;
    }
    group->name[0] = '\0';
    return result;
}
