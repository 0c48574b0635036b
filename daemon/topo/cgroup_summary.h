/* Which cgroup version holds which controller, as one line for the host key. Internal to topo. */
#ifndef HEAPMARK_DAEMON_TOPO_CGROUP_SUMMARY_H
#define HEAPMARK_DAEMON_TOPO_CGROUP_SUMMARY_H

#include <stddef.h>

/* root: directory holding proc/ and sys/. "" without cgroups; "v2 cpu io memory",
 * "v1 cpu cpuset; v2 hugetlb": names in alphabetical order, cut at whole names when too long. */
void cgroup_summary(int root, char *buf, size_t buf_size);

#endif
