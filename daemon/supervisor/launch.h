/* One launch, from the message to its result: checked, prepared, watched, taken down.
 * launch_prepare.c acquires, launch.c runs, in this order:
 *   MAPPING  runners start and map their pages; then pages are sealed and STARTED is sent
 *   RUNNING  the gate is open; turns are watched, who misbehaves is killed and dropped
 *   OVER     every runner has ended; figures are complete
 * Caller: worker. One thread. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_LAUNCH_H
#define HEAPMARK_DAEMON_SUPERVISOR_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "daemon/catalog/catalog.h"
#include "daemon/supervisor/cgroup.h"
#include "daemon/supervisor/ringmem.h"
#include "daemon/supervisor/watch.h"
#include "daemon/supervisor/worker.h"
#include "schema/wire.h"

#define LAUNCH_TICK_MS      250   /* while measuring: four wake-ups a second */
#define LAUNCH_MAP_TICK_MS  2     /* before the gate opens */
#define LAUNCH_MAP_MS_MAX   10000 /* from exec to RUNNER_MAPPED */
#define LAUNCH_LEAVE_MS_MAX 10000 /* from FINISHED or FAILED to the end of the process */
#define LAUNCH_TURN_MS_MAX  3600000
#define LAUNCH_WALL_MS_MAX  86400000
#define LAUNCH_PIDS_MAX     32768
#define LAUNCH_LOG_MAX      (1u << 20)
#define LAUNCH_MEMORY_MIN   (UINT64_C(4) << 20) /* less does not hold the runner itself */
#define LAUNCH_CPUS_MAX     1024                /* CPU numbers below */

enum launch_phase { LAUNCH_MAPPING, LAUNCH_RUNNING, LAUNCH_OVER };

struct launch_runner {
    int library_fd; /* -1: the C library */
    struct catalog_identity identity;
    char library_path[CATALOG_PATH_SIZE];
    const struct catalog_entry *entry;
    struct catalog_environment environment;
    int log_read_fd, log_write_fd;
    struct cgroup_group group;
    uid_t uid; /* 0: ours */
    pid_t pid; /* 0: not started */
    int pidfd;
    uint32_t isolation;
    bool is_reaped; /* wait_status and usage are valid */
    bool is_ended;  /* killed with all its children, outcome known */
    int wait_status;
    struct rusage usage;
    bool has_verdict; /* by the supervisor: why it was stopped */
    enum wire_outcome verdict;
    struct wire_runner_done done;
};

struct launch {
    struct supervisor *s;
    uint64_t id;
    struct wire_launch q;
    enum launch_phase phase;
    struct ring_plan *plan;
    int tape_fd; /* read-only, -1 without */
    struct ringmem ring;
    struct watch watch;
    struct launch_runner runners[RING_RUNNERS_MAX];
    uint64_t received_ns, spawned_ns;
    uint64_t prefault_bytes; /* touched */
};

/* What wire_launch_check cannot know or does not bound. `has_tape`: a descriptor came along. */
int launch_check(const struct wire_launch *q, bool has_tape, struct err *e);

/* The plan the runners get, library numbers and identities included. Malloc'd, the caller's. */
int launch_plan(const struct launch *l, struct ring_plan **ret_plan, struct err *e);

/* Acquire everything and start the runners. `tape_fd` stays the caller's. On failure nothing is
 * left and *e says why (WIRE_REFUSED). The caller owns *ret_launch. */
int launch_begin(struct supervisor *s, uint64_t id, const struct wire_launch *q, int tape_fd,
                 uint64_t now_ns, struct launch **ret_launch, struct err *e);

/* Look after the launch: reap, judge, drop, move on. 1 when it has just got to RUNNING (send
 * STARTED, then launch_go), 2 when it is OVER (send DONE, then launch_end), else 0. */
int launch_tick(struct launch *l, uint64_t now_ns);
void launch_go(struct launch *l, uint64_t now_ns);

/* How long to sleep at most before the next tick. */
int launch_timeout_ms(const struct launch *l, uint64_t now_ns);

/* Kill all runners that have not ended. The launch is OVER after. */
void launch_stop(struct launch *l, enum wire_outcome why);

/* Descriptors for STARTED: pages, then log pipes. */
unsigned launch_fds(const struct launch *l, int ret_fds[WIRE_FDS_MAX]);
/* Only when OVER. */
void launch_done(const struct launch *l, struct wire_done *ret_done);

/* Give everything back: groups, huge pages, knobs, memory. Runners not over are killed first. */
void launch_end(struct launch *l);

#endif
