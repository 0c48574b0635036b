#include "daemon/supervisor/launch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/supervisor/procs.h"

/* Take every child that is dead: runners with their status, orphans of theirs just so. */
static void reap(struct launch *l)
{
    for (;;) {
        int status;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, WNOHANG, &usage);
        if (pid <= 0)
            return;
        for (unsigned i = 0; i < l->q.runners_count; i++) {
            struct launch_runner *r = &l->runners[i];
            if (r->pid == pid && !r->is_reaped) {
                r->is_reaped = true;
                r->wait_status = status;
                r->usage = usage;
            }
        }
    }
}

/* Kill a runner and all it started: its whole group where there is one, and by descent where the
 * group could not do it or there is none. */
static void kill_all_of(struct launch *l, struct launch_runner *r)
{
    int x = cgroup_group_kill(&l->s->host, &r->group);
    if (x < 0) {
        if (x != -EOPNOTSUPP)
            log_warning("a runner's group is not empty: %s", strerror(-x));
        x = procs_kill(&(struct procs_target){.leader = r->pid, .uid = r->uid});
        if (x != 0)
            log_error("processes of a runner are left: %d", x);
    }
    (void)syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0);
    if (!r->is_reaped && wait4(r->pid, &r->wait_status, 0, &r->usage) == r->pid)
        r->is_reaped = true;
    reap(l);
}

static uint64_t timeval_us(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

/* By how it ended and what its page says; a verdict of ours comes before both. */
static enum wire_outcome outcome_of(const struct launch *l, unsigned i, uint32_t oom_kills)
{
    const struct launch_runner *r = &l->runners[i];
    uint32_t state = l->watch.state[i];
    if (r->has_verdict)
        return r->verdict;
    if (WIFSIGNALED(r->wait_status))
        return WTERMSIG(r->wait_status) == SIGKILL && oom_kills > 0 ? OUTCOME_OOM : OUTCOME_CRASHED;
    switch (WEXITSTATUS(r->wait_status)) {
    case RUNNER_EXIT_OK:
        return state == RUNNER_FINISHED && watch_finished(&l->watch, i) ? OUTCOME_OK
                                                                        : OUTCOME_PROTOCOL;
    case RUNNER_EXIT_FAILED:
        return state == RUNNER_FAILED ? OUTCOME_FAILED : OUTCOME_PROTOCOL;
    default:
        return OUTCOME_EXITED;
    }
}

/* The process is dead: take what is left of it, write down how it ended, let the ring go on. The
 * kill comes first, so that nobody of its kind writes the done word after us. */
static void runner_end(struct launch *l, unsigned i)
{
    struct launch_runner *r = &l->runners[i];
    kill_all_of(l, r);
    /* Its last words, now that there will be no others. */
    if (watch_look(&l->watch, l->ring.pages, clock_monotonic_ns()) & 1u << i && !r->has_verdict) {
        r->has_verdict = true;
        r->verdict = OUTCOME_PROTOCOL;
    }
    struct cgroup_figures figures;
    cgroup_group_figures(&l->s->host, &r->group, &figures);
    bool is_signalled = WIFSIGNALED(r->wait_status);
    r->done = (struct wire_runner_done){
        .outcome = outcome_of(l, i, figures.oom_kills),
        .exit_status = is_signalled ? -1 : WEXITSTATUS(r->wait_status),
        .signal = is_signalled ? WTERMSIG(r->wait_status) : 0,
        .turns_done = l->watch.done[i],
        .oom_kills = figures.oom_kills,
        .isolation = r->isolation,
        .cgroup_peak_bytes = figures.peak_bytes,
        .cpu_user_us = timeval_us(r->usage.ru_utime),
        .cpu_system_us = timeval_us(r->usage.ru_stime),
        .minor_faults = (uint64_t)r->usage.ru_minflt,
        .major_faults = (uint64_t)r->usage.ru_majflt,
        .device = r->identity.device,
        .inode = r->identity.inode,
    };
    memcpy(r->done.sha256, r->identity.sha256, sizeof r->done.sha256);
    (void)text_copy(r->done.library_path, sizeof r->done.library_path, r->library_path);
    if (l->watch.is_gone[i] || !watch_finished(&l->watch, i)) {
        l->watch.is_gone[i] = true;
        ringmem_drop(&l->ring, i);
    }
    r->is_ended = true;
    log_debug("runner %u of launch %llu: %s", i, (unsigned long long)l->id,
              wire_outcome_name((enum wire_outcome)r->done.outcome));
}

static void runner_stop(struct launch *l, unsigned i, enum wire_outcome why)
{
    struct launch_runner *r = &l->runners[i];
    if (r->is_ended || r->pid == 0)
        return;
    if (!r->is_reaped) {
        r->has_verdict = true;
        r->verdict = why;
    }
    runner_end(l, i);
}

void launch_stop(struct launch *l, enum wire_outcome why)
{
    for (unsigned i = 0; i < l->q.runners_count; i++)
        runner_stop(l, i, why);
    l->phase = LAUNCH_OVER;
}

/* A liar that has died meanwhile is judged as one, not by how it died. */
static void judge_words(struct launch *l, uint64_t now_ns)
{
    uint32_t liars = watch_look(&l->watch, l->ring.pages, now_ns);
    for (unsigned i = 0; i < l->q.runners_count; i++) {
        struct launch_runner *r = &l->runners[i];
        if (!(liars & 1u << i) || r->is_ended)
            continue;
        r->has_verdict = true;
        r->verdict = OUTCOME_PROTOCOL;
        runner_end(l, i);
    }
}

static void judge_dead(struct launch *l)
{
    for (unsigned i = 0; i < l->q.runners_count; i++)
        if (l->runners[i].is_reaped && !l->runners[i].is_ended)
            runner_end(l, i);
}

static bool all_ended(const struct launch *l)
{
    for (unsigned i = 0; i < l->q.runners_count; i++)
        if (!l->runners[i].is_ended)
            return false;
    return true;
}

static bool is_over(uint64_t now_ns, uint64_t since_ns, uint64_t ms_max)
{
    return now_ns >= since_ns && now_ns - since_ns >= ms_max * NS_PER_MS;
}

static bool all_mapped(const struct launch *l)
{
    for (unsigned i = 0; i < l->q.runners_count; i++)
        if (!l->runners[i].is_ended && l->watch.state[i] < RUNNER_MAPPED)
            return false;
    return true;
}

static int tick_mapping(struct launch *l, uint64_t now_ns)
{
    bool is_late = is_over(now_ns, l->spawned_ns, LAUNCH_MAP_MS_MAX);
    for (unsigned i = 0; is_late && i < l->q.runners_count; i++)
        if (l->watch.state[i] < RUNNER_MAPPED)
            runner_stop(l, i, OUTCOME_PROTOCOL);
    if (!all_mapped(l))
        return 0;
    for (unsigned i = 0; i < l->q.runners_count; i++) {
        int r = ringmem_seal_page(&l->ring, i);
        if (r < 0)
            log_warning("page %u cannot be sealed: %s", i, strerror(-r));
    }
    l->phase = LAUNCH_RUNNING;
    return 1;
}

/* After the last turn everyone has one more turn's time to write down its figures and leave. */
static void tick_turns(struct launch *l, uint64_t now_ns)
{
    if (!is_over(now_ns, l->watch.turn_since_ns, l->q.turn_ms_max))
        return;
    int holder = watch_holder(&l->watch);
    if (holder >= 0) {
        runner_stop(l, (unsigned)holder, OUTCOME_TURN_TIMEOUT);
        l->watch.turn_since_ns = now_ns;
        return;
    }
    for (unsigned i = 0; i < l->q.runners_count; i++)
        runner_stop(l, i, OUTCOME_TURN_TIMEOUT);
}

/* Who has said its last word must go: its CPU time would be in the others' slices. */
static void tick_leaving(struct launch *l, uint64_t now_ns)
{
    for (unsigned i = 0; i < l->q.runners_count; i++) {
        uint64_t since_ns = l->watch.leaving_since_ns[i];
        if (since_ns != 0 && is_over(now_ns, since_ns, LAUNCH_LEAVE_MS_MAX))
            runner_stop(l, i, OUTCOME_TURN_TIMEOUT);
    }
}

int launch_tick(struct launch *l, uint64_t now_ns)
{
    reap(l);
    judge_words(l, now_ns);
    judge_dead(l);
    if (is_over(now_ns, l->received_ns, l->q.wall_ms_max))
        for (unsigned i = 0; i < l->q.runners_count; i++)
            runner_stop(l, i, OUTCOME_WALL_TIMEOUT);
    tick_leaving(l, now_ns);
    if (l->phase == LAUNCH_MAPPING)
        return tick_mapping(l, now_ns);
    if (!all_ended(l))
        tick_turns(l, now_ns);
    if (!all_ended(l))
        return 0;
    l->phase = LAUNCH_OVER;
    return 2;
}

void launch_go(struct launch *l, uint64_t now_ns)
{
    l->watch.turn_since_ns = now_ns;
    ringmem_open_gate(&l->ring, 1);
}

int launch_timeout_ms(const struct launch *l, uint64_t now_ns)
{
    (void)now_ns;
    return l->phase == LAUNCH_MAPPING ? LAUNCH_MAP_TICK_MS : LAUNCH_TICK_MS;
}

unsigned launch_fds(const struct launch *l, int ret_fds[WIRE_FDS_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < l->q.runners_count; i++)
        ret_fds[count++] = l->ring.page_read_fds[i];
    for (unsigned i = 0; i < l->q.runners_count; i++)
        ret_fds[count++] = l->runners[i].log_read_fd;
    return count;
}

void launch_done(const struct launch *l, struct wire_done *ret_done)
{
    *ret_done = (struct wire_done){.runners_count = l->q.runners_count,
                                   .isolation = UINT32_MAX,
                                   .prefault_bytes = l->prefault_bytes};
    for (unsigned i = 0; i < l->q.runners_count; i++) {
        ret_done->runners[i] = l->runners[i].done;
        ret_done->isolation &= l->runners[i].isolation;
    }
}
