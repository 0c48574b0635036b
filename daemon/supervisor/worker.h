/* The worker: takes launches from the socket, one at a time, and does all that needs doing.
 * Forked by the guardian, which starts another when this one dies. One thread, one poll loop:
 * asleep without a launch, at most four wake-ups a second while runners measure. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_WORKER_H
#define HEAPMARK_DAEMON_SUPERVISOR_WORKER_H

#include <stdint.h>

#include "daemon/catalog/catalog.h"
#include "daemon/supervisor/cgroup.h"
#include "daemon/supervisor/knobs.h"
#include "daemon/supervisor/own_cpu.h"
#include "daemon/supervisor/state.h"
#include "daemon/supervisor/supervisor.h"

/* What main opens once and guardian and worker share by fork. */
struct supervisor {
    struct supervisor_options options;
    struct state state;
    struct knobs knobs;
    struct catalog *catalog;
    int socket;
    int runner_fd;
    int sys_fd;
    uint32_t generation; /* of the worker */
    /* Worker only. */
    int signal_fd; /* TERM and INT */
    struct cgroup_host host;
    uint32_t isolation; /* what this host and these privileges give */
    uint64_t launches_count;
    struct own_cpu own_cpu;
};

/* Serve until end of stream or SIGTERM. 0, or -errno when the worker should be started again. */
int worker_run(struct supervisor *s);

#endif
