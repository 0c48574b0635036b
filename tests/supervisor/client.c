#include "tests/supervisor/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/hash.h"
#include "daemon/base/io.h"
#include "daemon/supervisor/supervisor.h"

#define NOBODY 65534

static const char *const modes[] = {
    "normal",        "slow",         "crash",       "exit-3",         "exit-0",     "finish-early",
    "failed",        "hang",         "spin",        "flood",          "oom",        "fork-bomb",
    "orphan",        "orphan-crash", "reach",       "lie-ahead",      "lie-beyond", "lie-back",
    "lie-done",      "lie-dropped",  "lie-state",   "lie-state-back", "scribble",   "never-map",
    "exit-unmapped", "never-ready",  "ignore-term", "linger",
};
#define MODES_COUNT    (sizeof modes / sizeof modes[0])
#define MODES_PER_FILE 12

static void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static const char *build_dir(void)
{
    const char *dir = getenv("HEAPMARK_BUILD_DIR");
    assert_non_null(dir);
    return dir;
}

static void path_in(char *buf, size_t size, const char *dir, const char *name)
{
    assert_true((size_t)snprintf(buf, size, "%s/%s", dir, name) < size);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

void client_read_text(const char *path, char *buf, size_t size)
{
    assert_true(io_read_file(AT_FDCWD, path, buf, size) >= 0);
}

uint64_t client_read_u64(const char *path)
{
    uint64_t value = 0;
    assert_int_equal(io_read_u64(AT_FDCWD, path, &value), 0);
    return value;
}

static unsigned mode_file(const char *mode)
{
    for (unsigned i = 0; i < MODES_COUNT; i++)
        if (strcmp(modes[i], mode) == 0)
            return i / MODES_PER_FILE;
    fail_msg("no mode %s", mode);
    return 0;
}

/* fake-0.ini, fake-1.ini, ...: the C library with a mode as option. */
static void catalogue_write(const struct client *c, bool with_uid)
{
    for (unsigned first = 0; first < MODES_COUNT; first += MODES_PER_FILE) {
        char text[16384], path[PATH_MAX];
        size_t used = (size_t)snprintf(text, sizeof text,
                                       "[allocator]\nsummary = test\nlibrary = libc\n"
                                       "[symbols]\nmalloc = malloc\nfree = free\n");
        for (unsigned i = first; i < first + MODES_PER_FILE && i < MODES_COUNT; i++) {
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "[option %s]\nsummary = test\nenv = FAKE_MODE=%s\n"
                                     "env = FAKE_TAG=%s\n",
                                     modes[i], modes[i], c->dir + 5);
            if (with_uid)
                used += (size_t)snprintf(text + used, sizeof text - used,
                                         "env = FAKE_EXPECT_UID=1\n"
                                         "env = FAKE_EXPECT_EMPTY_NETWORK=1\n");
        }
        snprintf(path, sizeof path, "%s/catalog/fake-%u.ini", c->dir, first / MODES_PER_FILE);
        write_file(path, text);
    }
}

static void guardian_run(const struct client *c, const struct client_options *o, int socket)
{
    char program[PATH_MAX], runner[PATH_MAX], state[PATH_MAX], catalog[PATH_MAX];
    char in_tree[PATH_MAX], libraries[PATH_MAX], daemon[40];
    path_in(program, sizeof program, build_dir(), "bin/heapmark-supervisor");
    snprintf(runner, sizeof runner, "--runner=%s/%s", build_dir(),
             o->runner ? o->runner : "tests/fake_runner");
    snprintf(state, sizeof state, "--state-dir=%s/state", c->dir);
    snprintf(catalog, sizeof catalog, "--catalog-dir=%s/catalog", c->dir);
    snprintf(libraries, sizeof libraries, "--library-dir=%s/lib", build_dir());
    snprintf(daemon, sizeof daemon, "--daemon-pid=%d", (int)getppid());
    const char *argv[16] = {program, runner, state, catalog, libraries, daemon};
    unsigned argc = 6;
    const char *source = getenv("HEAPMARK_SOURCE_DIR");
    if (o->runner && source) {
        snprintf(in_tree, sizeof in_tree, "--catalog-dir=%s/allocators/catalog", source);
        argv[argc++] = in_tree;
    }
    for (unsigned i = 0; o->extra[i]; i++)
        argv[argc++] = o->extra[i];
    argv[argc] = NULL;
    if (dup2(socket, SUPERVISOR_FD) < 0)
        _exit(99);
    if (o->as_nobody && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
        _exit(98);
    execv(program, (char *const *)(uintptr_t)argv);
    _exit(97);
}

void client_exec(struct client *c, const struct client_options *o)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    c->guardian = fork();
    assert_true(c->guardian >= 0);
    if (c->guardian == 0) {
        /* 3 may be the other end: closed on exec unless moved away first. */
        int high = fcntl(ends[1], F_DUPFD_CLOEXEC, 64);
        guardian_run(c, o, high);
    }
    close(ends[1]);
    c->socket = ends[0];
}

/* Where it is known what must be found: qemu_v2.py, no_cgroups.py. */
static void expect_controllers(const struct wire_hello *hello)
{
    const char *version = getenv("HEAPMARK_EXPECT_CGROUP");
    const char *reason = getenv("HEAPMARK_EXPECT_REASON");
    static const enum wire_controller controllers[] = {CONTROLLER_MEMORY, CONTROLLER_CPUSET,
                                                       CONTROLLER_PIDS, CONTROLLER_HUGETLB};
    for (unsigned i = 0; version && i < sizeof controllers / sizeof controllers[0]; i++) {
        unsigned k = controllers[i];
        if (hello->cgroup_version[k] != (unsigned)strtoul(version, NULL, 10))
            fail_msg("%s is served by version %u: %s", wire_controller_name(controllers[i]),
                     hello->cgroup_version[k], hello->reason[k]);
        if (reason)
            assert_non_null(strstr(hello->reason[k], reason));
    }
    const char *kill_version = getenv("HEAPMARK_EXPECT_KILL");
    if (kill_version)
        assert_int_equal(hello->cgroup_version[CONTROLLER_FREEZER],
                         (unsigned)strtoul(kill_version, NULL, 10));
}

void client_hello(struct client *c)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    assert_true(client_recv(c, &m, fds, &count));
    assert_int_equal(m.type, WIRE_HELLO);
    assert_int_equal(count, 0);
    c->hello = m.hello;
    if (!c->is_nobody)
        expect_controllers(&c->hello);
}

void client_start(struct client *c, const struct client_options *o)
{
    (void)build_dir(); /* in the child an assertion would not stop the test */
    *c = (struct client){.next_id = 1, .is_nobody = o->as_nobody};
    snprintf(c->dir, sizeof c->dir, "/tmp/hm-sup.XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    assert_int_equal(chmod(c->dir, 0755), 0);
    char path[PATH_MAX], real[PATH_MAX], hex[SHA256_HEX_SIZE];
    path_in(path, sizeof path, c->dir, "catalog");
    assert_int_equal(mkdir(path, 0755), 0);
    path_in(path, sizeof path, c->dir, "state");
    assert_int_equal(mkdir(path, 0700), 0);
    if (o->as_nobody)
        assert_int_equal(chown(path, NOBODY, NOBODY), 0);
    assert_non_null(realpath(path, real));
    hash_sha256_hex(real, strlen(real), hex);
    snprintf(c->mark, sizeof c->mark, "heapmark.%.8s", hex);
    catalogue_write(c, geteuid() == 0 && !o->as_nobody);
    client_exec(c, o);
    client_hello(c);
}

void client_remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char below[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        path_in(below, sizeof below, path, entry->d_name);
        if (unlink(below) < 0)
            client_remove_tree(below);
    }
    if (dir)
        closedir(dir);
    (void)rmdir(path);
}

static int wait_bounded(pid_t pid)
{
    for (unsigned i = 0; i < CLIENT_MS_MAX / 10; i++) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        sleep_ms(10);
    }
    fail_msg("process %d does not end", (int)pid);
    return -1;
}

void client_stop(struct client *c)
{
    close(c->socket);
    int status = wait_bounded(c->guardian);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    client_assert_clean(c);
    char path[PATH_MAX];
    path_in(path, sizeof path, c->dir, "state/knobs");
    assert_int_not_equal(access(path, F_OK), 0);
    client_remove_tree(c->dir);
}

void client_fake_launch(struct wire_launch *q, unsigned count, const char *const wanted[])
{
    int workload = workload_index("table-churn");
    assert_true(workload >= 0);
    *q = (struct wire_launch){
        .workload = (uint32_t)workload,
        .runners_count = count,
        .rotations = 10,
        .build_parts = 2,
        .warm_parts = 2,
        .slice_ops = 100,
        .seed = 42,
        .turn_ms_max = 10000,
        .wall_ms_max = 50000,
        .pids_max = 50,
        .log_bytes_max = 4096,
        .cpus_count = 1,
    };
    for (unsigned i = 0; i < count; i++) {
        struct wire_subject *s = &q->subjects[i];
        snprintf(s->allocator, sizeof s->allocator, "fake-%u", mode_file(wanted[i]));
        snprintf(s->options[0], sizeof s->options[0], "%s", wanted[i]);
        workload_defaults(workloads[workload], &s->point);
    }
}

void client_send(struct client *c, uint32_t type, uint64_t id, const struct wire_launch *q,
                 const int *fds, unsigned fds_count)
{
    struct wire_message m = {.magic = WIRE_MAGIC, .type = type, .launch_id = id};
    if (q)
        m.launch = *q;
    assert_int_equal(wire_send(c->socket, &m, fds, fds_count), 0);
}

bool client_recv(struct client *c, struct wire_message *ret, int *ret_fds, unsigned *ret_count)
{
    struct pollfd p = {.fd = c->socket, .events = POLLIN};
    assert_int_equal(poll(&p, 1, CLIENT_MS_MAX), 1);
    int r = wire_recv(c->socket, ret, ret_fds, ret_count);
    assert_true(r >= 0 || r == -ECONNRESET);
    return r == 1;
}

void client_run(struct client *c, const struct wire_launch *q, struct wire_done *ret_done)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX], none[WIRE_FDS_MAX];
    unsigned count, none_count;
    uint64_t id = c->next_id++;
    client_send(c, WIRE_LAUNCH, id, q, NULL, 0);
    assert_true(client_recv(c, &m, fds, &count));
    if (m.type == WIRE_REFUSED)
        fail_msg("refused: %s %s", m.refused.field, m.refused.message);
    assert_int_equal(m.type, WIRE_STARTED);
    assert_int_equal(m.launch_id, id);
    assert_int_equal(count, 2 * q->runners_count);
    assert_true(client_recv(c, &m, none, &none_count));
    assert_int_equal(m.type, WIRE_DONE);
    assert_int_equal(m.launch_id, id);
    assert_int_equal(m.done.runners_count, q->runners_count);
    *ret_done = m.done;
    while (count > 0)
        close(fds[--count]);
}

void client_run_refused(struct client *c, const struct wire_launch *q, int tape_fd,
                        struct wire_refused *ret)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned count;
    uint64_t id = c->next_id++;
    client_send(c, WIRE_LAUNCH, id, q, &tape_fd, tape_fd >= 0);
    assert_true(client_recv(c, &m, fds, &count));
    assert_int_equal(m.type, WIRE_REFUSED);
    assert_int_equal(m.launch_id, id);
    assert_int_equal(count, 0);
    *ret = m.refused;
}

struct proc_stat {
    pid_t pid, parent;
    char state;
};

static bool proc_stat_read(const char *pid, struct proc_stat *ret)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    if (io_read_file(AT_FDCWD, path, text, sizeof text) < 0)
        return false;
    const char *rest = strrchr(text, ')'); /* ") S 123 ...": state, then parent */
    if (!rest || strlen(rest) < 5)
        return false;
    ret->state = rest[2];
    ret->pid = (pid_t)strtol(pid, NULL, 10);
    ret->parent = (pid_t)strtol(rest + 4, NULL, 10);
    return true;
}

static unsigned procs_read(struct proc_stat *items, unsigned capacity)
{
    DIR *dir = opendir("/proc");
    assert_non_null(dir);
    unsigned count = 0;
    struct dirent *entry;
    while ((entry = readdir(dir)) && count < capacity)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            count += proc_stat_read(entry->d_name, &items[count]);
    closedir(dir);
    return count;
}

#define PROCS_MAX 8192

pid_t client_worker(const struct client *c)
{
    static struct proc_stat items[PROCS_MAX];
    unsigned count = procs_read(items, PROCS_MAX);
    for (unsigned i = 0; i < count; i++)
        if (items[i].parent == c->guardian && items[i].state != 'Z')
            return items[i].pid;
    return 0;
}

static bool is_below(const struct proc_stat *items, unsigned count, pid_t pid, pid_t top)
{
    for (unsigned depth = 0; depth < 64 && pid > 1; depth++) {
        if (pid == top)
            return true;
        pid_t parent = 0;
        for (unsigned i = 0; i < count; i++)
            if (items[i].pid == pid)
                parent = items[i].parent;
        pid = parent;
    }
    return false;
}

unsigned client_descendants(const struct client *c)
{
    static struct proc_stat items[PROCS_MAX];
    unsigned count = procs_read(items, PROCS_MAX), found = 0;
    pid_t worker = client_worker(c);
    for (unsigned i = 0; i < count; i++)
        found += items[i].pid != c->guardian && items[i].pid != worker &&
                 is_below(items, count, items[i].pid, c->guardian);
    return found;
}

unsigned client_supervisors(const struct client *c)
{
    static struct proc_stat items[PROCS_MAX];
    unsigned count = procs_read(items, PROCS_MAX), found = 0;
    char option[96];
    snprintf(option, sizeof option, "--state-dir=%s/state", c->dir);
    for (unsigned i = 0; i < count; i++) {
        char path[64], text[4096];
        snprintf(path, sizeof path, "/proc/%d/cmdline", (int)items[i].pid);
        ssize_t n = io_read_file(AT_FDCWD, path, text, sizeof text);
        found += n > 0 && items[i].state != 'Z' && memmem(text, (size_t)n, option, strlen(option));
    }
    return found;
}

unsigned client_tagged(const struct client *c)
{
    static struct proc_stat items[PROCS_MAX];
    unsigned count = procs_read(items, PROCS_MAX), found = 0;
    char tag[64];
    snprintf(tag, sizeof tag, "FAKE_TAG=%s", c->dir + 5);
    for (unsigned i = 0; i < count; i++) {
        char path[64], text[16384];
        snprintf(path, sizeof path, "/proc/%d/environ", (int)items[i].pid);
        ssize_t n = io_read_file(AT_FDCWD, path, text, sizeof text);
        found += n > 0 && items[i].state != 'Z' && memmem(text, (size_t)n, tag, strlen(tag));
    }
    return found;
}

/* Directories launch-* in directories called MARK, wherever cgroups may be mounted. */
static unsigned groups_below(const char *path, const char *mark, unsigned depth)
{
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    unsigned found = 0;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        char below[PATH_MAX];
        path_in(below, sizeof below, path, entry->d_name);
        found += strncmp(entry->d_name, "launch-", 7) == 0 && strstr(path, mark);
        if (depth < 8)
            found += groups_below(below, mark, depth + 1);
    }
    closedir(dir);
    return found;
}

unsigned client_directories(const char *path, const char *name, unsigned depth)
{
    DIR *dir = opendir(path);
    unsigned found = 0;
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        char below[PATH_MAX];
        path_in(below, sizeof below, path, entry->d_name);
        found += strcmp(entry->d_name, name) == 0;
        if (depth > 0)
            found += client_directories(below, name, depth - 1);
    }
    if (dir)
        closedir(dir);
    return found;
}

unsigned client_groups(const struct client *c)
{
    return groups_below("/sys/fs/cgroup", c->mark, 0);
}

void client_assert_clean(const struct client *c)
{
    for (unsigned i = 0; i < 500; i++) {
        if (client_tagged(c) == 0 && client_groups(c) == 0 && client_descendants(c) == 0)
            return;
        sleep_ms(10);
    }
    fail_msg("left: %u tagged processes, %u groups, %u descendants", client_tagged(c),
             client_groups(c), client_descendants(c));
}
