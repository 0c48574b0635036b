#include "schema/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/err.h"

const char *isolation_bit_name(unsigned bit_index)
{
    static const char *const names[ISOLATION_BIT_COUNT_] = {
        "uid",           "no_new_privs",  "rlimits",     "closed_fds",  "empty_network",
        "cgroup_memory", "cgroup_cpuset", "cgroup_pids", "cgroup_kill", "cgroup_hugetlb",
        "pinned",        "mounts",        "landlock",    "seccomp",
    };
    return bit_index < ISOLATION_BIT_COUNT_ ? names[bit_index] : "unknown";
}

const char *isolation_level(uint32_t bits)
{
    const uint32_t all = (1u << ISOLATION_BIT_COUNT_) - 1;
    const uint32_t optional = ISOLATION_CGROUP_HUGETLB; /* not every kernel has it */
    const uint32_t some = ISOLATION_UID | ISOLATION_CGROUP_MEMORY | ISOLATION_CGROUP_CPUSET |
                          ISOLATION_CGROUP_PIDS | ISOLATION_CGROUP_KILL;
    if ((bits | optional) == all)
        return "full";
    return bits & some ? "partial" : "none";
}

const char *wire_outcome_name(enum wire_outcome outcome)
{
    static const char *const names[OUTCOME_COUNT_] = {
        [OUTCOME_OK] = "ok",
        [OUTCOME_FAILED] = "failed",
        [OUTCOME_CRASHED] = "crashed",
        [OUTCOME_EXITED] = "exited",
        [OUTCOME_OOM] = "oom",
        [OUTCOME_TURN_TIMEOUT] = "turn_timeout",
        [OUTCOME_WALL_TIMEOUT] = "wall_timeout",
        [OUTCOME_PROTOCOL] = "protocol",
        [OUTCOME_CANCELLED] = "cancelled",
    };
    return (unsigned)outcome < OUTCOME_COUNT_ ? names[outcome] : "protocol";
}

const char *wire_controller_name(enum wire_controller controller)
{
    static const char *const names[CONTROLLER_COUNT_] = {"memory", "cpuset",  "cpu",
                                                         "pids",   "freezer", "hugetlb"};
    return (unsigned)controller < CONTROLLER_COUNT_ ? names[controller] : "unknown";
}

int wire_send(int socket, const struct wire_message *message, const int *fds, unsigned fds_count)
{
    if (fds_count > WIRE_FDS_MAX)
        return -EINVAL;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof *message};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
    } control = {0};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fds_count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        assert(c); /* control has room for it */
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fds_count);
    }
    ssize_t n;
    do
        n = sendmsg(socket, &header, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == sizeof *message ? 0 : -EIO;
}

static unsigned wire_take_fds(struct msghdr *header, int *ret_fds)
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (count < WIRE_FDS_MAX)
                ret_fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

int wire_recv(int socket, struct wire_message *ret_message, int *ret_fds, unsigned *ret_fds_count)
{
    struct iovec iov = {.iov_base = ret_message, .iov_len = sizeof *ret_message};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
    } control;
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    *ret_fds_count = 0;
    ssize_t n;
    do
        n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    unsigned count = wire_take_fds(&header, ret_fds);
    if (n == 0 && count == 0)
        return 0;
    if ((size_t)n != sizeof *ret_message || header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
        ret_message->magic != WIRE_MAGIC) {
        while (count > 0)
            close(ret_fds[--count]);
        return -EPROTO;
    }
    *ret_fds_count = count;
    return 1;
}

static int wire_subject_check(const struct wire_subject *s, const struct workload *w, struct err *e)
{
    if (!memchr(s->allocator, '\0', sizeof s->allocator))
        return err_set(e, ERR_INVALID, "/subjects/allocator", "allocator name is not ended");
    for (unsigned i = 0; i < RING_OPTIONS_MAX; i++)
        if (!memchr(s->options[i], '\0', sizeof s->options[i]))
            return err_set(e, ERR_INVALID, "/subjects/options", "option name is not ended");
    const struct workload_point *p = &s->point;
    if (p->threads < 1 || p->threads > RING_THREADS_MAX || p->threads > w->threads_max)
        return err_set(e, ERR_OUT_OF_RANGE, "/subjects/threads", "%u threads", p->threads);
    if (p->pages >= PAGES_COUNT_ || !(w->pages_mask & PAGES_BIT(p->pages)))
        return err_set(e, ERR_INVALID, "/subjects/pages", "%s does not accept page mode %u",
                       w->name, p->pages);
    for (unsigned i = 0; i < w->params_count; i++) {
        int r = param_check(&w->params[i], p->params[i], NULL, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int wire_launch_check(const struct wire_launch *l, struct err *e)
{
    unsigned workloads_count = 0;
    while (workloads[workloads_count])
        workloads_count++;
    if (l->workload >= workloads_count)
        return err_set(e, ERR_INVALID, "/workload", "no workload %u", l->workload);
    if (l->runners_count < 1 || l->runners_count > RING_RUNNERS_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, "/runners", "%u runners, 1 to %u allowed",
                       l->runners_count, RING_RUNNERS_MAX);
    if (l->rotations > RING_ROTATIONS_MAX || l->rotations % 2 != 0 || l->build_parts > 64 ||
        l->warm_parts > 64)
        return err_set(e, ERR_OUT_OF_RANGE, "/rotations", "%u rotations, %u and %u parts",
                       l->rotations, l->build_parts, l->warm_parts);
    if (l->cpus_count < 1 || l->cpus_count > RING_THREADS_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, "/cpus", "%u CPUs", l->cpus_count);
    if (l->thp > WIRE_THP_ALWAYS)
        return err_set(e, ERR_INVALID, "/thp", "no THP mode %u", l->thp);
    const struct workload *w = workloads[l->workload];
    for (uint32_t i = 0; i < l->runners_count; i++) {
        int r = wire_subject_check(&l->subjects[i], w, e);
        if (r < 0)
            return r;
        if (l->subjects[i].point.threads > l->cpus_count)
            return err_set(e, ERR_OUT_OF_RANGE, "/cpus", "%u threads on %u CPUs",
                           l->subjects[i].point.threads, l->cpus_count);
    }
    return 0;
}
