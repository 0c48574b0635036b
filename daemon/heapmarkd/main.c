/* heapmarkd: puts the parts together, waits for signals, takes them apart in the right order.
 *
 * Order of start: supervisor first (it needs what root can do, and a process without threads),
 * then privileges go, then the store, the scheduler, and HTTP last, so that whoever reaches it
 * finds it whole. Order of stop: the reverse, with the running ring let to its end. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/api/api.h"
#include "daemon/base/clock.h"
#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/executor/local.h"
#include "daemon/heapmarkd/host.h"
#include "daemon/heapmarkd/options.h"
#include "daemon/heapmarkd/privilege.h"
#include "daemon/job/scheduler.h"
#include "daemon/node/node.h"
#include "daemon/store/store.h"
#include "web/web.h"

#define READERS_COUNT 4
#define WORKERS_COUNT 3
#define EVENTS_FLUSH_MS \
    50                 /* what streams may take to write before a ring, where they pause in it */
#define DRAIN_S_MAX 20 /* the running ring may take this long to end before it is broken off */

struct daemon {
    const struct config *config;
    struct host host;
    struct catalog *catalog;
    struct node *node;
    struct executor *executor;
    struct store *store;
    struct events *events;
    struct scheduler *scheduler;
    struct api_context api;
    bool api_started;
    struct http_config http;
    struct http_server *server;
    uid_t started_as;
    char host_key_stored[HOST_KEY_SIZE]; /* the scheduler's thread, after start */
};

/* ---- what the API asks of us ---- */

static void api_facts(void *ctx, struct host_facts *ret)
{
    (void)ctx;
    host_facts_gather("", ret);
}

static int api_hello(void *ctx, struct wire_hello *ret)
{
    node_hello(((struct daemon *)ctx)->node, ret);
    return 0;
}

static void api_wake(void *ctx)
{
    scheduler_wake(((struct daemon *)ctx)->scheduler);
}

static void api_cancel(void *ctx, const char *job_uuid)
{
    scheduler_cancel(((struct daemon *)ctx)->scheduler, job_uuid);
}

/* ---- start ---- */

static void list_pointers(const struct config_list *list, const char **ret)
{
    uint32_t n = list->count < SUPERVISOR_DIRS ? list->count : SUPERVISOR_DIRS;
    for (uint32_t i = 0; i < n; i++)
        ret[i] = list->items[i];
    ret[n] = NULL;
}

/* Without a CPU of our own event streams pause while a ring runs. */
static void node_crowded(void *ctx, bool crowded)
{
    const struct daemon *d = ctx;
    if (crowded)
        events_hold(d->events, EVENTS_FLUSH_MS);
    else
        events_release(d->events);
}

static int start_node(struct daemon *d, struct err *e)
{
    static const char *const formats[] = {"text", "priority", "json"};
    const struct config *c = d->config;
    struct node_config config = {
        .supervisor =
            {
                .supervisor_path = c->supervisor_path,
                .runner_path = c->runner_path,
                .state_dir = c->supervisor_directory,
                .uids = c->uids[0] ? c->uids : NULL,
                .cgroup_name = c->cgroup_name,
                .deny_thp = !c->allow_thp,
                .deny_hugetlb = !c->allow_hugetlb,
                .log_level = (enum log_level)c->log_level,
                .log_format = formats[c->log_format],
            },
        .topo = d->host.topo,
        .steal_ratio_max = c->steal_ratio_max,
        .pin_self = true,
        .crowded = node_crowded,
        .crowded_ctx = d,
    };
    list_pointers(&c->catalog_dirs, config.supervisor.catalog_dirs);
    list_pointers(&c->library_dirs, config.supervisor.library_dirs);
    int r = catalog_load(config.supervisor.catalog_dirs, config.supervisor.library_dirs,
                         &d->catalog, e);
    if (r == 0)
        r = node_start(&config, &d->node, e);
    d->host.catalog = d->catalog;
    d->host.node = d->node;
    return r;
}

/* A governor or THP mode changed since the last job makes another host of this one. */
static int current_host_key(void *ctx, char ret_key[65], struct err *e)
{
    struct daemon *d = ctx;
    char key[HOST_KEY_SIZE];
    int r = host_key_now(&d->host, key, e);
    if (r < 0)
        return r;
    memcpy(ret_key, key, sizeof key);
    if (strcmp(key, d->host_key_stored) == 0)
        return 0;
    cleanup_(free_p) char *facts = host_facts_json(&d->host);
    if (!facts)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    r = store_host_put(d->store, key, d->host.name, facts, e);
    if (r == 0)
        memcpy(d->host_key_stored, key, sizeof key);
    return r;
}

static int start_store(struct daemon *d, struct err *e)
{
    const struct store_config config = {
        .directory = d->config->directory,
        .readers_count = READERS_COUNT,
        .low_water_bytes = d->config->low_water_bytes,
    };
    int r = store_open(&config, &d->store, e);
    if (r < 0)
        return r;
    r = store_recover(d->store, (uint32_t)d->config->attempts_max, e);
    if (r < 0)
        return r;
    if (r > 0)
        log_warning("%d attempts were running when heapmarkd ended last: lost, tried again", r);
    char key[65];
    return current_host_key(d, key, e);
}

static int start_scheduler(struct daemon *d, struct err *e)
{
    d->events = events_new();
    if (!d->events)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    int r = executor_local_new(d->node, &d->executor, e);
    const struct scheduler_config config = {
        .store = d->store,
        .executor = d->executor,
        .events = d->events,
        .limits = &d->host.limits,
        .host_key = current_host_key,
        .host_ctx = d,
        .attempts_max = (uint32_t)d->config->attempts_max,
    };
    return r < 0 ? r : scheduler_start(&config, &d->scheduler, e);
}

static int start_api(struct daemon *d, struct err *e)
{
    d->api = (struct api_context){
        .store = d->store,
        .events = d->events,
        .catalog = d->catalog,
        .limits = &d->host.limits,
        .host =
            {
                .key = d->host.key,
                .name = d->host.name,
                .topo = d->host.topo,
                .facts = api_facts,
                .hello = api_hello,
                .ctx = d,
            },
        .queue = {.wake = api_wake, .cancel = api_cancel, .ctx = d},
        .web_files = web_files,
        .jobs_queued_max = (uint32_t)d->config->jobs_queued_max,
        .public_read = d->config->public_read,
    };
    int r = api_start(&d->api, e);
    d->api_started = r == 0;
    return r;
}

static int start_http(struct daemon *d, struct err *e)
{
    const struct config *c = d->config;
    struct http_config *h = &d->http;
    static_assert(CONFIG_LIST_MAX <= HTTP_HOSTS_MAX, "every allowed host has its place");
    if (c->listen.count > HTTP_LISTEN_MAX)
        return err_set(e, ERR_TOO_LARGE, "server.listen", "%u addresses, at most %d",
                       c->listen.count, HTTP_LISTEN_MAX);
    for (uint32_t i = 0; i < c->listen.count; i++) {
        int r = http_listen_parse(c->listen.items[i], &h->listen[i], e);
        if (r < 0)
            return r;
        h->listen_count++;
    }
    for (uint32_t i = 0; i < c->allowed_hosts.count; i++)
        h->hosts[h->hosts_count++] = c->allowed_hosts.items[i];
    h->routes = api_routes;
    h->ctx = &d->api;
    h->workers_count = WORKERS_COUNT;
    h->connections_max = (unsigned)c->connections_max;
    h->connections_per_ip_max = (unsigned)c->connections_per_address_max;
    h->events_max = (unsigned)c->event_streams_max;
    h->body_bytes_max = c->body_bytes_max;
    h->request_ms_max = (uint32_t)(c->request_s * 1000);
    h->idle_s_max = (uint32_t)c->idle_s;
    api_auth(&d->api, &h->auth);
    int r = api_check_listen(&d->api, h->listen, h->listen_count, e);
    if (r == 0)
        r = http_server_start(h, &d->server, e);
    if (r == 0)
        api_set_http(&d->api, d->server);
    return r;
}

static int start_all(struct daemon *d, struct err *e)
{
    int r = host_init(&d->host, e);
    if (r == 0)
        r = privilege_state_directory(d->config->directory, e);
    if (r == 0)
        r = start_node(d, e);
    if (r == 0)
        r = privilege_drop(d->config->user, d->config->directory, e);
    if (r == 0)
        r = start_store(d, e);
    if (r == 0)
        r = start_scheduler(d, e);
    if (r == 0)
        r = start_api(d, e);
    if (r == 0)
        r = start_http(d, e);
    return r;
}

/* ---- stop ---- */

static void *drain_main(void *arg)
{
    struct daemon *d = arg;
    scheduler_stop(d->scheduler, true);
    kill(getpid(), SIGUSR1); /* ends the wait of stop_scheduler */
    return NULL;
}

/* Drain with a deadline; another TERM or INT breaks the running ring off at once. */
static void stop_scheduler(struct daemon *d, const sigset_t *signals)
{
    pthread_t thread;
    if (!d->scheduler)
        return;
    if (pthread_create(&thread, NULL, drain_main, d) != 0) {
        scheduler_stop(d->scheduler, false);
        return;
    }
    uint64_t deadline = clock_monotonic_ns() + DRAIN_S_MAX * NS_PER_S;
    for (;;) {
        uint64_t now = clock_monotonic_ns();
        uint64_t left = deadline > now ? deadline - now : 0;
        const struct timespec wait = {.tv_sec = (time_t)(left / NS_PER_S),
                                      .tv_nsec = (long)(left % NS_PER_S)};
        int signal = sigtimedwait(signals, NULL, &wait);
        if (signal == SIGUSR1)
            break;
        if (signal == SIGTERM || signal == SIGINT || (signal < 0 && errno == EAGAIN)) {
            log_warning("the running ring is broken off; its job continues at the next start");
            scheduler_interrupt(d->scheduler);
            deadline = UINT64_MAX;
        }
    }
    pthread_join(thread, NULL);
}

static void stop_all(struct daemon *d, const sigset_t *signals)
{
    if (d->api_started)
        api_drain(&d->api);
    stop_scheduler(d, signals);
    http_server_stop(d->server);
    if (d->api_started)
        api_stop(&d->api);
    if (d->executor)
        d->executor->free(d->executor);
    scheduler_free(d->scheduler);
    events_free(d->events);
    node_stop(d->node);
    store_close(d->store);
    catalog_free(d->catalog);
    host_done(&d->host);
}

/* The supervisor is our only child. Where it can be started again, node code does that at the next
 * launch; after privileges were dropped only a restart of everything can. */
static bool supervisor_lost(const struct daemon *d)
{
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
        return false;
    log_error("heapmark-supervisor (pid %d) ended unexpectedly", (int)info.si_pid);
    return geteuid() != d->started_as;
}

static int wait_for_end(const struct daemon *d, const sigset_t *signals)
{
    for (;;) {
        int signal = sigwaitinfo(signals, NULL);
        if (signal == SIGTERM || signal == SIGINT)
            return HEAPMARKD_EXIT_OK;
        if (signal == SIGCHLD && supervisor_lost(d))
            return HEAPMARKD_EXIT_SUPERVISOR;
    }
}

static int port_file_write(const struct daemon *d, const char *path, struct err *e)
{
    char temporary[4096];
    for (unsigned i = 0; path && i < d->http.listen_count; i++) {
        if (d->http.listen[i].kind != HTTP_LISTEN_INET)
            continue;
        snprintf(temporary, sizeof temporary, "%s.new", path);
        FILE *f = fopen(temporary, "we");
        if (!f || fprintf(f, "%u\n", http_server_port(d->server, i)) < 0 || fclose(f) != 0 ||
            rename(temporary, path) < 0)
            return err_set_errno(e, ERR_IO, errno, "cannot write %s", path);
        return 0;
    }
    return 0;
}

static void say_ready(const struct daemon *d)
{
    for (unsigned i = 0; i < d->http.listen_count; i++) {
        const struct http_listen *l = &d->http.listen[i];
        if (l->kind == HTTP_LISTEN_UNIX)
            log_info("heapmarkd %s listens on unix:%s", ring_build_id(), l->address);
        else
            log_info("heapmarkd %s listens on http://%s%s%s:%u/", ring_build_id(),
                     strchr(l->address, ':') ? "[" : "", l->address,
                     strchr(l->address, ':') ? "]" : "", http_server_port(d->server, i));
    }
    privilege_notify("READY=1");
}

static int run(const struct heapmarkd_options *options, const sigset_t *signals)
{
    struct daemon *d = calloc(1, sizeof *d);
    struct err e = {0};
    int status = HEAPMARKD_EXIT_FAILED;
    if (!d)
        return status;
    d->config = &options->config;
    d->started_as = geteuid();
    int r = start_all(d, &e);
    if (r == 0)
        r = port_file_write(d, options->port_file, &e);
    if (r == 0) {
        say_ready(d);
        status = wait_for_end(d, signals);
        privilege_notify("STOPPING=1");
    } else {
        log_error("cannot start: %s%s%s", e.field, e.field[0] ? ": " : "", e.message);
    }
    stop_all(d, signals);
    free(d);
    return status;
}

int main(int argc, char **argv)
{
    static struct heapmarkd_options options;
    int status = heapmarkd_options_parse(argc, argv, &options);
    if (options.action == ACTION_DONE)
        return status;
    if (options.action == ACTION_CHECK_CONFIG) {
        printf("heapmarkd: configuration is good\n");
        return HEAPMARKD_EXIT_OK;
    }
    if (options.action == ACTION_PRINT_CONFIG) {
        config_print(&options.config, stdout);
        return HEAPMARKD_EXIT_OK;
    }
    log_set((enum log_level)options.config.log_level, (enum log_format)options.config.log_format);
    sigset_t signals;
    sigemptyset(&signals);
    static const int waited[] = {SIGTERM, SIGINT, SIGCHLD, SIGUSR1};
    for (size_t i = 0; i < sizeof waited / sizeof waited[0]; i++)
        sigaddset(&signals, waited[i]);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return run(&options, &signals);
}
