#include "daemon/supervisor/guardian.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/supervisor/procs.h"

_Static_assert(SUPERVISOR_LOCK_WAIT_MS > GUARDIAN_STOP_MS_MAX, "a successor outwaits a worker");

struct guardian {
    struct supervisor *s;
    int signal_fd;
    pid_t worker;      /* 0: none */
    int worker_status; /* of the last one */
    bool is_stopping;  /* asked to, or nobody is left to work for */
    uint64_t stop_since_ns;
    unsigned backoff_ms;
};

/* Whatever a dead worker, or an earlier supervisor, left on this host. */
static void clean_up(struct guardian *g)
{
    int left = procs_kill(&(struct procs_target){0});
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    int groups = cgroup_reap(&g->s->state);
    int settings = knobs_restore(&g->s->knobs);
    if (left != 0)
        log_error("processes of runners are left: %d", left);
    if (groups > 0 || settings > 0)
        log_info("cleared what was left: %d groups, %d host settings", groups,
                 settings > 0 ? settings : 0);
}

static int worker_start(struct guardian *g)
{
    g->s->generation++;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        close(g->signal_fd);
        _exit(worker_run(g->s) == 0 ? 0 : 1);
    }
    g->worker = pid;
    return 0;
}

static void reap(struct guardian *g)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == g->worker) {
            g->worker = 0;
            g->worker_status = status;
        }
}

/* Sleep until a child ends, a signal or the end of the stream comes, or the time is over. */
static void guardian_wait(struct guardian *g, int timeout_ms)
{
    struct pollfd p[2] = {
        {.fd = g->signal_fd, .events = POLLIN},
        /* Only its end concerns us; messages are the worker's. Once seen it is seen for ever. */
        {.fd = g->is_stopping ? -1 : g->s->socket, .events = POLLRDHUP},
    };
    if (poll(p, 2, timeout_ms) < 0)
        return;
    struct signalfd_siginfo info;
    while (read(g->signal_fd, &info, sizeof info) == sizeof info)
        g->is_stopping |= info.ssi_signo != SIGCHLD;
    g->is_stopping |= (p[1].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    reap(g);
}

/* Until the worker is gone: by itself, or because it is asked to when we stop. */
static void worker_watch(struct guardian *g)
{
    bool is_asked = false;
    while (g->worker > 0) {
        guardian_wait(g, is_asked ? 100 : -1);
        if (!g->is_stopping || g->worker == 0)
            continue;
        if (!is_asked) {
            is_asked = true;
            g->stop_since_ns = clock_monotonic_ns();
            (void)kill(g->worker, SIGTERM);
        } else if (clock_monotonic_ns() - g->stop_since_ns > GUARDIAN_STOP_MS_MAX * NS_PER_MS) {
            log_error("the worker does not stop: killed");
            (void)kill(g->worker, SIGKILL);
        }
    }
}

static void back_off(struct guardian *g, uint64_t lived_ns)
{
    if (lived_ns > GUARDIAN_HEALTHY_MS * NS_PER_MS)
        g->backoff_ms = GUARDIAN_BACKOFF_MS_MIN;
    log_error("the worker died (%s %d), another starts in %u ms",
              WIFSIGNALED(g->worker_status) ? "signal" : "status",
              WIFSIGNALED(g->worker_status) ? WTERMSIG(g->worker_status)
                                            : WEXITSTATUS(g->worker_status),
              g->backoff_ms);
    uint64_t until = clock_monotonic_ns() + g->backoff_ms * NS_PER_MS;
    for (uint64_t now; !g->is_stopping && (now = clock_monotonic_ns()) < until;)
        guardian_wait(g, (int)((until - now) / NS_PER_MS) + 1);
    g->backoff_ms *= 2;
    if (g->backoff_ms > GUARDIAN_BACKOFF_MS_MAX)
        g->backoff_ms = GUARDIAN_BACKOFF_MS_MAX;
}

static int guardian_open(struct guardian *g)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -errno;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
        return -errno;
    g->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return g->signal_fd < 0 ? -errno : 0;
}

int guardian_run(struct supervisor *s)
{
    struct guardian g = {.s = s, .signal_fd = -1, .backoff_ms = GUARDIAN_BACKOFF_MS_MIN};
    int r = guardian_open(&g);
    if (r == 0)
        clean_up(&g);
    while (r == 0 && !g.is_stopping) {
        uint64_t since = clock_monotonic_ns();
        r = worker_start(&g);
        if (r < 0)
            break;
        worker_watch(&g);
        clean_up(&g);
        bool is_clean = WIFEXITED(g.worker_status) && WEXITSTATUS(g.worker_status) == 0;
        if (!g.is_stopping && !is_clean)
            back_off(&g, clock_monotonic_ns() - since);
        else
            g.is_stopping = true; /* the worker saw the end of the stream before we did */
    }
    if (g.signal_fd >= 0)
        close(g.signal_fd);
    return r;
}
