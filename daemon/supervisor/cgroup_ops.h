/* What differs between cgroup v1 and v2, as one table each. `dir` is the group's directory in the
 * hierarchy that serves the controller, `base` the directory above it. All return 0 or -errno.
 * Internal to cgroup*.c. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_CGROUP_OPS_H
#define HEAPMARK_DAEMON_SUPERVISOR_CGROUP_OPS_H

#include <stdbool.h>
#include <stdint.h>

struct cgroup_ops {
    int (*memory_limit)(int dir, uint64_t bytes);
    int (*memory_peak)(int dir, uint64_t *ret_bytes);
    int (*memory_oom_kills)(int dir, uint64_t *ret_count);
    /* mems NULL: as the base. Memory nodes are set before CPUs. */
    int (*cpuset)(int dir, int base, const char *cpus, const char *mems);
    const char *cpuset_effective_file;
    int (*pids_max)(int dir, uint64_t count);
    int (*hugetlb_max)(int dir, const char *page_size, uint64_t bytes); /* "2MB", "1GB" */
    /* Make children of `dir`, whose parent is `parent`, usable: v1 cpuset copies its values. */
    int (*base_prepare)(int dir, int parent, uint32_t controllers);
};
extern const struct cgroup_ops cgroup_ops_v1, cgroup_ops_v2;

/* Number after `key` ("oom_kill 3") in a file of such lines. 0, -ENOENT, -errno. */
int cgroup_read_key(int dir, const char *file, const char *key, uint64_t *ret_value);

/* One kill of everything in one directory by the best means it has (cgroup.kill; freeze, signal,
 * thaw; or signal alone). Processes left are counted by cgroup_dir_count. */
int cgroup_dir_kill(int dir);
/* Processes in the directory itself: count or -errno. */
int cgroup_dir_count(int dir);
/* Kill repeatedly until empty. 0, -ETIMEDOUT, -errno. */
int cgroup_dir_empty(int dir);
/* Empty and remove directory `name` and everything below it. `keep` (may be NULL) is a child name
 * left alone at the first level. Count of directories removed, or -errno. */
int cgroup_tree_remove(int parent, const char *name, const char *keep);

#endif
