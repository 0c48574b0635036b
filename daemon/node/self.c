#include "daemon/node/self.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"

static void self_set(const cpu_set_t *set, size_t size)
{
    DIR *dir = opendir("/proc/self/task");
    if (!dir)
        return;
    const struct dirent *entry;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' &&
            sched_setaffinity((pid_t)strtol(entry->d_name, NULL, 10), size, set) < 0 &&
            errno != ESRCH)
            log_warning("cannot bind thread %s of the daemon: %s", entry->d_name, strerror(errno));
    closedir(dir);
}

void self_pin(int cpu, const struct cpulist *allowed)
{
    static int current = -1; /* the scheduler's thread only */
    if (cpu == current)
        return;
    cpu_set_t *set = CPU_ALLOC(CPULIST_MAX);
    size_t size = CPU_ALLOC_SIZE(CPULIST_MAX);
    if (!set)
        return;
    CPU_ZERO_S(size, set);
    if (cpu >= 0)
        CPU_SET_S((size_t)cpu, size, set);
    for (int c = cpulist_next(allowed, 0); cpu < 0 && c >= 0;
         c = cpulist_next(allowed, (unsigned)c + 1))
        CPU_SET_S((size_t)c, size, set);
    self_set(set, size);
    CPU_FREE(set);
    current = cpu;
}
