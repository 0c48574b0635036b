#include "daemon/node/quiet.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/io.h"

#define STEAL_COLUMN 8 /* of a CPU's line in /proc/stat, from 1 */

static bool quiet_wanted(const uint16_t *cpus, uint32_t cpus_count, unsigned cpu)
{
    for (uint32_t i = 0; i < cpus_count; i++)
        if (cpus[i] == cpu)
            return true;
    return false;
}

static uint64_t quiet_steal(const uint16_t *cpus, uint32_t cpus_count)
{
    cleanup_(fclose_p) FILE *f = fopen("/proc/stat", "re");
    char line[512];
    uint64_t total = 0;
    while (f && fgets(line, sizeof line, f)) {
        char *at = line + 3;
        if (strncmp(line, "cpu", 3) != 0 || *at < '0' || *at > '9')
            continue; /* "cpu " is the sum over all */
        unsigned long cpu = strtoul(at, &at, 10);
        uint64_t ticks = 0;
        for (unsigned column = 0; column < STEAL_COLUMN; column++)
            ticks = strtoull(at, &at, 10);
        if (quiet_wanted(cpus, cpus_count, (unsigned)cpu))
            total += ticks;
    }
    return total;
}

static uint64_t quiet_psi_cpu(void)
{
    char text[512];
    if (io_read_file(AT_FDCWD, "/proc/pressure/cpu", text, sizeof text) < 0)
        return 0;
    const char *at = strstr(text, "total=");
    return at ? strtoull(at + strlen("total="), NULL, 10) : 0;
}

void quiet_read(const uint16_t *cpus, uint32_t cpus_count, struct quiet *ret)
{
    ret->wall_ns = clock_monotonic_ns();
    ret->steal_ticks = quiet_steal(cpus, cpus_count);
    ret->psi_cpu_us = quiet_psi_cpu();
}

double quiet_steal_ratio(const struct quiet *from, const struct quiet *to, uint32_t cpus_count)
{
    double wall_s = (double)(to->wall_ns - from->wall_ns) / (double)NS_PER_S;
    long hz = sysconf(_SC_CLK_TCK);
    if (wall_s <= 0 || cpus_count == 0 || hz <= 0)
        return 0;
    return (double)(to->steal_ticks - from->steal_ticks) / (double)hz / (wall_s * cpus_count);
}

double quiet_psi_ratio(const struct quiet *from, const struct quiet *to)
{
    double wall_us = (double)(to->wall_ns - from->wall_ns) / 1000.0;
    return wall_us > 0 ? (double)(to->psi_cpu_us - from->psi_cpu_us) / wall_us : 0;
}
