/* Killing runners where no cgroup can: by descent. Guardian and worker are child subreapers, so a
 * process that escapes its session still has one of them among its ancestors, and is found there.
 * Each signal goes through a pidfd of a process that was looked at again after opening it.
 * Callers: worker, guardian. One thread. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_PROCS_H
#define HEAPMARK_DAEMON_SUPERVISOR_PROCS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct procs_target {
    pid_t leader; /* 0: every descendant of ours */
    uid_t uid;    /* also descendants of ours with this user id; 0: not asked */
};

/* Stop, then kill until none is left alive (zombies are the caller's to reap). Returns the number
 * left after a bounded time, or -errno when /proc cannot be read. */
int procs_kill(const struct procs_target *target);

/* Threads of a user right now: RLIMIT_NPROC counts from there where runners have no own uid. */
uint64_t procs_user_threads(uid_t uid);

#endif
