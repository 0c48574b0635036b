/* What happens in the child between fork and exec: the ordered table of steps. Internal to
 * spawn.c. After clone3 in a process without other threads, so libc may be used with care; no
 * allocation. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_SPAWN_STEPS_H
#define HEAPMARK_DAEMON_SUPERVISOR_SPAWN_STEPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/supervisor/spawn.h"

#define SPAWN_STEPS_MAX 16

struct spawn_report {
    uint32_t isolation;
    uint32_t step; /* that failed */
    int32_t error; /* errno of it, 0: all went well so far */
    int32_t optional_errors[SPAWN_STEPS_MAX];
};

struct spawn_child {
    const struct spawn_request *request;
    const char *const *environment;
    bool is_root, is_v2_done;
    uint64_t processes_max;
    int report_fd;
    pid_t parent;
    int high_fds[RING_FD_COUNT_]; /* the step's own */
    int runner_fd;
};

const char *spawn_step_name(unsigned step);
_Noreturn void spawn_child_run(struct spawn_child *child);

#endif
