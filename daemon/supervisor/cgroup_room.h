/* How much memory our own cgroups still allow us: a container's limit, or a unit's. Caller:
 * prefault. Files: cgroup-v2.rst and cgroup-v1/memory.rst of the kernel. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_CGROUP_ROOM_H
#define HEAPMARK_DAEMON_SUPERVISOR_CGROUP_ROOM_H

#include <stdint.h>

#include "daemon/supervisor/cgroup_layout.h"

/* Bytes below the tightest limit of the cgroup at `directory` and of those above it, UINT64_MAX
 * without any. Cache that can be given up is not counted as used. */
uint64_t cgroup_room_at(const char *directory);

/* Of the cgroup we are in. */
uint64_t cgroup_room(const struct cgroup_layout *layout);

#endif
