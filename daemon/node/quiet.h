/* How quiet the host was while a ring ran: stolen time and pressure, from /proc. */
#ifndef HEAPMARK_DAEMON_NODE_QUIET_H
#define HEAPMARK_DAEMON_NODE_QUIET_H

#include <stdint.h>

struct quiet {
    uint64_t wall_ns;
    uint64_t steal_ticks; /* USER_HZ, over the CPUs asked for (proc_stat(5), 8th field) */
    uint64_t psi_cpu_us;  /* "some" total of /proc/pressure/cpu; 0 where the kernel has none */
};

/* Snapshot over the CPUs of cpus[cpus_count]. Never fails: what cannot be read stays 0. */
void quiet_read(const uint16_t *cpus, uint32_t cpus_count, struct quiet *ret);

/* Shares of (wall x CPUs) and of wall between two snapshots. */
double quiet_steal_ratio(const struct quiet *from, const struct quiet *to, uint32_t cpus_count);
double quiet_psi_ratio(const struct quiet *from, const struct quiet *to);

#endif
