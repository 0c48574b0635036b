/* The supervisor's state directory: what must survive the death of a supervisor but not a reboot.
 * Small text files, replaced atomically and synced before anything they describe happens.
 * Callers: guardian, worker. One thread. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_STATE_H
#define HEAPMARK_DAEMON_SUPERVISOR_STATE_H

#include <stddef.h>
#include <sys/types.h>

#include "daemon/base/err.h"

#define STATE_TEXT_MAX 16384
#define STATE_MARK_MAX 64

struct state {
    int dir_fd;
    int lock_fd;               /* guardian and worker each hold a record lock of their own on it */
    char mark[STATE_MARK_MAX]; /* NAME.xxxxxxxx: cgroup directory that belongs to this state */
};

/* Make the directory if missing (0700), check that it is ours and nobody else can write to it,
 * lock it. A previous supervisor may still be cleaning up: waits for the lock, at most
 * `lock_wait_ms`. ERR_CONFLICT if it is held longer, ERR_FORBIDDEN if it is not ours alone. */
int state_open(const char *path, const char *cgroup_name, unsigned lock_wait_ms,
               struct state *ret_state, struct err *e);
void state_close(struct state *state);
/* The worker's own lock, for as long as it lives: who comes next waits until it has cleaned up. */
int state_lock_worker(const struct state *state);

/* Replace a file: temporary file, fsync, rename, fsync of the directory. 0 or -errno. */
int state_write(const struct state *state, const char *name, const char *text);
/* Length, -ENOENT, -EPERM when the file is not a plain file of ours, -errno. */
ssize_t state_read(const struct state *state, const char *name, char *buf, size_t buf_size);
int state_remove(const struct state *state, const char *name); /* missing is fine */

#endif
