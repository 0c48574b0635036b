/* Have the host back memory before it is measured: a hypervisor takes a guest's free pages away,
 * and whoever touches them first pays for getting them again. A child maps and touches about as
 * much as the trial will, then leaves, so the pages are free and backed. Outside all trial
 * cgroups; the child is the first the kernel kills when memory runs short. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_PREFAULT_H
#define HEAPMARK_DAEMON_SUPERVISOR_PREFAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/supervisor/cgroup_layout.h"
#include "schema/wire.h"

#define PREFAULT_MS_MAX 5000 /* longer, and it stops with what it has */

/* What may be touched of a plan: of MemAvailable in `meminfo` (the text of /proc/meminfo), or of
 * the room our cgroups leave where that is less, an eighth is left alone. 0 when the text does not
 * tell. */
uint64_t prefault_bounded(uint64_t planned_bytes, const char *meminfo, uint64_t room_bytes);

/* What is more important meanwhile: descriptors, -1 for none. */
struct prefault_watch {
    int socket, signal_fd;
};

/* Touch `bytes` on the memory nodes of `mems_mask` (0: any), preferably; `ret_touched` is how many
 * were, fewer when memory or time ran out. Blocks for as long as it takes, or until a watched
 * descriptor has something to say, which is left there: -ECANCELED. No child is left either way. */
int prefault_touch(uint64_t bytes, uint64_t mems_mask, const struct prefault_watch *watch,
                   uint64_t *ret_touched);

/* Both, as this host stands now; what falls short is logged. */
int prefault(const struct wire_launch *q, const struct cgroup_layout *layout,
             const struct prefault_watch *watch, uint64_t *ret_touched);

#endif
