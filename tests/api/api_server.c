/* The real HTTP server, API, store, event bus and scheduler with an executor that measures
 * nothing: it invents figures, so that the tests of the API are quick and need no privilege.
 * `api_server --dir D --catalog C …` prints "ready PORT" and runs until SIGTERM or the end of its
 * standard input (so that it never outlives its test). */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "daemon/api/api.h"
#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/job/scheduler.h"
#include "web/web.h"

struct fake {
    struct executor executor; /* first */
    uint32_t step_ms;
    const char *crash; /* this allocator's runners crash */
    bool crowded;      /* no CPU is left beside the runners */
    struct events *events;
};

struct server {
    struct fake fake;
    struct store *store;
    struct events *events;
    struct catalog *catalog;
    struct scheduler *scheduler;
    struct topo *topo;
    struct job_limits limits;
    struct api_context api;
    struct http_config http;
    struct http_server *http_server;
    struct store_config store_config;
    const char *catalog_dir;
};

/* ---- the executor ---- */

static double invented(const struct exec_request *q, uint32_t runner, uint32_t what)
{
    uint64_t h = hash_mix(q->seed, runner * 1000u + what);
    return 100.0 + (double)(h >> 40) / (double)(1 << 24);
}

static void fake_slices(const struct exec_request *q, uint32_t i, struct exec_runner_result *r)
{
    struct ring_slice *slices = calloc(q->rotations + 1, sizeof *slices);
    if (!slices)
        abort();
    for (uint32_t k = 0; k < q->rotations; k++) {
        uint64_t start = 1000000u * (uint64_t)(k * q->subjects_count + i + 1);
        uint64_t ns = (uint64_t)((double)q->slice_ops * invented(q, i, k) / 100.0);
        slices[k] =
            (struct ring_slice){.start_ns = start, .end_ns = start + ns + 1, .ops = q->slice_ops};
    }
    r->slices = slices;
    r->slices_count = q->rotations;
}

static void fake_runner(const struct fake *f, const struct exec_request *q, uint32_t i,
                        struct exec_runner_result *r)
{
    r->turns_total = r->turns_done = q->rotations + 1;
    memset(r->sha256, 'a', 64);
    text_copy(r->version, sizeof r->version, "1.2.3");
    text_copy(r->library_path, sizeof r->library_path, "/lib/fake.so");
    r->isolation = ISOLATION_PINNED | ISOLATION_RLIMITS;
    if (f->crash && strcmp(f->crash, q->subjects[i].allocator) == 0) {
        r->outcome = OUTCOME_CRASHED;
        r->signal = 11;
        r->exit_status = -1;
        r->turns_done = 1;
        text_copy(r->message, sizeof r->message, "<script>alert(1)</script> \"quoted\" \\ end");
        text_copy(r->log, sizeof r->log, "</script><img src=x onerror=alert(2)>");
        return;
    }
    for (unsigned m = 0; m < q->workload->metrics_count && m < RING_METRICS_MAX; m++) {
        const enum metric_id metric = q->workload->metrics[m];
        if (metric == METRIC_HEAP_AFTER_PURGE_BYTES) { /* as of an allocator without the call */
            r->absent[r->absent_count++] = (struct exec_absent){metric, "=no, \"call\""};
            continue;
        }
        /* Above 0.5% a cell is measured again alone, which most tests do not ask for. */
        const double value = metric == METRIC_CPU_OUTSIDE_RATIO ? 0 : invented(q, i, 500 + m);
        r->metrics[r->metrics_count++] = (struct exec_metric){.metric = metric, .value = value};
    }
    /* Later ones are faster; the control is not. */
    if (i > 0 && i < RING_RUNNERS_MAX && q->rotations > 0)
        r->metrics[r->metrics_count++] = (struct exec_metric){
            .metric = METRIC_RING_LOG_RATIO,
            .value =
                q->subjects[i].role == ROLE_SUBJECT ? -0.1 * i : 0.01 * invented(q, i, 900) - 1};
    fake_slices(q, i, r);
}

static int fake_run(struct executor *x, const struct exec_request *q, const _Atomic bool *cancel,
                    struct exec_result *ret, struct err *e)
{
    const struct fake *f = (const struct fake *)x;
    bool cancelled = false;
    if (f->crowded)
        events_hold(f->events, 1000);
    uint64_t until = clock_monotonic_ns() + f->step_ms * NS_PER_MS;
    while (!cancelled && clock_monotonic_ns() < until) {
        cancelled = atomic_load_explicit(cancel, memory_order_relaxed);
        (void)poll(NULL, 0, 2);
    }
    if (f->crowded)
        events_release(f->events);
    if (cancelled)
        return err_set(e, ERR_CANCELLED, NULL, "cancelled");
    memset(ret, 0, sizeof *ret);
    ret->runners_count = q->subjects_count;
    for (uint32_t i = 0; i < q->subjects_count; i++)
        fake_runner(f, q, i, &ret->runners[i]);
    ret->cpus_count = 1;
    ret->started_us = ret->finished_us = (uint64_t)clock_realtime_us();
    return 0;
}

static void fake_free(struct executor *x)
{
    (void)x;
}

/* ---- the host ---- */

static void host_facts(void *ctx, struct host_facts *ret)
{
    (void)ctx;
    host_facts_gather("", ret);
}

static int host_hello(void *ctx, struct wire_hello *ret)
{
    (void)ctx;
    *ret = (struct wire_hello){.generation = 1, .isolation = ISOLATION_PINNED};
    text_copy(ret->build_id, sizeof ret->build_id, ring_build_id());
    text_copy(ret->reason[CONTROLLER_CPUSET], sizeof ret->reason[0], "not delegated");
    return 0;
}

static void queue_wake(void *ctx)
{
    scheduler_wake(((struct server *)ctx)->scheduler);
}

static void queue_cancel(void *ctx, const char *uuid)
{
    scheduler_cancel(((struct server *)ctx)->scheduler, uuid);
}

static int subject_check(void *ctx, struct job_subject *subject, const char *field, struct err *e)
{
    const struct server *s = ctx;
    const struct catalog_entry *entry = catalog_find(s->catalog, subject->allocator);
    if (!entry)
        return err_set(e, ERR_UNKNOWN_NAME, field, "no allocator \"%s\"", subject->allocator);
    cleanup_(close_p) int fd = -1;
    char path[CATALOG_PATH_SIZE];
    struct err why = {0};
    subject->flags = entry->flags;
    if (catalog_open(s->catalog, entry, &fd, path, &why) < 0)
        return err_set(e, why.code, field, "%s", why.message);
    return 0;
}

static int pages_check(void *ctx, enum page_mode mode, const char *field, struct err *e)
{
    (void)ctx;
    return mode == PAGES_HUGETLB_1G
               ? err_set(e, ERR_UNAVAILABLE, field, "pages hugetlb-1g: this host has none")
               : 0;
}

/* ---- start and stop ---- */

static int test_host_key(void *ctx, char ret_key[65], struct err *e)
{
    (void)ctx;
    (void)e;
    snprintf(ret_key, 65, "testhost");
    return 0;
}

static int start_parts(struct server *s, struct err *e)
{
    const char *const dirs[] = {s->catalog_dir, NULL};
    int r = topo_load("package:1 core:2 pu:1", &s->topo, e);
    if (r == 0)
        r = catalog_load(dirs, NULL, &s->catalog, e);
    if (r == 0)
        r = store_open(&s->store_config, &s->store, e);
    if (r == 0)
        r = store_recover(s->store, 3, e);
    if (r >= 0)
        r = store_host_put(s->store, "testhost", "test", "{}", e);
    s->fake.events = s->events = events_new();
    s->fake.executor = (struct executor){.name = "fake", .run = fake_run, .free = fake_free};
    s->limits = (struct job_limits){.cpus_max = 2,
                                    .cores_max = 2,
                                    .memory_bytes = UINT64_C(8) << 30,
                                    .subject_check = subject_check,
                                    .pages_check = pages_check,
                                    .ctx = s};
    const struct scheduler_config config = {.store = s->store,
                                            .executor = &s->fake.executor,
                                            .events = s->events,
                                            .limits = &s->limits,
                                            .host_key = test_host_key,
                                            .attempts_max = 3};
    return r < 0 ? r : scheduler_start(&config, &s->scheduler, e);
}

static int start_http(struct server *s, struct err *e)
{
    s->api.store = s->store;
    s->api.events = s->events;
    s->api.catalog = s->catalog;
    s->api.limits = &s->limits;
    s->api.host = (struct api_host){.key = "testhost",
                                    .name = "test",
                                    .topo = s->topo,
                                    .facts = host_facts,
                                    .hello = host_hello,
                                    .ctx = s};
    s->api.queue = (struct api_queue){.wake = queue_wake, .cancel = queue_cancel, .ctx = s};
    s->api.web_files = web_files;
    int r = api_start(&s->api, e);
    if (r < 0)
        return r;
    s->http.routes = api_routes;
    s->http.ctx = &s->api;
    api_auth(&s->api, &s->http.auth);
    r = api_check_listen(&s->api, s->http.listen, s->http.listen_count, e);
    if (r == 0)
        r = http_server_start(&s->http, &s->http_server, e);
    if (r == 0)
        api_set_http(&s->api, s->http_server);
    return r;
}

static void stop(struct server *s)
{
    if (s->api.private_)
        api_drain(&s->api);
    if (s->scheduler)
        scheduler_stop(s->scheduler, false);
    http_server_stop(s->http_server);
    api_stop(&s->api);
    scheduler_free(s->scheduler);
    events_free(s->events);
    store_close(s->store);
    catalog_free(s->catalog);
    topo_free(s->topo);
}

/* ---- arguments ---- */

enum {
    OPT_DIR,
    OPT_CATALOG,
    OPT_LISTEN,
    OPT_HOST,
    OPT_REQUEST_MS,
    OPT_REPLY_MS,
    OPT_IDLE_S,
    OPT_TICK_MS,
    OPT_HEARTBEAT_MS,
    OPT_CONNECTIONS,
    OPT_PER_ADDRESS,
    OPT_EVENTS,
    OPT_STEP_MS,
    OPT_CRASH,
    OPT_LOW_WATER,
    OPT_QUEUED,
    OPT_PUBLIC_READ,
    OPT_CROWDED,
    OPT_DEBUG,
};
static const struct option options[] = {
    {"dir", required_argument, NULL, OPT_DIR},
    {"catalog", required_argument, NULL, OPT_CATALOG},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"host", required_argument, NULL, OPT_HOST},
    {"request-ms", required_argument, NULL, OPT_REQUEST_MS},
    {"reply-ms", required_argument, NULL, OPT_REPLY_MS},
    {"idle-s", required_argument, NULL, OPT_IDLE_S},
    {"tick-ms", required_argument, NULL, OPT_TICK_MS},
    {"heartbeat-ms", required_argument, NULL, OPT_HEARTBEAT_MS},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"per-address", required_argument, NULL, OPT_PER_ADDRESS},
    {"events", required_argument, NULL, OPT_EVENTS},
    {"step-ms", required_argument, NULL, OPT_STEP_MS},
    {"crash", required_argument, NULL, OPT_CRASH},
    {"low-water", required_argument, NULL, OPT_LOW_WATER},
    {"queued", required_argument, NULL, OPT_QUEUED},
    {"public-read", no_argument, NULL, OPT_PUBLIC_READ},
    {"crowded", no_argument, NULL, OPT_CROWDED},
    {"debug", no_argument, NULL, OPT_DEBUG},
    {0},
};

static int option_number(struct server *s, int option, uint64_t number)
{
    uint32_t n = (uint32_t)number;
    switch (option) {
    case OPT_REQUEST_MS:
        s->http.request_ms_max = n;
        return 0;
    case OPT_REPLY_MS:
        s->http.reply_ms_max = n;
        return 0;
    case OPT_IDLE_S:
        s->http.idle_s_max = n;
        return 0;
    case OPT_TICK_MS:
        s->http.tick_ms = n;
        return 0;
    case OPT_HEARTBEAT_MS:
        s->http.heartbeat_ms = n;
        return 0;
    case OPT_CONNECTIONS:
        s->http.connections_max = n;
        return 0;
    case OPT_PER_ADDRESS:
        s->http.connections_per_ip_max = n;
        return 0;
    case OPT_EVENTS:
        s->http.events_max = n;
        return 0;
    case OPT_STEP_MS:
        s->fake.step_ms = n;
        return 0;
    case OPT_LOW_WATER:
        s->store_config.low_water_bytes = number;
        return 0;
    case OPT_QUEUED:
        s->api.jobs_queued_max = n;
        return 0;
    default:
        return -EINVAL;
    }
}

static int option_set(struct server *s, int option, char *value, struct err *e)
{
    uint64_t number;
    switch (option) {
    case OPT_DIR:
        s->store_config.directory = value;
        return 0;
    case OPT_CATALOG:
        s->catalog_dir = value;
        return 0;
    case OPT_CRASH:
        s->fake.crash = value;
        return 0;
    case OPT_HOST:
        s->http.hosts[s->http.hosts_count++] = value;
        return 0;
    case OPT_LISTEN:
        return http_listen_parse(value, &s->http.listen[s->http.listen_count++], e);
    case OPT_PUBLIC_READ:
        s->api.public_read = true;
        return 0;
    case OPT_CROWDED:
        s->fake.crowded = true;
        return 0;
    case OPT_DEBUG:
        log_set(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
        return 0;
    default:
        if (!value || text_parse_u64(value, &number) < 0 || option_number(s, option, number) < 0)
            return err_set(e, ERR_INVALID, NULL, "bad option");
        return 0;
    }
}

/* Until a signal, or until the test closes our standard input. */
static void wait_for_end(int signals)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
}

int main(int argc, char **argv)
{
    struct server *s = calloc(1, sizeof *s);
    struct err e = {0};
    sigset_t set;
    int option, r = 0;
    if (!s)
        return 1;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    s->store_config.readers_count = 3;
    while (r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        r = option_set(s, option, optarg, &e);
    if (r == 0 && s->http.listen_count == 0)
        r = http_listen_parse("127.0.0.1:0", &s->http.listen[s->http.listen_count++], &e);
    if (r == 0)
        r = start_parts(s, &e);
    if (r == 0)
        r = start_http(s, &e);
    if (r == 0) {
        printf("ready %u\n", (unsigned)http_server_port(s->http_server, 0));
        fflush(stdout);
        wait_for_end(signalfd(-1, &set, SFD_CLOEXEC));
    } else {
        fprintf(stderr, "api_server: %s: %s\n", err_code_name(e.code), e.message);
    }
    stop(s);
    free(s);
    return r == 0 ? 0 : 1;
}
