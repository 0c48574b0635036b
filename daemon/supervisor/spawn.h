/* Start one runner, step by step in the order of isolation (spawn.c holds the table). Each step
 * that succeeds gives its ISOLATION_* bit; one that must not fail stops the start.
 * Caller: worker. One thread. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_SPAWN_H
#define HEAPMARK_DAEMON_SUPERVISOR_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/err.h"
#include "daemon/catalog/catalog.h"
#include "daemon/supervisor/cgroup.h"
#include "workloads/ring/ring.h"

#define SPAWN_PAD_MAX 4095

struct spawn_request {
    int runner_fd;           /* the executable */
    unsigned index;          /* its only argument */
    int fds[RING_FD_COUNT_]; /* by enum ring_fd; -1 absent; [2] is the log pipe */
    const struct catalog_environment *environment;
    uint64_t pad_seed; /* HEAPMARK_PAD's length comes from it */
    uid_t uid;         /* 0: keep ours */
    const struct cgroup_host *host;
    const struct cgroup_group *group;
    uint32_t pids_max, threads, wall_ms_max;
    const uint16_t *cpus;
    unsigned cpus_count;
};

struct spawn_result {
    pid_t pid;
    int pidfd;          /* the caller's */
    uint32_t isolation; /* bits of the steps that succeeded, the cgroup's own not included */
};

int spawn_runner(const struct spawn_request *request, struct spawn_result *ret, struct err *e);

/* Bits the steps give on this host, found by starting a child that leaves after them. `uid` as
 * above. */
uint32_t spawn_probe(uid_t uid, const struct cgroup_host *host);

/* Length of the environment padding for a seed: 0 to SPAWN_PAD_MAX. */
unsigned spawn_pad_length(uint64_t seed);
/* Bytes added to the room reserved for static TLS: whole cache lines, less than a page. */
unsigned spawn_tls_shift(uint64_t seed);

#endif
