#include "daemon/supervisor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/hash.h"
#include "daemon/base/io.h"

#define LOCK_RETRY_MS 50

/* Bytes of the lock file. */
enum { LOCK_GUARDIAN, LOCK_WORKER };

static void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static int state_dir_open(const char *path, int *ret_fd, struct err *e)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_errno(e, ERR_IO, errno, "cannot make state directory %s", path);
    cleanup_(close_p) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot open state directory %s", path);
    if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(e, ERR_FORBIDDEN, "state-dir",
                       "%s must belong to uid %u and be writable by nobody else", path,
                       (unsigned)geteuid());
    *ret_fd = take_fd(&fd);
    return 0;
}

/* Record locks, because fork() does not hand them on: a runner stopped half-way between fork and
 * exec, whose supervisor is gone, must not keep the next one out. They end with the process. */
static int lock_byte(int fd, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_SETLK, &lock) < 0 ? -errno : 0;
}

static int lock_byte_wait(int fd, off_t byte, unsigned *wait_ms)
{
    for (;;) {
        int r = lock_byte(fd, F_WRLCK, byte);
        if (r != -EAGAIN && r != -EACCES)
            return r;
        if (*wait_ms < LOCK_RETRY_MS)
            return -EWOULDBLOCK;
        *wait_ms -= LOCK_RETRY_MS;
        sleep_ms(LOCK_RETRY_MS);
    }
}

/* Ours, and nobody's worker is still cleaning up. */
static int state_lock(int dir_fd, unsigned wait_ms, int *ret_fd)
{
    cleanup_(close_p) int fd =
        openat(dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = lock_byte_wait(fd, LOCK_GUARDIAN, &wait_ms);
    if (r == 0)
        r = lock_byte_wait(fd, LOCK_WORKER, &wait_ms);
    if (r == 0)
        r = lock_byte(fd, F_UNLCK, LOCK_WORKER);
    if (r < 0)
        return r;
    *ret_fd = take_fd(&fd);
    return 0;
}

int state_lock_worker(const struct state *state)
{
    return lock_byte(state->lock_fd, F_WRLCK, LOCK_WORKER);
}

int state_open(const char *path, const char *cgroup_name, unsigned lock_wait_ms,
               struct state *ret_state, struct err *e)
{
    cleanup_(close_p) int dir_fd = -1;
    int r = state_dir_open(path, &dir_fd, e);
    if (r < 0)
        return r;
    int lock_fd = -1;
    r = state_lock(dir_fd, lock_wait_ms, &lock_fd);
    if (r == -EWOULDBLOCK)
        return err_set(e, ERR_CONFLICT, "state-dir", "another supervisor uses %s", path);
    if (r < 0)
        return err_set_errno(e, ERR_IO, -r, "cannot lock %s", path);

    /* The real path, so that two spellings of one directory make one mark. */
    char real[PATH_MAX], hex[SHA256_HEX_SIZE];
    if (!realpath(path, real)) {
        r = err_set_errno(e, ERR_IO, errno, "cannot resolve %s", path);
        close(lock_fd);
        return r;
    }
    hash_sha256_hex(real, strlen(real), hex);
    snprintf(ret_state->mark, sizeof ret_state->mark, "%.48s.%.8s", cgroup_name, hex);
    ret_state->dir_fd = take_fd(&dir_fd);
    ret_state->lock_fd = lock_fd;
    return 0;
}

void state_close(struct state *state)
{
    close(state->lock_fd);
    close(state->dir_fd);
    state->lock_fd = state->dir_fd = -1;
}

int state_write(const struct state *state, const char *name, const char *text)
{
    char temporary[64];
    snprintf(temporary, sizeof temporary, ".%s.new", name);
    (void)unlinkat(state->dir_fd, temporary, 0);
    cleanup_(close_p) int fd = openat(state->dir_fd, temporary,
                                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = io_write_all(fd, text, strlen(text));
    if (r < 0)
        return r;
    if (fsync(fd) < 0 || renameat(state->dir_fd, temporary, state->dir_fd, name) < 0 ||
        fsync(state->dir_fd) < 0)
        return -errno;
    return 0;
}

ssize_t state_read(const struct state *state, const char *name, char *buf, size_t buf_size)
{
    struct stat st;
    if (fstatat(state->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return -EPERM;
    return io_read_file(state->dir_fd, name, buf, buf_size);
}

int state_remove(const struct state *state, const char *name)
{
    if (unlinkat(state->dir_fd, name, 0) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}
