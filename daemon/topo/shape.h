/* What placement needs of a topology: flat arrays without hwloc. Internal to topo. */
#ifndef HEAPMARK_DAEMON_TOPO_SHAPE_H
#define HEAPMARK_DAEMON_TOPO_SHAPE_H

#include <stdint.h>

#include "daemon/topo/topo.h"

#define SHAPE_SMT_MAX 8

struct shape_core {
    uint16_t cpus[SHAPE_SMT_MAX]; /* hardware threads, in hwloc's order */
    unsigned cpus_count;
    int package, l3;    /* logical index, -1: none */
    unsigned kind;      /* 0 slowest; higher is faster (hybrid CPUs), equal where unknown */
    uint64_t mems_mask; /* local NUMA nodes; 0: unknown or beyond 64 */
};

struct shape {
    struct shape_core *cores; /* in hwloc's logical order: neighbours share caches */
    unsigned cores_count;
    struct cpulist allowed;
};

/* See topo_place(). */
int shape_place(const struct shape *shape, const struct topo_request *request,
                struct topo_plan *ret, struct err *e);

#endif
