/* Control groups for runners: one group per runner, a directory in every hierarchy that serves a
 * controller we use. What the host does not offer is a missing bit with a reason, not a failure.
 *
 *   <own cgroup>/MARK/            made by us, MARK = NAME.xxxxxxxx from the state directory
 *   <own cgroup>/MARK/self        v2 only, when needed: daemon and supervisor, see below
 *   <own cgroup>/MARK/GROUP       one runner
 *
 * v2 forbids processes in a cgroup whose children have controllers (not in the real root). When
 * that is in the way, daemon and supervisor move into MARK/self; nobody else's process is ever
 * moved, and a controller that still cannot be enabled is reported missing. Names are made here,
 * directories are reached by descriptor only, and whole groups are killed, never single pids.
 *
 * Everything below a directory called MARK is ours to kill: the mark differs between state
 * directories, so two daemons never meet. Where such directories were made is kept in the state
 * file "cgroups", so that a later supervisor in another cgroup finds them.
 *
 * Caller: worker (host, groups), guardian (reap). One thread. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_CGROUP_H
#define HEAPMARK_DAEMON_SUPERVISOR_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/err.h"
#include "daemon/supervisor/cgroup_layout.h"
#include "daemon/supervisor/state.h"

#define CGROUP_NAME_MAX 48

struct cgroup_host {
    struct cgroup_layout layout;
    char mark[STATE_MARK_MAX];
    int base_fds[CGROUP_HIERARCHIES_MAX]; /* MARK in each hierarchy, -1: not used */
    uint32_t isolation;                   /* ISOLATION_CGROUP_* this host gives */
};

/* Look at this host, make MARK where a controller serves us, enable controllers. `daemon_pid` 0:
 * none. Fails (-errno) only when the state file cannot be written. */
int cgroup_host_open(struct cgroup_host *host, const struct state *state, pid_t daemon_pid,
                     struct err *e);
/* As above, from given texts of mountinfo and self/cgroup instead of /proc's: for tests of what
 * this host has but would not choose. */
int cgroup_host_open_texts(struct cgroup_host *host, const struct state *state, pid_t daemon_pid,
                           const char *mountinfo, const char *self_cgroup, struct err *e);
/* Remove MARK where it is empty, close. */
void cgroup_host_close(struct cgroup_host *host);

/* Kill and remove every group left below the MARK directories the state file names. Returns how
 * many groups were removed. */
int cgroup_reap(const struct state *state);

struct cgroup_limits {
    uint64_t memory_bytes; /* 0: account only */
    bool memory_require;   /* an unlimited runner is an error */
    uint32_t pids_max;
    const uint16_t *cpus; /* cpus_count of them */
    unsigned cpus_count;
    uint64_t mems_mask; /* 0: as the parent */
    uint64_t hugetlb_2m_bytes, hugetlb_1g_bytes;
};

struct cgroup_group {
    char name[CGROUP_NAME_MAX]; /* "" : not made */
    int fds[CGROUP_HIERARCHIES_MAX];
    uint32_t isolation; /* ISOLATION_CGROUP_* really in force */
};

/* ERR_UNAVAILABLE if the CPUs, memory nodes or (with memory_require) the limit cannot be had; then
 * nothing is left behind. `name` is made by the caller from numbers only. */
int cgroup_group_make(const struct cgroup_host *host, const char *name,
                      const struct cgroup_limits *limits, struct cgroup_group *ret_group,
                      struct err *e);

/* The v2 directory for clone3(CLONE_INTO_CGROUP), or -1. */
int cgroup_group_v2_fd(const struct cgroup_host *host, const struct cgroup_group *group);
/* Called in the child: enter the group, in every hierarchy but v2 if that is done already. Only
 * open and write. 0 or -errno. */
int cgroup_group_enter(const struct cgroup_host *host, const struct cgroup_group *group,
                       bool v2_done);

/* SIGKILL everything in the group, new forks included, and wait until it is empty (bounded).
 * -ETIMEDOUT if processes are left (uninterruptible), -EOPNOTSUPP without any group. The caller
 * reaps its children. */
int cgroup_group_kill(const struct cgroup_host *host, const struct cgroup_group *group);

struct cgroup_figures {
    uint64_t peak_bytes; /* 0: unknown */
    uint32_t oom_kills;
};
void cgroup_group_figures(const struct cgroup_host *host, const struct cgroup_group *group,
                          struct cgroup_figures *ret);
/* Remove an emptied group. 0 or -errno (then cgroup_reap tries again later). */
int cgroup_group_remove(const struct cgroup_host *host, struct cgroup_group *group);

#endif
