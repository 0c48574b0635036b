#include "daemon/supervisor/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/supervisor/launch.h"
#include "daemon/supervisor/spawn.h"

#define SEND_SECONDS_MAX 5

struct worker {
    struct supervisor *s;
    struct launch *launch; /* NULL: idle */
    bool is_stopping;
};

static int worker_send(struct worker *w, uint32_t type, uint64_t launch_id,
                       struct wire_message *message, const int *fds, unsigned fds_count)
{
    message->magic = WIRE_MAGIC;
    message->type = type;
    message->launch_id = launch_id;
    int r = wire_send(w->s->socket, message, fds, fds_count);
    if (r < 0)
        log_error("heapmarkd cannot be answered: %s", strerror(-r));
    return r;
}

static int send_hello(struct worker *w, uint64_t launch_id)
{
    const struct supervisor *s = w->s;
    struct wire_message m = {0};
    struct wire_hello *h = &m.hello;
    (void)text_copy(h->build_id, sizeof h->build_id, ring_build_id());
    h->generation = s->generation;
    h->isolation = s->isolation;
    h->can_set_thp = !s->options.deny_thp && knobs_can_set_thp(&s->knobs);
    h->can_reserve_hugetlb = !s->options.deny_hugetlb && knobs_can_reserve(&s->knobs);
    const struct cgroup_layout *layout = &s->host.layout;
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++) {
        int at = layout->where[i];
        h->cgroup_version[i] = at < 0 ? 0 : layout->hierarchies[at].version;
        (void)text_copy(h->reason[i], sizeof h->reason[i], layout->reason[i]);
    }
    return worker_send(w, WIRE_HELLO, launch_id, &m, NULL, 0);
}

static int send_refused(struct worker *w, uint64_t launch_id, const struct err *e)
{
    struct wire_message m = {0};
    m.refused.code = e->code;
    (void)text_copy(m.refused.field, sizeof m.refused.field, e->field);
    (void)text_copy(m.refused.message, sizeof m.refused.message, e->message);
    return worker_send(w, WIRE_REFUSED, launch_id, &m, NULL, 0);
}

static int handle_launch(struct worker *w, const struct wire_message *m, const int *fds,
                         unsigned fds_count)
{
    struct err e = {0};
    int r;
    if (w->launch)
        r = err_set(&e, ERR_CONFLICT, NULL, "a launch is under way");
    else if (fds_count > 1)
        r = err_set(&e, ERR_MALFORMED, NULL, "%u descriptors with a launch", fds_count);
    else
        r = launch_begin(w->s, m->launch_id, &m->launch, fds_count ? fds[0] : -1,
                         clock_monotonic_ns(), &w->launch, &e);
    return r < 0 ? send_refused(w, m->launch_id, &e) : 0;
}

static int send_done(struct worker *w)
{
    struct wire_message m = {0};
    launch_done(w->launch, &m.done);
    uint64_t id = w->launch->id;
    launch_end(w->launch); /* the host is itself again before the node may go on */
    w->launch = NULL;
    return worker_send(w, WIRE_DONE, id, &m, NULL, 0);
}

static int send_started(struct worker *w)
{
    struct wire_message m = {0};
    int fds[WIRE_FDS_MAX];
    unsigned count = launch_fds(w->launch, fds);
    return worker_send(w, WIRE_STARTED, w->launch->id, &m, fds, count);
}

static int handle_cancel(struct worker *w, uint64_t launch_id)
{
    struct launch *l = w->launch;
    if (!l || l->id != launch_id)
        return 0; /* over already: its DONE is on the way */
    bool was_mapping = l->phase == LAUNCH_MAPPING;
    launch_stop(l, OUTCOME_CANCELLED);
    int r = was_mapping ? send_started(w) : 0; /* DONE always follows STARTED */
    return r < 0 ? r : send_done(w);
}

static int handle_message(struct worker *w)
{
    struct wire_message m;
    int fds[WIRE_FDS_MAX];
    unsigned fds_count;
    int r = wire_recv(w->s->socket, &m, fds, &fds_count);
    if (r == 0) {
        w->is_stopping = true;
        return 0;
    }
    if (r == -EPROTO) {
        struct err e;
        (void)err_set(&e, ERR_MALFORMED, NULL, "not a message of this protocol");
        return send_refused(w, 0, &e);
    }
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    if (m.type == WIRE_LAUNCH) {
        r = handle_launch(w, &m, fds, fds_count);
    } else if (m.type == WIRE_CANCEL) {
        r = handle_cancel(w, m.launch_id);
    } else if (m.type == WIRE_PING) {
        r = send_hello(w, m.launch_id);
    } else {
        struct err e;
        (void)err_set(&e, ERR_MALFORMED, NULL, "message type %u is not for the supervisor", m.type);
        r = send_refused(w, m.launch_id, &e);
    }
    while (fds_count > 0)
        close(fds[--fds_count]);
    return r;
}

static int handle_launch_time(struct worker *w)
{
    int what = launch_tick(w->launch, clock_monotonic_ns());
    if (what == 2)
        return send_done(w);
    if (what == 0)
        return 0;
    int r = send_started(w);
    if (r == 0)
        launch_go(w->launch, clock_monotonic_ns());
    return r;
}

static int worker_wait(struct worker *w)
{
    enum { AT_SOCKET, AT_SIGNAL, AT_RUNNERS };
    struct pollfd p[AT_RUNNERS + RING_RUNNERS_MAX] = {
        [AT_SOCKET] = {.fd = w->s->socket, .events = POLLIN},
        [AT_SIGNAL] = {.fd = w->s->signal_fd, .events = POLLIN},
    };
    nfds_t count = AT_RUNNERS;
    int timeout = -1;
    if (w->launch) {
        for (unsigned i = 0; i < w->launch->q.runners_count; i++)
            if (!w->launch->runners[i].is_ended)
                p[count++] = (struct pollfd){.fd = w->launch->runners[i].pidfd, .events = POLLIN};
        timeout = launch_timeout_ms(w->launch, clock_monotonic_ns());
    }
    if (poll(p, count, timeout) < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[AT_SIGNAL].revents)
        w->is_stopping = true;
    int r = 0;
    if (p[AT_SOCKET].revents && !w->is_stopping)
        r = handle_message(w);
    if (r == 0 && w->launch && !w->is_stopping)
        r = handle_launch_time(w);
    return r;
}

static int worker_open(struct worker *w)
{
    struct supervisor *s = w->s;
    pid_t guardian = getppid();
    /* TERM, not KILL: we clean up. A guardian that died before this line is seen by getppid. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -errno;
    if (getppid() != guardian || guardian == 1)
        return -ESRCH;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_SETMASK, &set, NULL) < 0 ||
        (s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return -errno;
    struct timeval limit = {.tv_sec = SEND_SECONDS_MAX};
    if (setsockopt(s->socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
        return -errno;
    int r = state_lock_worker(&s->state);
    if (r < 0)
        return r;
    struct err e;
    r = cgroup_host_open(&s->host, &s->state, s->options.daemon_pid, &e);
    if (r < 0) {
        log_error("%s", e.message);
        return r;
    }
    uid_t uid = s->options.uids_count ? s->options.uid_first : 0;
    s->isolation = s->host.isolation | spawn_probe(uid, &s->host);
    return send_hello(w, 0);
}

int worker_run(struct supervisor *s)
{
    struct worker w = {.s = s};
    s->signal_fd = -1;
    int r = worker_open(&w);
    while (r == 0 && !w.is_stopping)
        r = worker_wait(&w);
    if (w.launch)
        launch_end(w.launch);
    cgroup_host_close(&s->host);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}
