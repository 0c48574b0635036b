/* heapmarkd's end of the launch protocol: starts heapmark-supervisor, talks to it, notices its
 * death. One thread at a time (the scheduler's) may send and receive; hello may be read by any. */
#ifndef HEAPMARK_DAEMON_NODE_SUPERVISOR_CLIENT_H
#define HEAPMARK_DAEMON_NODE_SUPERVISOR_CLIENT_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/err.h"
#include "daemon/base/log.h"
#include "schema/wire.h"

#define SUPERVISOR_DIRS 8

struct supervisor_config {
    const char *supervisor_path, *runner_path;
    const char *state_dir; /* of the supervisor: originals of host knobs */
    const char *catalog_dirs[SUPERVISOR_DIRS + 1], *library_dirs[SUPERVISOR_DIRS + 1];
    const char *uids;        /* "61000-61007", "none", NULL: its default */
    const char *cgroup_name; /* NULL: its default */
    bool deny_thp, deny_hugetlb;
    enum log_level log_level;
    const char *log_format; /* "text", "priority", "json" */
};

struct supervisor_client;

/* Start it and wait for its hello. ERR_INCOMPATIBLE when it is of another build. */
int supervisor_client_start(const struct supervisor_config *config, struct supervisor_client **ret,
                            struct err *e);
/* Close the socket (it kills its runners and restores the host) and wait for it to end. */
void supervisor_client_stop(struct supervisor_client *c);
DEFINE_CLEANUP(struct supervisor_client *, supervisor_client_stop)

pid_t supervisor_client_pid(const struct supervisor_client *c);
/* Pollable for replies. */
int supervisor_client_fd(const struct supervisor_client *c);
/* Snapshot of the last hello; any thread. */
void supervisor_client_hello(struct supervisor_client *c, struct wire_hello *ret);

/* -errno when it is gone. */
int supervisor_client_send(struct supervisor_client *c, const struct wire_message *message,
                           const int *fds, unsigned fds_count);
/* As wire_recv; a hello is noted and also returned. 0: it is gone. */
int supervisor_client_recv(struct supervisor_client *c, struct wire_message *ret, int *ret_fds,
                           unsigned *ret_fds_count);

#endif
