#include "daemon/supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/hash.h"
#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/supervisor/procs.h"
#include "daemon/supervisor/spawn_steps.h"

#define REPORT_WAIT_MS 10000

unsigned spawn_pad_length(uint64_t seed)
{
    return (unsigned)(hash_mix(seed, 0x706164) % (SPAWN_PAD_MAX + 1));
}

/* glibc puts the thread's TLS blocks at an offset in their page that follows from the room
 * reserved for static TLS; for one build of runner and allocator it would be the same in every
 * process. Where a hot TLS word of the allocator and a hot word of its GOT share their offset,
 * about one process in sixteen was slower for its whole life, depending on the frames its two pages
 * got: apparently loads of the one wait for stores to the other. Drawn per process instead, as the
 * stack's offset is by the padding. */
#define STATIC_TLS      "GLIBC_TUNABLES=glibc.rtld.optional_static_tls="
#define STATIC_TLS_LINE 64u
#define STATIC_TLS_PAGE 4096u

struct environment {
    char static_tls[2 * CATALOG_ENV_SIZE + 20]; /* the number may grow */
    char pad[sizeof "HEAPMARK_PAD=" + SPAWN_PAD_MAX];
    const char *values[CATALOG_ENVIRONMENT_MAX + 2];
};

unsigned spawn_tls_shift(uint64_t seed)
{
    return (unsigned)(hash_mix(seed, 0x746c73) % (STATIC_TLS_PAGE / STATIC_TLS_LINE) *
                      STATIC_TLS_LINE);
}

/* `value` itself unless it reserves static TLS. */
static const char *environment_static_tls(const char *value, uint64_t seed, struct environment *env)
{
    if (strncmp(value, STATIC_TLS, sizeof STATIC_TLS - 1) != 0)
        return value;
    char *rest;
    unsigned long room = strtoul(value + sizeof STATIC_TLS - 1, &rest, 10);
    room += spawn_tls_shift(seed);
    snprintf(env->static_tls, sizeof env->static_tls, STATIC_TLS "%lu%s", room, rest);
    return env->static_tls;
}

static void environment_build(const struct spawn_request *q, struct environment *ret)
{
    unsigned count = 0;
    for (uint32_t i = 0; q->environment && i < q->environment->count; i++)
        ret->values[count++] = environment_static_tls(q->environment->values[i], q->pad_seed, ret);
    int n = snprintf(ret->pad, sizeof ret->pad, "HEAPMARK_PAD=");
    unsigned length = spawn_pad_length(q->pad_seed);
    memset(ret->pad + n, 'x', length);
    ret->pad[(unsigned)n + length] = '\0';
    ret->values[count++] = ret->pad;
    ret->values[count] = NULL;
}

/* fork() into the v2 group at once where the kernel can (5.7): no migration, and everything is
 * charged there from the first page. Returns as fork does. */
static pid_t fork_into(int v2_fd, int *ret_pidfd, bool *ret_v2_done)
{
    struct clone_args args = {
        .flags = CLONE_PIDFD,
        .pidfd = (uintptr_t)ret_pidfd,
        .exit_signal = SIGCHLD,
    };
    *ret_v2_done = v2_fd >= 0;
    if (v2_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)v2_fd;
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
        if (pid >= 0)
            return pid;
        *ret_v2_done = false;
        args.flags = CLONE_PIDFD;
        args.cgroup = 0;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* What the child says about itself before it turns into the runner; complete or nothing. */
static int report_read(int fd, struct spawn_report *ret)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool have = false;
    for (;;) {
        int n = poll(&p, 1, REPORT_WAIT_MS);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? -ETIMEDOUT : -errno;
        struct spawn_report report = {0};
        ssize_t size = read(fd, &report, sizeof report);
        if (size < 0 && errno == EINTR)
            continue;
        if (size != sizeof report)
            break; /* end of stream: executed, or dead */
        *ret = report;
        have = true;
        if (report.error)
            break;
    }
    return have ? 0 : -ECHILD;
}

static void abandon(pid_t pid, int pidfd)
{
    (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    (void)waitpid(pid, NULL, 0);
    close(pidfd);
}

static int child_start(struct spawn_child *child, struct spawn_result *ret,
                       struct spawn_report *ret_report, struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot make a pipe");
    int pidfd = -1;
    child->report_fd = ends[1];
    child->parent = getpid();
    int v2_fd = child->request->host && child->request->group
                    ? cgroup_group_v2_fd(child->request->host, child->request->group)
                    : -1;
    bool v2_done;
    pid_t pid = fork_into(v2_fd, &pidfd, &v2_done);
    if (pid == 0) {
        child->is_v2_done = v2_done;
        spawn_child_run(child); /* does not return */
    }
    int error = errno;
    close(ends[1]);
    cleanup_(close_p) int report_fd = ends[0];
    if (pid < 0)
        return err_set_errno(e, ERR_IO, error, "cannot start a process");
    struct spawn_report report = {0};
    int r = report_read(report_fd, &report);
    if (r == -ECHILD) {
        /* Killed before it could say anything: the memory limit can do that. The caller sees the
         * process end and asks the cgroup why. */
        log_warning("runner %u ended before it was started", child->request->index);
    } else if (r < 0) {
        abandon(pid, pidfd);
        return err_set_errno(e, ERR_IO, -r, "a runner did not start");
    }
    if (report.error) {
        abandon(pid, pidfd);
        return err_set_errno(e, ERR_IO, report.error, "cannot start a runner: step \"%s\"",
                             spawn_step_name(report.step));
    }
    *ret_report = report;
    *ret = (struct spawn_result){.pid = pid, .pidfd = pidfd, .isolation = report.isolation};
    return 0;
}

static void log_missing(const struct spawn_report *report)
{
    for (unsigned i = 0; i < SPAWN_STEPS_MAX; i++)
        if (report->optional_errors[i])
            log_debug("isolation step \"%s\" not possible: %s", spawn_step_name(i),
                      strerror(report->optional_errors[i]));
}

int spawn_runner(const struct spawn_request *request, struct spawn_result *ret, struct err *e)
{
    struct environment environment;
    environment_build(request, &environment);
    bool is_root = geteuid() == 0;
    struct spawn_child child = {
        .request = request,
        .environment = environment.values,
        .is_root = is_root,
        .processes_max = (uint64_t)request->pids_max + request->threads,
    };
    if (!is_root)
        child.processes_max += procs_user_threads(geteuid());
    struct spawn_report report = {0};
    int r = child_start(&child, ret, &report, e);
    if (r == 0)
        log_missing(&report);
    return r;
}

uint32_t spawn_probe(uid_t uid, const struct cgroup_host *host)
{
    uint16_t cpu = 0;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &allowed))
            cpu++;
    struct spawn_request request = {
        .runner_fd = -1, /* leaves after the steps */
        .uid = uid,
        .host = host,
        .pids_max = 64,
        .threads = 1,
        .wall_ms_max = 1000,
        .cpus = &cpu,
        .cpus_count = 1,
    };
    for (unsigned i = 0; i < RING_FD_COUNT_; i++)
        request.fds[i] = -1;
    struct spawn_result result;
    struct err e;
    if (spawn_runner(&request, &result, &e) < 0) {
        log_warning("runners cannot be started as they should: %s", e.message);
        return 0;
    }
    close(result.pidfd);
    (void)waitpid(result.pid, NULL, 0);
    return result.isolation;
}
