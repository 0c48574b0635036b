#include "daemon/supervisor/own_cpu.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"

void own_cpu_take(struct own_cpu *own, uint32_t cpu_plus_one)
{
    cpu_set_t set;
    if (!own->known && sched_getaffinity(0, sizeof own->before, &own->before) < 0)
        return;
    own->known = true;
    if (cpu_plus_one == own->current || cpu_plus_one > CPU_SETSIZE)
        return;
    CPU_ZERO(&set);
    if (cpu_plus_one)
        CPU_SET(cpu_plus_one - 1, &set);
    if (sched_setaffinity(0, sizeof set, cpu_plus_one ? &set : &own->before) < 0)
        log_warning("the supervisor cannot be bound: %s", strerror(errno));
    else
        own->current = cpu_plus_one;
}
