#include "daemon/supervisor/procs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"

#define PROCS_MAX   65536
#define STOP_ROUNDS 20
#define KILL_ROUNDS 1000

DEFINE_CLEANUP(DIR *, closedir)

struct proc {
    pid_t pid, parent, session;
    uid_t uid;
    uint64_t threads;
    uint64_t start_ticks;
    bool is_alive, is_below_us, is_target;
};

struct proc_list {
    struct proc *items;
    unsigned count;
};

static void proc_list_done(struct proc_list *list)
{
    free(list->items);
}

/* Fields of /proc/PID/stat (proc(5)), counted from the state, which comes after the command. */
enum stat_field { STAT_STATE, STAT_PARENT, STAT_SESSION = 3, STAT_THREADS = 17, STAT_START = 19 };

/* The command may hold anything, ')' included: the last one ends it. */
static bool proc_read(int proc_fd, pid_t pid, struct proc *ret)
{
    char path[32], text[2048], *fields[STAT_START + 1], *save;
    snprintf(path, sizeof path, "%d/stat", (int)pid);
    if (io_read_file(proc_fd, path, text, sizeof text) < 0)
        return false;
    char *rest = strrchr(text, ')');
    if (!rest)
        return false;
    for (unsigned i = 0; i <= STAT_START; i++)
        if (!(fields[i] = strtok_r(i ? NULL : rest + 1, " ", &save)))
            return false;
    *ret = (struct proc){
        .pid = pid,
        .parent = (pid_t)strtol(fields[STAT_PARENT], NULL, 10),
        .session = (pid_t)strtol(fields[STAT_SESSION], NULL, 10),
        .threads = strtoull(fields[STAT_THREADS], NULL, 10),
        .start_ticks = strtoull(fields[STAT_START], NULL, 10),
        .is_alive = fields[STAT_STATE][0] != 'Z' && fields[STAT_STATE][0] != 'X',
    };
    return true;
}

/* Not the owner of /proc/PID: that is root for a process that is not dumpable. */
static uid_t proc_uid(int proc_fd, pid_t pid)
{
    char path[32], text[4096];
    snprintf(path, sizeof path, "%d/status", (int)pid);
    if (io_read_file(proc_fd, path, text, sizeof text) < 0)
        return (uid_t)-1;
    const char *at = strstr(text, "\nUid:");
    return at ? (uid_t)strtoul(at + strlen("\nUid:"), NULL, 10) : (uid_t)-1;
}

static int list_read(struct proc_list *ret)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_(closedir_p) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return -errno;
    unsigned capacity = 0;
    struct dirent *entry;
    while ((entry = readdir(dir)) && ret->count < PROCS_MAX) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end || pid <= 0)
            continue;
        if (ret->count == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            struct proc *grown = realloc(ret->items, capacity * sizeof *grown);
            if (!grown)
                return -ENOMEM;
            ret->items = grown;
        }
        struct proc *p = &ret->items[ret->count];
        if (proc_read(fd, (pid_t)pid, p)) {
            p->uid = proc_uid(fd, (pid_t)pid);
            ret->count++;
        }
    }
    return 0;
}

static bool is_parent_marked(const struct proc_list *list, pid_t parent, bool target)
{
    for (unsigned i = 0; i < list->count; i++)
        if (list->items[i].pid == parent)
            return target ? list->items[i].is_target : list->items[i].is_below_us;
    return false;
}

/* Spread marks from parents to children until nothing changes: depth of the tree many rounds. */
static void list_mark(struct proc_list *list, const struct procs_target *target)
{
    pid_t self = getpid();
    bool changed = true;
    while (changed) {
        changed = false;
        for (unsigned i = 0; i < list->count; i++) {
            struct proc *p = &list->items[i];
            if (!p->is_below_us && (p->parent == self || is_parent_marked(list, p->parent, false)))
                p->is_below_us = changed = true;
            bool hit = target->leader == 0 || p->pid == target->leader ||
                       p->session == target->leader ||
                       (target->uid != 0 && p->uid == target->uid) ||
                       is_parent_marked(list, p->parent, true);
            if (!p->is_target && p->is_below_us && hit)
                p->is_target = changed = true;
        }
    }
}

static void proc_signal(const struct proc *p, int signal_number)
{
    cleanup_(close_p) int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    cleanup_(close_p) int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct proc again;
    if (pidfd < 0 || proc_fd < 0 || !proc_read(proc_fd, p->pid, &again) ||
        again.start_ticks != p->start_ticks)
        return;
    (void)syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0);
}

/* Signal every living target. Count of them, or -errno. */
static int round_signal(const struct procs_target *target, int signal_number)
{
    cleanup_(proc_list_done) struct proc_list list = {0};
    int r = list_read(&list);
    if (r < 0)
        return r;
    list_mark(&list, target);
    int alive = 0;
    for (unsigned i = 0; i < list.count; i++)
        if (list.items[i].is_target && list.items[i].is_alive) {
            proc_signal(&list.items[i], signal_number);
            alive++;
        }
    return alive;
}

int procs_kill(const struct procs_target *target)
{
    int before = -1, now = round_signal(target, SIGSTOP);
    for (unsigned i = 0; i < STOP_ROUNDS && now > 0 && now != before; i++) {
        before = now;
        now = round_signal(target, SIGSTOP);
    }
    for (unsigned i = 0; i < KILL_ROUNDS && now > 0; i++) {
        if (i > 0) {
            struct timespec t = {.tv_nsec = 1000000};
            nanosleep(&t, NULL);
        }
        now = round_signal(target, SIGKILL);
    }
    return now;
}

uint64_t procs_user_threads(uid_t uid)
{
    cleanup_(proc_list_done) struct proc_list list = {0};
    uint64_t threads = 0;
    if (list_read(&list) == 0)
        for (unsigned i = 0; i < list.count; i++)
            threads += list.items[i].uid == uid ? list.items[i].threads : 0;
    return threads;
}
