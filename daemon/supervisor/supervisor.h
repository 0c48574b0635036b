/* heapmark-supervisor: the only privileged program. It pins, makes cgroups, reserves huge pages,
 * sets host knobs and restores them, starts runners and kills them. It opens no socket and parses
 * nothing that came from the network: heapmarkd executes it with one end of a SOCK_SEQPACKET
 * socketpair as descriptor SUPERVISOR_FD and the options below; then schema/wire.h is all they say
 * to each other. End of stream, SIGTERM and SIGINT all mean: kill every runner, restore the host,
 * exit 0.
 *
 * Two processes: the one that was executed stays a small guardian (guardian.c) that forks the
 * worker (worker.c), which does everything, and starts it again when it dies, after killing what
 * the dead worker left and giving the host back its settings.
 *
 *   heapmark-supervisor --runner=PATH --state-dir=DIR [options]
 *     --runner=PATH         heapmark-runner
 *     --state-dir=DIR       where originals of host knobs and the list of our cgroups are kept
 *                           while they matter. Made with mode 0700 if missing, must belong to us;
 *                           as root, choose one that only root can replace (/run/...). One
 *                           supervisor per directory, locked.
 *     --catalog-dir=DIR     allocator catalogue, may be repeated (SUPERVISOR_DIRS_MAX)
 *     --library-dir=DIR     where libraries are looked up first, may be repeated
 *     --uids=FIRST-LAST     user (and group) ids for runners, at least RING_RUNNERS_MAX of them,
 *                           nobody else's. Default as root: 61000-61007. Refused otherwise.
 *                           `none`: runners keep our identity even as root.
 *     --cgroup-name=NAME    parent cgroup of all trials, default "heapmark"; a mark made from the
 *                           state directory is appended, so that two daemons never meet
 *     --daemon-pid=PID      on cgroup v2, move this process along when our own cgroup must be
 *                           empty before it can have children with controllers
 *     --deny=thp|hugetlb    never touch this host knob; may be repeated
 *     --log-level=LEVEL     error, warning, info, debug
 *     --log-format=FORMAT   text, priority, json
 *     --version             print the build id and exit
 *
 * Exit status: 0 asked to stop, 1 could not start (the reason is on stderr), 2 wrong options. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_SUPERVISOR_H
#define HEAPMARK_DAEMON_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/base/err.h"
#include "daemon/base/log.h"

#define SUPERVISOR_FD        3
#define SUPERVISOR_DIRS_MAX  8
#define SUPERVISOR_UID_FIRST 61000
#define SUPERVISOR_UID_LAST  61007

/* How long a new one waits for the state directory: an earlier one's worker may still be winding
 * up. Longer than a guardian gives its worker (GUARDIAN_STOP_MS_MAX), shorter than heapmarkd waits
 * for a hello. */
#define SUPERVISOR_LOCK_WAIT_MS 20000

enum supervisor_exit { SUPERVISOR_EXIT_OK, SUPERVISOR_EXIT_FAILED, SUPERVISOR_EXIT_USAGE };

struct supervisor_options {
    const char *runner;
    const char *state_dir;
    const char *catalog_dirs[SUPERVISOR_DIRS_MAX + 1]; /* NULL-terminated */
    const char *library_dirs[SUPERVISOR_DIRS_MAX + 1];
    uid_t uid_first;
    unsigned uids_count; /* 0: runners keep our identity */
    const char *cgroup_name;
    pid_t daemon_pid; /* 0: none given */
    bool deny_thp, deny_hugetlb;
    bool show_version;
    enum log_level log_level;
    enum log_format log_format;
};

/* Strings stay argv's. 0, or why in *e. Does not touch the system. */
int supervisor_options_parse(int argc, char **argv, bool is_root,
                             struct supervisor_options *ret_options, struct err *e);

#endif
