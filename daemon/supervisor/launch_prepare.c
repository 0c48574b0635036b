/* Acquiring and giving back what a launch needs (launch.h). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/supervisor/launch.h"
#include "daemon/supervisor/prefault.h"
#include "daemon/supervisor/procs.h"
#include "daemon/supervisor/spawn.h"

#define PIPE_BYTES_MIN 16384

static int subject_open(struct launch *l, unsigned i, struct err *e)
{
    struct launch_runner *r = &l->runners[i];
    const struct wire_subject *subject = &l->q.subjects[i];
    r->entry = catalog_find(l->s->catalog, subject->allocator);
    if (!r->entry)
        return err_set(e, ERR_UNKNOWN_NAME, "/subjects/allocator", "no allocator \"%s\"",
                       subject->allocator);
    const char *options[RING_OPTIONS_MAX];
    uint32_t options_count = 0;
    while (options_count < RING_OPTIONS_MAX && subject->options[options_count][0]) {
        options[options_count] = subject->options[options_count];
        options_count++;
    }
    int r2 = catalog_environment(r->entry, options, options_count, &r->environment, e);
    if (r2 == 0)
        r2 = catalog_open(l->s->catalog, r->entry, &r->library_fd, r->library_path, e);
    if (r2 == 0)
        r2 = catalog_identify(l->s->catalog, r->entry, r->library_fd, &r->identity, e);
    /* The runner has the C library already; the file was opened for its identity only. */
    if (r2 == 0 && r->entry->is_libc)
        close(take_fd(&r->library_fd));
    return r2;
}

/* The write end never blocks: a runner whose log nobody reads loses lines, not time. The pipe
 * holds twice what the log may hold, because a line that does not fit whole is not written at all;
 * the node reads no more than its bound and counts the rest. */
static int log_pipe_make(struct launch *l, unsigned i, struct err *e)
{
    struct launch_runner *r = &l->runners[i];
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot make a log pipe");
    r->log_read_fd = ends[0];
    r->log_write_fd = ends[1];
    int size = 2 * (int)l->q.log_bytes_max;
    (void)fcntl(ends[1], F_SETPIPE_SZ, size < PIPE_BYTES_MIN ? PIPE_BYTES_MIN : size);
    if (fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot make a log pipe");
    return 0;
}

static int group_make(struct launch *l, unsigned i, struct err *e)
{
    struct cgroup_limits limits = {
        .memory_bytes = l->q.memory_limit_bytes,
        .memory_require = l->q.memory_require != 0,
        .pids_max = l->q.pids_max + l->q.subjects[i].point.threads,
        .cpus = l->q.cpus,
        .cpus_count = l->q.cpus_count,
        .mems_mask = l->q.mems_mask,
        .hugetlb_2m_bytes = l->q.hugetlb_2m_pages << 21,
        .hugetlb_1g_bytes = l->q.hugetlb_1g_pages << 30,
    };
    char name[CGROUP_NAME_MAX];
    snprintf(name, sizeof name, "launch-%llu-%u", (unsigned long long)l->s->launches_count, i);
    return cgroup_group_make(&l->s->host, name, &limits, &l->runners[i].group, e);
}

static int host_prepare(struct launch *l, struct err *e)
{
    const struct wire_launch *q = &l->q;
    struct knobs *knobs = &l->s->knobs;
    const struct supervisor_options *o = &l->s->options;
    if (q->thp != WIRE_THP_LEAVE && o->deny_thp)
        return err_set(e, ERR_FORBIDDEN, "/thp",
                       "the configuration forbids to set transparent huge pages");
    if ((q->hugetlb_2m_pages || q->hugetlb_1g_pages) && o->deny_hugetlb)
        return err_set(e, ERR_FORBIDDEN, "/pages",
                       "the configuration forbids to reserve huge pages");
    int r = knobs_reserve(knobs, HUGEPAGE_2M, q->hugetlb_2m_pages, q->mems_mask, e);
    if (r == 0)
        r = knobs_reserve(knobs, HUGEPAGE_1G, q->hugetlb_1g_pages, q->mems_mask, e);
    if (r == 0)
        r = knobs_set_thp(knobs, (enum wire_thp)q->thp, e);
    return r;
}

static int runner_spawn(struct launch *l, unsigned i, struct err *e)
{
    struct launch_runner *r = &l->runners[i];
    const struct wire_launch *q = &l->q;
    struct spawn_request request = {
        .runner_fd = l->s->runner_fd,
        .index = i,
        .environment = &r->environment,
        .pad_seed = q->seed + i,
        .uid = r->uid,
        .host = &l->s->host,
        .group = &r->group,
        .pids_max = q->pids_max,
        .threads = q->subjects[i].point.threads,
        .wall_ms_max = q->wall_ms_max,
        .cpus = q->cpus,
        .cpus_count = q->cpus_count,
    };
    for (unsigned k = 0; k < RING_FD_COUNT_; k++)
        request.fds[k] = -1;
    request.fds[STDERR_FILENO] = r->log_write_fd;
    request.fds[RING_FD_PLAN] = l->ring.plan_fd;
    request.fds[RING_FD_GATE] = l->ring.gate_fd;
    request.fds[RING_FD_PAGE] = l->ring.page_fds[i];
    request.fds[RING_FD_TAPE] = l->tape_fd;
    request.fds[RING_FD_LIBRARY] = r->library_fd;
    for (unsigned k = 0; k < q->runners_count; k++)
        request.fds[RING_FD_OTHERS + k] = l->ring.page_read_fds[k];
    struct spawn_result result;
    int x = spawn_runner(&request, &result, e);
    if (x < 0)
        return x;
    r->pid = result.pid;
    r->pidfd = result.pidfd;
    r->isolation = result.isolation | r->group.isolation;
    close(take_fd(&r->log_write_fd));
    return 0;
}

/* Start order is shuffled: who comes first must not always be the same subject. */
static int spawn_all(struct launch *l, struct err *e)
{
    unsigned order[RING_RUNNERS_MAX];
    unsigned count = l->q.runners_count;
    uint64_t state = hash_mix(l->q.seed, 0x7370776e);
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count; i-- > 1;) {
        state = hash_mix(state, i);
        unsigned j = (unsigned)(state % (i + 1));
        unsigned swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (unsigned i = 0; i < count; i++) {
        int r = runner_spawn(l, order[i], e);
        if (r < 0)
            return r;
    }
    return 0;
}

static struct launch *launch_new(struct supervisor *s, uint64_t id, const struct wire_launch *q,
                                 uint64_t now_ns)
{
    struct launch *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->s = s;
    l->id = id;
    l->q = *q;
    l->tape_fd = -1;
    l->received_ns = now_ns;
    ringmem_init(&l->ring);
    for (unsigned i = 0; i < RING_RUNNERS_MAX; i++) {
        struct launch_runner *r = &l->runners[i];
        r->library_fd = r->log_read_fd = r->log_write_fd = r->pidfd = -1;
        if (s->options.uids_count > 0)
            r->uid = s->options.uid_first +
                     (uid_t)((s->launches_count * RING_RUNNERS_MAX + i) % s->options.uids_count);
    }
    s->launches_count++;
    return l;
}

/* It may take seconds, and what the node or a signal says meanwhile ends the launch: it is read
 * after this returns, when there is no launch any more. */
static int memory_prepare(struct launch *l, struct err *e)
{
    const struct prefault_watch watch = {.socket = l->s->socket, .signal_fd = l->s->signal_fd};
    int r = prefault(&l->q, &l->s->host.layout, &watch, &l->prefault_bytes);
    return r < 0 ? err_set(e, ERR_CANCELLED, NULL, "cancelled before its runners were started") : 0;
}

static int launch_acquire(struct launch *l, int tape_fd, struct err *e)
{
    unsigned count = l->q.runners_count;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < count; i++)
        r = subject_open(l, i, e);
    if (r == 0 && tape_fd >= 0)
        r = ringmem_tape_open(tape_fd, l->q.tape_bytes, &l->tape_fd, e);
    if (r == 0)
        r = launch_plan(l, &l->plan, e);
    if (r == 0)
        r = ringmem_make(l->plan, &l->ring, e);
    if (r == 0)
        r = host_prepare(l, e);
    if (r == 0)
        r = memory_prepare(l, e);
    for (unsigned i = 0; r == 0 && i < count; i++)
        r = group_make(l, i, e);
    for (unsigned i = 0; r == 0 && i < count; i++)
        r = log_pipe_make(l, i, e);
    return r == 0 ? spawn_all(l, e) : r;
}

int launch_begin(struct supervisor *s, uint64_t id, const struct wire_launch *q, int tape_fd,
                 uint64_t now_ns, struct launch **ret_launch, struct err *e)
{
    int r = launch_check(q, tape_fd >= 0, e);
    if (r < 0)
        return r;
    struct launch *l = launch_new(s, id, q, now_ns);
    if (!l)
        return err_set_errno(e, ERR_IO, ENOMEM, "cannot launch");
    own_cpu_take(&s->own_cpu, q->own_cpu);
    uint64_t before_ns = clock_monotonic_ns();
    r = launch_acquire(l, tape_fd, e);
    if (r < 0) {
        launch_end(l);
        return r;
    }
    if (q->prefault_bytes) { /* its time is not the runners' */
        now_ns += clock_monotonic_ns() - before_ns;
        l->received_ns = now_ns;
    }
    l->spawned_ns = now_ns;
    watch_init(&l->watch, l->plan->turns, l->plan->turns_count, q->runners_count, now_ns);
    *ret_launch = l;
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(take_fd(fd));
}

/* Without groups, what left its session and lost its parent belongs to no runner any more; but
 * everything below us belongs to this launch. */
static void kill_strays(const struct launch *l)
{
    if (l->s->host.isolation & ISOLATION_CGROUP_KILL)
        return;
    int left = procs_kill(&(struct procs_target){0});
    if (left != 0)
        log_error("processes of launch %llu are left: %d", (unsigned long long)l->id, left);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

void launch_end(struct launch *l)
{
    if (l->phase != LAUNCH_OVER)
        launch_stop(l, OUTCOME_CANCELLED);
    kill_strays(l);
    for (unsigned i = 0; i < RING_RUNNERS_MAX; i++) {
        struct launch_runner *r = &l->runners[i];
        close_fd(&r->library_fd);
        close_fd(&r->log_read_fd);
        close_fd(&r->log_write_fd);
        close_fd(&r->pidfd);
        int x = cgroup_group_remove(&l->s->host, &r->group);
        if (x < 0)
            log_warning("a group of launch %llu is left for later: %s", (unsigned long long)l->id,
                        strerror(-x));
    }
    (void)knobs_restore(&l->s->knobs);
    ringmem_done(&l->ring);
    close_fd(&l->tape_fd);
    free(l->plan);
    free(l);
}
