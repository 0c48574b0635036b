/* The machine's shape, and where threads go on it. The only user of hwloc.
 *
 * A topology is loaded once and then only read: any thread may place and describe at once. The
 * CPUs this process may use are taken at load time (sched_getaffinity, which includes the cpuset
 * cgroup), so load before the process moves itself to a housekeeping CPU. Binding is not done
 * here; on a topology that is not this system's (topo_is_this_system() false) nobody may bind. */
#ifndef HEAPMARK_DAEMON_TOPO_TOPO_H
#define HEAPMARK_DAEMON_TOPO_TOPO_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/err.h"
#include "daemon/executor/executor.h"
#include "daemon/topo/cpulist.h"

struct topo;

/* source: NULL for this machine (or what HWLOC_SYNTHETIC or HWLOC_XMLFILE name); a path ending
 * in ".xml"; else a synthetic description, "package:2 l3:4 core:8 pu:1". */
int topo_load(const char *source, struct topo **ret, struct err *e);
void topo_free(struct topo *t);
DEFINE_CLEANUP(struct topo *, topo_free)

bool topo_is_this_system(const struct topo *t);

struct topo_counts {
    unsigned packages, numa_nodes, l3_caches, cores, cpus; /* of the machine, online */
    unsigned cores_allowed, cpus_allowed;                  /* that this process may use */
};
struct topo_counts topo_counts(const struct topo *t);

/* CPUs this process may use. */
const struct cpulist *topo_allowed(const struct topo *t);

struct topo_request {
    enum placement placement;
    uint32_t threads;              /* 1 .. RING_THREADS_MAX */
    const char *cpuset;            /* PLACE_EXPLICIT only: "0-3,8", thread i on the i-th listed */
    const struct cpulist *allowed; /* further restriction (the trial cgroup's cpuset), or NULL */
};

struct topo_plan {
    uint16_t cpus[RING_THREADS_MAX]; /* CPU (operating system number) of thread i */
    uint32_t count;
    uint64_t mems_mask;        /* NUMA nodes local to those CPUs, bit per node; 0: unknown, any */
    int housekeeping_cpu;      /* for the daemon: not in cpus; -1 when none is to spare */
    bool housekeeping;         /* housekeeping_cpu >= 0 */
    bool housekeeping_sibling; /* it shares a core with a thread: nothing better was left */
};

/* SMT siblings are used only when cores run out. The housekeeping CPU is a whole idle core where
 * there is one, outside the L3 caches used where possible, then the lowest number.
 *
 * OUT_OF_RANGE: more threads than the policy has places (message has both numbers).
 * UNAVAILABLE: a CPU of the explicit cpuset that does not exist or is not allowed; no L3 known.
 * MALFORMED, INVALID: the cpuset text. Deterministic: the same request gives the same plan. */
int topo_place(const struct topo *t, const struct topo_request *request, struct topo_plan *ret,
               struct err *e);

/* The most threads a trial may have and still leave a CPU for the daemon; 0 when none is ever
 * left. */
unsigned topo_housekeeping_threads(const struct topo *t);
/* Whether a full-width trial (one thread per core, RING_THREADS_MAX at most) leaves one. */
bool topo_housekeeping(const struct topo *t);

/* The tree for people and for the API. */
struct topo_node {
    char type[16];       /* hwloc's: "Machine", "Package", "NUMANode", "L3Cache", "Core", "PU" */
    char name[64];       /* CPU model of a package, "" otherwise */
    int index;           /* operating system number, -1 when it has none */
    char cpus[256];      /* CPU list, "…" at its end when cut */
    uint64_t size_bytes; /* caches and memory; 0 otherwise */
    bool allowed;        /* some CPU of it may be used by this process */
    unsigned children_count;
    struct topo_node *children;
};
struct topo_node *topo_describe(const struct topo *t); /* NULL: out of memory */
void topo_node_free(struct topo_node *root);

/* One line that identifies the shape: "packages=2 cores=64 cpus=128 numa=2 L3=8x33554432 L2=…"
 * (sizes in bytes). Part of the host key. Depends on the machine only, not on what this process may
 * use. */
void topo_fingerprint(const struct topo *t, char *buf, size_t buf_size);

#endif
