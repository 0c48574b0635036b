/* Keep the worker off the CPUs that measure. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_OWN_CPU_H
#define HEAPMARK_DAEMON_SUPERVISOR_OWN_CPU_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct own_cpu {
    bool known;       /* `before` holds what we were allowed at first */
    uint32_t current; /* as in wire_launch */
    cpu_set_t before;
};

/* To the CPU of a launch (number + 1), or with 0 back to all we may use. Cheap when nothing
 * changes; a failure is logged and we stay where we are. */
void own_cpu_take(struct own_cpu *own, uint32_t cpu_plus_one);

#endif
