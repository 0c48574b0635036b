/* Whole-group operations that work on any cgroup directory, v1 or v2, told apart by the files it
 * has: kill, wait until empty, remove a tree. Called by cgroup.c. */
#include "daemon/supervisor/cgroup_ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"

#define FREEZE_TRIES   200 /* ms */
#define KILL_ROUNDS    3000
#define REMOVE_TRIES   500
#define TREE_DEPTH_MAX 8
#define PROCS_TEXT_MAX (1u << 20)

DEFINE_CLEANUP(DIR *, closedir)

static void sleep_one_ms(void)
{
    struct timespec t = {.tv_nsec = 1000000};
    nanosleep(&t, NULL);
}

int cgroup_read_key(int dir, const char *file, const char *key, uint64_t *ret_value)
{
    char text[4096];
    ssize_t n = io_read_file(dir, file, text, sizeof text);
    if (n < 0)
        return (int)n;
    size_t key_length = strlen(key);
    for (const char *line = text; *line;) {
        if (strncmp(line, key, key_length) == 0 && line[key_length] == ' ') {
            *ret_value = strtoull(line + key_length + 1, NULL, 10);
            return 0;
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return -ENOENT;
}

/* Signal what cgroup.procs lists (0: only count). Processes outside of our pid namespace read
 * as 0. We, our parent and init are never meant, whatever is written there. */
static int dir_signal(int dir, int signal_number)
{
    cleanup_(free_p) char *text = malloc(PROCS_TEXT_MAX);
    if (!text)
        return -ENOMEM;
    ssize_t n = io_read_file(dir, "cgroup.procs", text, PROCS_TEXT_MAX);
    if (n == -EOPNOTSUPP) /* a threaded v2 cgroup; none of ours is */
        return 0;
    if (n < 0)
        return (int)n;
    int count = 0;
    for (const char *line = text; *line;) {
        char *end;
        long pid = strtol(line, &end, 10);
        if (end == line)
            break;
        count++;
        if (signal_number && pid > 1 && pid != getpid() && pid != getppid())
            (void)kill((pid_t)pid, signal_number);
        line = end + (*end == '\n');
    }
    return count;
}

int cgroup_dir_count(int dir)
{
    return dir_signal(dir, 0);
}

static bool dir_wait_frozen(int dir, bool is_v2)
{
    for (unsigned i = 0; i < FREEZE_TRIES; i++) {
        char text[32];
        uint64_t frozen = 0;
        if (is_v2 && cgroup_read_key(dir, "cgroup.events", "frozen", &frozen) == 0 && frozen)
            return true;
        if (!is_v2 && io_read_file(dir, "freezer.state", text, sizeof text) > 0 &&
            strcmp(text, "FROZEN") == 0)
            return true;
        sleep_one_ms();
    }
    return false;
}

int cgroup_dir_kill(int dir)
{
    int r = io_write_file(dir, "cgroup.kill", "1"); /* since 5.14 */
    if (r == 0)
        return 0;
    /* Frozen processes cannot fork away from the list we read; the signal works when thawed. */
    bool v2_frozen = io_write_file(dir, "cgroup.freeze", "1") == 0;
    bool v1_frozen = !v2_frozen && io_write_file(dir, "freezer.state", "FROZEN") == 0;
    if (v2_frozen || v1_frozen)
        (void)dir_wait_frozen(dir, v2_frozen);
    else
        (void)io_write_u64(dir, "pids.max", 0);
    r = dir_signal(dir, SIGKILL);
    if (v2_frozen)
        (void)io_write_file(dir, "cgroup.freeze", "0");
    if (v1_frozen)
        (void)io_write_file(dir, "freezer.state", "THAWED");
    return r < 0 ? r : 0;
}

int cgroup_dir_empty(int dir)
{
    for (unsigned round = 0; round < KILL_ROUNDS; round++) {
        int count = cgroup_dir_count(dir);
        if (count <= 0)
            return count;
        /* The kill is repeated now and then only: dying takes as long as freeing memory takes. */
        if (round % 50 == 0) {
            int r = cgroup_dir_kill(dir);
            if (r < 0)
                return r;
        }
        sleep_one_ms();
    }
    return -ETIMEDOUT;
}

static int dir_remove(int parent, const char *name)
{
    for (unsigned i = 0; i < REMOVE_TRIES; i++) {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
            return 0;
        if (errno != EBUSY)
            return errno == ENOENT ? 0 : -errno;
        sleep_one_ms();
    }
    return -EBUSY;
}

static int tree_remove_below(int dir, const char *keep, unsigned depth);

static int tree_remove(int parent, const char *name, const char *keep, unsigned depth)
{
    cleanup_(close_p) int dir =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? 0 : -errno;
    int below = tree_remove_below(dir, keep, depth);
    if (below < 0)
        return below;
    if (keep && faccessat(dir, keep, F_OK, 0) == 0)
        return below; /* somebody lives there */
    int r = cgroup_dir_empty(dir);
    if (r == 0)
        r = dir_remove(parent, name);
    return r < 0 ? r : below + 1;
}

/* A runner may have made groups inside its own: bounded depth, children first. */
static int tree_remove_below(int dir, const char *keep, unsigned depth)
{
    if (depth >= TREE_DEPTH_MAX)
        return -ELOOP;
    int list_fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_(closedir_p) DIR *list = list_fd < 0 ? NULL : fdopendir(list_fd);
    if (!list)
        return -errno;
    int removed = 0;
    struct dirent *entry;
    while ((entry = readdir(list))) {
        struct stat st;
        if (entry->d_name[0] == '.' || (keep && strcmp(entry->d_name, keep) == 0) ||
            fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
            continue;
        int r = tree_remove(dir, entry->d_name, NULL, depth + 1);
        if (r < 0)
            return r;
        removed += r;
    }
    return removed;
}

int cgroup_tree_remove(int parent, const char *name, const char *keep)
{
    return tree_remove(parent, name, keep, 0);
}
