#include "daemon/supervisor/spawn_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/io.h"

#define FD_HIGH      100 /* above every fixed number, below RLIMIT_NOFILE */
#define FILES_MAX    1024
#define STACK_BYTES  (UINT64_C(8) << 20) /* fixed: mmap's base depends on it */
#define OOM_SCORE    "800" /* without a memory limit the runner goes before the daemon */
#define CHILD_FAILED 127

/* First of all, and again after the change of identity, which clears it: a worker that dies takes
 * us along, however little of a runner we are yet. */
static int step_parent(struct spawn_child *c)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -errno;
    return getppid() == c->parent ? 0 : -ESRCH;
}

static int step_session(struct spawn_child *c)
{
    (void)c;
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0 || setsid() < 0 || chdir("/") < 0)
        return -errno;
    for (int i = 1; i < SIGRTMAX; i++)
        (void)signal(i, SIG_DFL);
    umask(077);
    return 0;
}

/* Lower only: raising a hard limit needs a privilege even root may lack. */
static int limit_set(int resource, uint64_t value)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return -errno;
    if (limit.rlim_max == RLIM_INFINITY || value < limit.rlim_max)
        limit.rlim_max = value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? -errno : 0;
}

static int step_rlimits(struct spawn_child *c)
{
    const struct spawn_request *q = c->request;
    const uint64_t cpu_seconds = ((uint64_t)q->wall_ms_max / 1000 + 2) * (q->threads + 1);
    const struct {
        int resource;
        uint64_t value;
    } limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NOFILE, FILES_MAX},
        {RLIMIT_STACK, STACK_BYTES},
        {RLIMIT_CPU, cpu_seconds},
        {RLIMIT_NPROC, c->processes_max},
        {RLIMIT_FSIZE, 0}, /* no file may grow; shared anonymous memory is none */
        {RLIMIT_MSGQUEUE, 0},
        {RLIMIT_RTPRIO, 0},
        {RLIMIT_NICE, 0},
    };
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int r = limit_set(limits[i].resource, limits[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

static int step_cgroup(struct spawn_child *c)
{
    const struct spawn_request *q = c->request;
    return q->group ? cgroup_group_enter(q->host, q->group, c->is_v2_done) : 0;
}

static int step_oom_score(struct spawn_child *c)
{
    (void)c;
    return io_write_file(AT_FDCWD, "/proc/self/oom_score_adj", OOM_SCORE);
}

static int step_affinity(struct spawn_child *c)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned i = 0; i < c->request->cpus_count; i++) {
        if (c->request->cpus[i] >= CPU_SETSIZE)
            return -ERANGE;
        CPU_SET(c->request->cpus[i], &set);
    }
    return sched_setaffinity(0, sizeof set, &set) < 0 ? -errno : 0;
}

/* An ordinary user gets an empty network through a user namespace of its own, where allowed; the
 * namespace maps nothing but that user. */
static int network_as_user(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return -errno;
    char map[64];
    (void)io_write_file(AT_FDCWD, "/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1", (unsigned)uid, (unsigned)uid);
    int r = io_write_file(AT_FDCWD, "/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1", (unsigned)gid, (unsigned)gid);
    return r < 0 ? r : io_write_file(AT_FDCWD, "/proc/self/gid_map", map);
}

static int step_network(struct spawn_child *c)
{
    if (!c->is_root)
        return network_as_user();
    return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}

static int step_identity(struct spawn_child *c)
{
    uid_t uid = c->request->uid;
    if (uid == 0)
        return -ENODATA; /* none to give: the bit stays away */
    for (int i = 0; i <= CAP_LAST_CAP; i++)
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        return -errno;
    return setuid(0) == 0 ? -EPERM : 0; /* there must be no way back */
}

static int step_no_new_privs(struct spawn_child *c)
{
    (void)c;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int fd_place(int from, int to)
{
    if (from < 0)
        return close(to) < 0 && errno != EBADF ? -errno : 0;
    return dup2(from, to) < 0 ? -errno : 0;
}

/* First everything out of the way of the fixed numbers, then into place. */
static int step_descriptors(struct spawn_child *c)
{
    const struct spawn_request *q = c->request;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return -errno;
    for (unsigned i = 0; i < RING_FD_COUNT_; i++) {
        int from = i < STDERR_FILENO || q->fds[i] < 0 ? -1 : q->fds[i];
        if (i <= STDERR_FILENO && from < 0)
            from = null_fd;
        c->high_fds[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, FD_HIGH);
        if (from >= 0 && c->high_fds[i] < 0)
            return -errno;
    }
    c->report_fd = fcntl(c->report_fd, F_DUPFD_CLOEXEC, FD_HIGH);
    c->runner_fd = q->runner_fd < 0 ? -1 : fcntl(q->runner_fd, F_DUPFD_CLOEXEC, FD_HIGH);
    if (c->report_fd < 0 || (q->runner_fd >= 0 && c->runner_fd < 0))
        return -errno;
    for (unsigned i = 0; i < RING_FD_COUNT_; i++) {
        int r = fd_place(c->high_fds[i], (int)i);
        if (r < 0)
            return r;
    }
    if (syscall(SYS_close_range, RING_FD_COUNT_, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return 0;
    /* Before 5.11: all of ours are close-on-exec at birth; what we inherited ourselves is not. */
    for (int fd = RING_FD_COUNT_; fd < FILES_MAX; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

enum step_need {
    STEP_REQUIRED, /* failing is an error */
    STEP_SECURITY, /* failing is an error for root; an ordinary user goes on without the bit */
    STEP_OPTIONAL,
};

static const struct {
    const char *name;
    int (*run)(struct spawn_child *child);
    uint32_t isolation;
    enum step_need need;
} steps[] = {
    {"parent", step_parent, 0, STEP_REQUIRED},
    {"session", step_session, 0, STEP_REQUIRED},
    {"rlimits", step_rlimits, ISOLATION_RLIMITS, STEP_SECURITY},
    {"cgroup", step_cgroup, 0, STEP_REQUIRED},
    {"oom-score", step_oom_score, 0, STEP_OPTIONAL},
    {"affinity", step_affinity, ISOLATION_PINNED, STEP_OPTIONAL},
    {"network", step_network, ISOLATION_EMPTY_NETWORK, STEP_OPTIONAL},
    {"identity", step_identity, ISOLATION_UID, STEP_SECURITY},
    {"parent-again", step_parent, 0, STEP_REQUIRED},
    {"no-new-privs", step_no_new_privs, ISOLATION_NO_NEW_PRIVS, STEP_SECURITY},
    {"descriptors", step_descriptors, ISOLATION_CLOSED_FDS, STEP_REQUIRED},
};
#define STEPS_COUNT (sizeof steps / sizeof steps[0])
_Static_assert(STEPS_COUNT <= SPAWN_STEPS_MAX, "the report has room for every step");

const char *spawn_step_name(unsigned step)
{
    return step < STEPS_COUNT ? steps[step].name : "exec";
}

static _Noreturn void child_fail(struct spawn_child *c, struct spawn_report *report, unsigned step,
                                 int error)
{
    report->step = step;
    report->error = error;
    (void)io_write_all(c->report_fd, report, sizeof *report);
    _exit(CHILD_FAILED);
}

static bool is_fatal(const struct spawn_child *c, unsigned step, int r)
{
    if (r == -ENODATA)
        return false;
    return steps[step].need == STEP_REQUIRED || (steps[step].need == STEP_SECURITY && c->is_root);
}

void spawn_child_run(struct spawn_child *c)
{
    struct spawn_report report = {0};
    for (unsigned i = 0; i < STEPS_COUNT; i++) {
        int r = steps[i].run(c);
        if (r == 0)
            report.isolation |= steps[i].isolation;
        else if (is_fatal(c, i, r))
            child_fail(c, &report, i, -r);
        else
            report.optional_errors[i] = -r;
    }
    if (io_write_all(c->report_fd, &report, sizeof report) < 0)
        _exit(CHILD_FAILED);
    if (c->runner_fd < 0)
        _exit(0);
    char index[16];
    snprintf(index, sizeof index, "%u", c->request->index);
    const char *const argv[] = {"heapmark-runner", index, NULL};
    syscall(SYS_execveat, c->runner_fd, "", argv, c->environment, AT_EMPTY_PATH);
    child_fail(c, &report, STEPS_COUNT, errno);
}
