/* One launch: place, make the tape, ask the supervisor, follow it, collect. */
#include "daemon/node/node.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/node/collect.h"
#include "daemon/node/quiet.h"
#include "daemon/node/self.h"
#include "daemon/stats/stats.h"
#include "daemon/supervisor/prefault.h"
#include "workloads/tape/tape.h"

#define BUILD_PARTS     4
#define WARM_PARTS      4
#define POLL_MS         250
#define DONE_GRACE_MS   30000 /* after the wall limit and a prefault: the supervisor itself hangs */
#define RESYNC_MS       10000
#define RUNNER_PIDS_MAX 64 /* beside the workload's threads */
#define MIGRATIONS_MAX  0

struct node_tape {
    const struct workload *workload;
    struct workload_point point;
    uint64_t seed, bytes;
    int fd;
};

struct node {
    struct node_config config;
    struct supervisor_client *client;
    struct node_tape tape; /* the last one: rings of one repetition share it */
    uint64_t launch_id;
    uid_t started_as;
};

/* Everything of one launch. */
struct launch {
    const struct exec_request *request;
    struct exec_result *result;
    const _Atomic bool *cancel;
    struct wire_message *message;
    struct wire_done done;
    bool cancelled, started;
    bool crowded; /* as told last */
    int pages[RING_RUNNERS_MAX], logs[RING_RUNNERS_MAX];
    size_t log_used[RING_RUNNERS_MAX];
    uint64_t started_ns, finished_ns;
    struct topo_plan plan;
    struct quiet quiet_before, quiet_after;
};

int node_start(const struct node_config *config, struct node **ret, struct err *e)
{
    struct node *n = calloc(1, sizeof *n);
    if (!n)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    n->config = *config;
    n->tape.fd = -1;
    n->started_as = geteuid();
    int r = supervisor_client_start(&n->config.supervisor, &n->client, e);
    if (r < 0) {
        free(n);
        return r;
    }
    *ret = n;
    return 0;
}

void node_stop(struct node *n)
{
    if (!n)
        return;
    supervisor_client_stop(n->client);
    close_p(&n->tape.fd);
    free(n);
}

void node_hello(struct node *n, struct wire_hello *ret)
{
    supervisor_client_hello(n->client, ret);
}

static uint32_t request_threads(const struct exec_request *request)
{
    uint32_t threads = 0;
    for (uint32_t i = 0; i < request->subjects_count; i++)
        if (request->subjects[i].point.threads > threads)
            threads = request->subjects[i].point.threads;
    return threads;
}

/* Parameters by their bits: equal bits make equal tapes, whatever the type. */
static bool point_same(const struct workload_point *a, const struct workload_point *b)
{
    bool same = a->threads == b->threads && a->pages == b->pages;
    for (unsigned i = 0; i < PARAMS_MAX; i++)
        same = same && a->params[i].u == b->params[i].u;
    return same;
}

static int node_tape_make(struct node *n, const struct exec_request *request, struct err *e)
{
    const struct workload *w = request->workload;
    struct workload_point point = request->subjects[0].point;
    point.threads = request_threads(request);
    point.pages = PAGES_4K;
    struct node_tape *t = &n->tape;
    if (t->fd >= 0 && t->workload == w && t->seed == request->tape_seed &&
        point_same(&t->point, &point))
        return 0;
    close_p(&t->fd);
    *t = (struct node_tape){.workload = w, .point = point, .seed = request->tape_seed, .fd = -1};
    if (w->tape == TAPE_NONE)
        return 0;
    struct tape_spec spec;
    int r = tape_spec_for(w, &point, request->tape_seed, &spec, e);
    return r < 0 ? r : tape_generate(&spec, &t->fd, &t->bytes, e);
}

static enum wire_thp request_thp(const struct exec_request *request)
{
    for (uint32_t i = 0; i < request->subjects_count; i++)
        if (request->subjects[i].point.pages == PAGES_THP &&
            request->workload->axis == AXIS_ALLOCATOR)
            return WIRE_THP_ALWAYS;
    return WIRE_THP_LEAVE;
}

static void request_hugetlb(const struct exec_request *request, struct wire_launch *l)
{
    const struct workload *w = request->workload;
    for (uint32_t i = 0; i < request->subjects_count && w->hugetlb_pages; i++) {
        const struct workload_point *p = &request->subjects[i].point;
        if (p->pages == PAGES_HUGETLB_2M)
            l->hugetlb_2m_pages += w->hugetlb_pages(p);
        else if (p->pages == PAGES_HUGETLB_1G)
            l->hugetlb_1g_pages += w->hugetlb_pages(p);
    }
}

static void launch_fill(const struct node *n, const struct launch *x, struct wire_launch *l)
{
    const struct exec_request *q = x->request;
    const struct workload *w = q->workload;
    memset(l, 0, sizeof *l);
    l->workload = (uint32_t)workload_index(w->name);
    l->runners_count = q->subjects_count;
    l->rotations = q->rotations;
    l->build_parts = q->rotations ? BUILD_PARTS : 0;
    l->warm_parts = q->rotations ? WARM_PARTS : 0;
    l->sched_batch = 1;
    l->slice_ops = q->slice_ops;
    l->replay_ops = q->replay_ops;
    l->warm_ops = q->warm_ops;
    l->seed = q->seed;
    l->tape_bytes = n->tape.fd >= 0 ? n->tape.bytes : 0;
    l->memory_limit_bytes = q->memory_limit_bytes;
    l->memory_require = q->memory_require;
    l->thp = request_thp(q);
    l->turn_ms_max = q->turn_ms_max;
    l->wall_ms_max = q->wall_ms_max;
    l->pids_max = RUNNER_PIDS_MAX + request_threads(q);
    l->log_bytes_max = EXEC_LOG_MAX;
    request_hugetlb(q, l);
    memcpy(l->cpus, x->plan.cpus, sizeof l->cpus);
    l->cpus_count = x->plan.count;
    l->mems_mask = x->plan.mems_mask;
    l->own_cpu = x->plan.housekeeping ? (uint32_t)x->plan.housekeeping_cpu + 1 : 0;
    l->prefault_bytes = q->prefault_bytes;
    for (uint32_t i = 0; i < q->subjects_count; i++) {
        memcpy(l->subjects[i].allocator, q->subjects[i].allocator, sizeof l->subjects[i].allocator);
        memcpy(l->subjects[i].options, q->subjects[i].options, sizeof l->subjects[i].options);
        l->subjects[i].point = q->subjects[i].point;
    }
}

static int launch_send(struct node *n, struct launch *x, struct err *e)
{
    memset(x->message, 0, sizeof *x->message);
    x->message->magic = WIRE_MAGIC;
    x->message->type = WIRE_LAUNCH;
    x->message->launch_id = ++n->launch_id;
    launch_fill(n, x, &x->message->launch);
    int r = supervisor_client_send(n->client, x->message, &n->tape.fd, n->tape.fd >= 0);
    return r < 0 ? err_set_errno(e, ERR_IO, -r, "heapmark-supervisor is gone") : 0;
}

static void launch_take_fds(struct launch *x, const int *fds, unsigned fds_count)
{
    uint32_t n = x->request->subjects_count;
    for (unsigned i = 0; i < fds_count; i++) {
        if (i < n)
            x->pages[i] = fds[i];
        else if (i < 2 * n)
            x->logs[i - n] = fds[i];
        else
            close(fds[i]);
    }
}

static void log_drain(struct launch *x, uint32_t i)
{
    char chunk[1024];
    ssize_t n = read(x->logs[i], chunk, sizeof chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_p(&x->logs[i]);
        x->logs[i] = -1;
        return;
    }
    char *log = x->result->runners[i].log;
    if (x->log_used[i] + 8 >= EXEC_LOG_MAX)
        return;
    collect_text(chunk, (size_t)n, log + x->log_used[i], EXEC_LOG_MAX - x->log_used[i]);
    x->log_used[i] += strlen(log + x->log_used[i]);
}

static int node_say(struct node *n, struct launch *x, enum wire_type type, uint64_t id)
{
    memset(x->message, 0, sizeof *x->message);
    x->message->magic = WIRE_MAGIC;
    x->message->type = type;
    x->message->launch_id = id;
    return supervisor_client_send(n->client, x->message, NULL, 0);
}

/* A worker died and its successor said hello, or it is late beyond all bounds. The request may have
 * died with it, may still lie in the socket for the successor to find, or may yet be under way, so
 * end it there and wait until all before the ping has been dealt with: messages are handled in
 * order. */
static void node_resync(struct node *n, struct launch *x)
{
    uint64_t ping = ++n->launch_id;
    bool said = node_say(n, x, WIRE_CANCEL, ping - 1) == 0 && node_say(n, x, WIRE_PING, ping) == 0;
    while (said) {
        struct pollfd p = {.fd = supervisor_client_fd(n->client), .events = POLLIN};
        int fds[WIRE_FDS_MAX];
        unsigned fds_count = 0;
        if (poll(&p, 1, RESYNC_MS) != 1 ||
            supervisor_client_recv(n->client, x->message, fds, &fds_count) <= 0)
            return; /* gone for good: the next launch finds out */
        while (fds_count > 0)
            close(fds[--fds_count]);
        if (x->message->type != WIRE_HELLO)
            continue;
        if (x->message->launch_id == ping)
            return;
        said = node_say(n, x, WIRE_PING, ping) == 0; /* it died again, perhaps with our ping */
    }
}

/* 1: the launch is over, 0: go on, negative: it is lost. */
static int launch_message(struct node *n, struct launch *x, struct err *e)
{
    int fds[WIRE_FDS_MAX];
    unsigned fds_count = 0;
    int r = supervisor_client_recv(n->client, x->message, fds, &fds_count);
    if (r <= 0)
        return err_set(e, ERR_IO, NULL, "heapmark-supervisor ended while a ring was running");
    if (x->message->type == WIRE_HELLO) {
        node_resync(n, x);
        return err_set(e, ERR_IO, NULL,
                       "heapmark-supervisor was restarted while a ring was running");
    }
    bool ours = x->message->launch_id == n->launch_id;
    if (ours && x->message->type == WIRE_STARTED) {
        launch_take_fds(x, fds, fds_count);
        x->started = true;
        /* Again: touching memory and starting runners is no noise of the ring's. */
        quiet_read(x->plan.cpus, x->plan.count, &x->quiet_before);
        return 0;
    }
    while (fds_count > 0)
        close(fds[--fds_count]);
    if (ours && x->message->type == WIRE_DONE) {
        x->done = x->message->done;
        return 1;
    }
    if (ours && x->message->type == WIRE_REFUSED) {
        struct wire_refused *why = &x->message->refused;
        why->field[sizeof why->field - 1] = why->message[sizeof why->message - 1] = '\0';
        enum err_code code = why->code < ERR_CODE_COUNT_ ? why->code : ERR_IO;
        /* A conflict is an earlier launch's fault, not this one's. */
        if (code == ERR_NONE || code == ERR_CONFLICT)
            code = ERR_IO;
        return err_set(e, code, why->field, "%s", why->message);
    }
    return 0;
}

static void launch_cancel(struct node *n, struct launch *x)
{
    (void)node_say(n, x, WIRE_CANCEL, n->launch_id);
    x->cancelled = true;
}

static int launch_follow(struct node *n, struct launch *x, struct err *e)
{
    uint64_t grace_ms = n->config.grace_ms ? n->config.grace_ms : PREFAULT_MS_MAX + DONE_GRACE_MS;
    uint64_t deadline = clock_monotonic_ns() + (x->request->wall_ms_max + grace_ms) * NS_PER_MS;
    for (;;) {
        struct pollfd p[1 + RING_RUNNERS_MAX] = {
            {.fd = supervisor_client_fd(n->client), .events = POLLIN}};
        for (uint32_t i = 0; i < RING_RUNNERS_MAX; i++)
            p[1 + i] = (struct pollfd){.fd = x->logs[i], .events = POLLIN};
        if (poll(p, 1 + RING_RUNNERS_MAX, POLL_MS) < 0 && errno != EINTR)
            return err_set_errno(e, ERR_IO, errno, "poll");
        for (uint32_t i = 0; i < RING_RUNNERS_MAX; i++)
            if (x->logs[i] >= 0 && p[1 + i].revents)
                log_drain(x, i);
        int r = p[0].revents ? launch_message(n, x, e) : 0;
        if (r != 0)
            return r < 0 ? r : 0;
        if (!x->cancelled && atomic_load_explicit(x->cancel, memory_order_relaxed))
            launch_cancel(n, x);
        if (clock_monotonic_ns() > deadline) {
            node_resync(n, x); /* or the next launch would find this one under way */
            return err_set(e, ERR_IO, NULL, "heapmark-supervisor does not answer");
        }
    }
}

/* The schedule is a pure function of what was sent, so it need not travel back. */
static int launch_turns(struct launch *x, struct err *e)
{
    const struct exec_request *q = x->request;
    uint32_t capacity = RING_RUNNERS_MAX * (q->rotations + BUILD_PARTS + WARM_PARTS + 2);
    struct ring_turn *turns = calloc(capacity, sizeof *turns);
    if (!turns)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    x->result->turns = turns;
    int count = ring_schedule(q->subjects_count, q->rotations, q->rotations ? BUILD_PARTS : 0,
                              q->rotations ? WARM_PARTS : 0, q->seed, turns, capacity);
    if (count < 0)
        return err_set_errno(e, ERR_INTERNAL, -count, "schedule of %u rotations", q->rotations);
    x->result->turns_count = (uint32_t)count;
    return 0;
}

static uint32_t turns_of(const struct exec_result *result, uint32_t runner)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < result->turns_count; i++)
        count += result->turns[i].runner == runner;
    return count;
}

/* The done word counts turns of the whole ring; people want this runner's own. */
static uint32_t own_turns_done(const struct exec_result *result, uint32_t runner, uint32_t word)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < result->turns_count && i < word; i++)
        count += result->turns[i].runner == runner;
    return count;
}

static void launch_collect(struct launch *x)
{
    struct exec_result *result = x->result;
    struct collected c[RING_RUNNERS_MAX] = {0};
    for (uint32_t i = 0; i < result->runners_count; i++)
        if (x->pages[i] >= 0 && collect_copy(x->pages[i], x->request->rotations, &c[i]) < 0)
            snprintf(result->runners[i].message, sizeof result->runners[i].message,
                     "its page could not be read");
    unsigned forgers = collect_forgers(result->turns, result->turns_count, c, result->runners_count,
                                       x->started_ns, x->finished_ns);
    if (forgers & (forgers - 1)) { /* more than one: somebody lies, and it cannot be told who */
        result->discard = true;
        snprintf(result->discard_reason, sizeof result->discard_reason,
                 "the stamps of runners contradict each other");
        forgers = 0;
    }
    for (uint32_t i = 0; i < result->runners_count; i++) {
        struct wire_runner_done *done = &x->done.runners[i];
        done->turns_done = own_turns_done(result, i, done->turns_done);
        collect_result(x->request, &c[i], done, turns_of(result, i), x->done.isolation,
                       forgers & (1u << i), &result->runners[i]);
        free(c[i].page);
    }
    collect_derive(x->request, result, &x->done);
}

/* Whole rings only, blind to their values: stolen time, or a thread that left its CPU. */
static void launch_quiet(const struct node *n, struct launch *x)
{
    struct exec_result *r = x->result;
    r->steal_ratio = quiet_steal_ratio(&x->quiet_before, &x->quiet_after, x->plan.count);
    r->psi_cpu_ratio = quiet_psi_ratio(&x->quiet_before, &x->quiet_after);
    for (uint32_t i = 0; i < r->runners_count; i++) /* who failed is not believed in this either */
        for (uint32_t k = 0; r->runners[i].outcome == OUTCOME_OK && k < r->runners[i].slices_count;
             k++)
            r->migrations += r->runners[i].slices[k].migrations;
    if (r->discard)
        return;
    if (n->config.steal_ratio_max > 0 && r->steal_ratio > n->config.steal_ratio_max) {
        r->discard = true;
        snprintf(r->discard_reason, sizeof r->discard_reason,
                 "%.1f%% of the time was stolen by the hypervisor, %.1f%% allowed",
                 100 * r->steal_ratio, 100 * n->config.steal_ratio_max);
    } else if (r->migrations > MIGRATIONS_MAX) {
        r->discard = true;
        snprintf(r->discard_reason, sizeof r->discard_reason,
                 "%llu CPU migrations within measured slices", (unsigned long long)r->migrations);
    }
}

static void node_crowded(const struct node *n, struct launch *x, bool crowded)
{
    if (!n->config.crowded || x->crowded == crowded)
        return;
    x->crowded = crowded;
    n->config.crowded(n->config.crowded_ctx, crowded);
}

static int node_place(struct node *n, struct launch *x, struct err *e)
{
    const struct topo_request request = {
        .placement = x->request->placement,
        .threads = request_threads(x->request),
        .cpuset = x->request->placement == PLACE_EXPLICIT ? x->request->cpuset : NULL,
    };
    int r = topo_place(n->config.topo, &request, &x->plan, e);
    if (r < 0)
        return r;
    memcpy(x->result->cpus, x->plan.cpus, sizeof x->result->cpus);
    x->result->cpus_count = x->plan.count;
    x->result->housekeeping = x->plan.housekeeping;
    if (n->config.pin_self)
        self_pin(x->plan.housekeeping ? x->plan.housekeeping_cpu : -1,
                 topo_allowed(n->config.topo));
    return 0;
}

/* A dropped supervisor can be started again only by somebody with the privileges it had. */
static int node_revive(struct node *n, struct err *e)
{
    struct supervisor_client *fresh;
    if (geteuid() != n->started_as)
        return err_set(e, ERR_IO, NULL,
                       "heapmark-supervisor is gone and this process no longer has the privileges "
                       "to start it: restart heapmarkd");
    struct err why = {0};
    if (supervisor_client_start(&n->config.supervisor, &fresh, &why) < 0)
        return err_set(e, ERR_IO, NULL, "heapmark-supervisor is gone; starting it again: %.400s",
                       why.message);
    supervisor_client_stop(n->client);
    n->client = fresh;
    log_warning("heapmark-supervisor was gone and has been started again");
    return 0;
}

/* Hellos of a restarted worker may be waiting; a closed socket shows here, before anything is
 * sent. */
static int node_ready(struct node *n, struct launch *x, struct err *e)
{
    for (;;) {
        struct pollfd p = {.fd = supervisor_client_fd(n->client), .events = POLLIN};
        int fds[WIRE_FDS_MAX];
        unsigned fds_count = 0;
        if (poll(&p, 1, 0) <= 0)
            return 0;
        if (supervisor_client_recv(n->client, x->message, fds, &fds_count) <= 0)
            return node_revive(n, e);
        while (fds_count > 0)
            close(fds[--fds_count]);
    }
}

/* A SIGKILL that neither the supervisor nor the memory limit sent came from outside (the host's
 * OOM killer, a person): it says nothing about the allocator, so the ring is lost, not failed. */
static int launch_killed(const struct launch *x, struct err *e)
{
    for (uint32_t i = 0; i < x->result->runners_count; i++) {
        const struct wire_runner_done *done = &x->done.runners[i];
        if (done->outcome == OUTCOME_CRASHED && done->signal == SIGKILL && done->oom_kills == 0)
            return err_set(e, ERR_IO, NULL, "runner %u (%s) was killed from outside", i,
                           x->request->subjects[i].allocator);
    }
    return 0;
}

static int launch_run(struct node *n, struct launch *x, struct err *e)
{
    int r = node_ready(n, x, e);
    if (r == 0)
        r = node_place(n, x, e);
    if (r == 0)
        r = node_tape_make(n, x->request, e);
    if (r == 0)
        r = launch_turns(x, e);
    if (r < 0)
        return r;
    node_crowded(n, x, !x->plan.housekeeping);
    quiet_read(x->plan.cpus, x->plan.count, &x->quiet_before);
    x->result->started_us = (uint64_t)clock_realtime_us();
    x->started_ns = clock_monotonic_ns();
    r = launch_send(n, x, e);
    if (r == 0)
        r = launch_follow(n, x, e);
    if (r < 0)
        return r;
    x->finished_ns = clock_monotonic_ns();
    x->result->finished_us = (uint64_t)clock_realtime_us();
    quiet_read(x->plan.cpus, x->plan.count, &x->quiet_after);
    for (uint32_t i = 0; i < RING_RUNNERS_MAX; i++)
        while (x->logs[i] >= 0 && x->log_used[i] + 8 < EXEC_LOG_MAX) {
            struct pollfd p = {.fd = x->logs[i], .events = POLLIN};
            if (poll(&p, 1, 0) <= 0)
                break;
            log_drain(x, i);
        }
    if (x->cancelled)
        return err_set(e, ERR_CANCELLED, NULL, "cancelled");
    r = launch_killed(x, e);
    if (r < 0)
        return r;
    launch_collect(x);
    launch_quiet(n, x);
    return 0;
}

int node_run(struct node *n, const struct exec_request *request, const _Atomic bool *cancel,
             struct exec_result *ret, struct err *e)
{
    struct launch x = {.request = request, .result = ret, .cancel = cancel};
    memset(ret, 0, sizeof *ret);
    ret->runners_count = request->subjects_count;
    for (uint32_t i = 0; i < RING_RUNNERS_MAX; i++)
        x.pages[i] = x.logs[i] = -1;
    x.message = malloc(sizeof *x.message);
    if (!x.message)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    int r = launch_run(n, &x, e);
    node_crowded(n, &x, false);
    for (uint32_t i = 0; i < RING_RUNNERS_MAX; i++) {
        close_p(&x.pages[i]);
        close_p(&x.logs[i]);
    }
    free(x.message);
    if (r < 0)
        exec_result_done(ret);
    return r;
}
