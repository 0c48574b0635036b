/* Giving up root once the supervisor runs. */
#ifndef HEAPMARK_DAEMON_HEAPMARKD_PRIVILEGE_H
#define HEAPMARK_DAEMON_HEAPMARKD_PRIVILEGE_H

#include "daemon/base/err.h"

/* Become `user` for good: groups, gid, uid, no_new_privs, core dumps off, and proof that root
 * cannot be had back. The state directory is made if missing and handed to the user when root
 * owns it. An empty user: stay (said in the log as root). */
int privilege_drop(const char *user, const char *state_directory, struct err *e);

/* Make the state directory (0700) if it is missing; a clear error where that cannot be. */
int privilege_state_directory(const char *path, struct err *e);

/* "KEY=VALUE" to the service manager's $NOTIFY_SOCKET, if there is one (sd_notify(3)). */
void privilege_notify(const char *state);

#endif
