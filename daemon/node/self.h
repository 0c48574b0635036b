/* Keep this whole process off the CPUs that measure. */
#ifndef HEAPMARK_DAEMON_NODE_SELF_H
#define HEAPMARK_DAEMON_NODE_SELF_H

#include "daemon/topo/cpulist.h"

/* Every thread of this process to one CPU, or (cpu -1) back to all allowed ones. Cheap when
 * nothing changes. Failures are logged, once: measuring goes on, less quietly. */
void self_pin(int cpu, const struct cpulist *allowed);

#endif
