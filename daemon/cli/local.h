/* A private heapmarkd on a Unix socket, for run --local. A keeper process between the command and
 * the daemon stops the daemon and removes the temporary directory however the command ends, also
 * by SIGKILL: it holds one end of a pipe whose other end only the command has. */
#ifndef HEAPMARK_DAEMON_CLI_LOCAL_H
#define HEAPMARK_DAEMON_CLI_LOCAL_H

#include <sys/types.h>

#include "daemon/cli/cli.h"

struct local {
    char directory[64]; /* temporary: the socket, the log, and the state unless given */
    char server[96];    /* "unix:/…", for client_new */
    int pipe_fd;        /* closing it tells the keeper to end */
    pid_t keeper;
};

/* state_dir may be NULL. Returns when the daemon answers /readyz. */
enum cli_exit local_start(struct cli *c, const char *state_dir, struct local *ret_local);
/* The private daemon went away: fill c->err with the end of its log. */
enum cli_exit local_lost(struct cli *c, const struct local *local);
/* Stop the daemon, wait, remove the temporary directory. Also after a failed start. */
void local_stop(struct local *local);

#endif
