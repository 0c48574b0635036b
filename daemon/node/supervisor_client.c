#include "daemon/node/supervisor_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/base/clock.h"
#include "daemon/supervisor/supervisor.h"

#define HELLO_WAIT_MS (SUPERVISOR_LOCK_WAIT_MS + 10000)
#define STOP_WAIT_MS  20000 /* the guardian itself kills its worker at GUARDIAN_STOP_MS_MAX */
#define ARGS_MAX      32
#define ARG_SIZE      320

struct supervisor_client {
    pid_t pid;
    int socket;
    pthread_mutex_t lock; /* hello */
    struct wire_hello hello;
};

struct arguments {
    char text[ARGS_MAX][ARG_SIZE];
    char *argv[ARGS_MAX + 1];
    unsigned count;
};

static void argument(struct arguments *a, const char *name, const char *value)
{
    if (!value || a->count == ARGS_MAX)
        return;
    snprintf(a->text[a->count], ARG_SIZE, "%s%s", name, value);
    a->argv[a->count] = a->text[a->count];
    a->count++;
}

static void arguments_fill(struct arguments *a, const struct supervisor_config *config)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    argument(a, "heapmark-supervisor", "");
    argument(a, "--runner=", config->runner_path);
    argument(a, "--state-dir=", config->state_dir);
    for (unsigned i = 0; config->catalog_dirs[i]; i++)
        argument(a, "--catalog-dir=", config->catalog_dirs[i]);
    for (unsigned i = 0; config->library_dirs[i]; i++)
        argument(a, "--library-dir=", config->library_dirs[i]);
    argument(a, "--uids=", config->uids);
    argument(a, "--cgroup-name=", config->cgroup_name);
    argument(a, "--daemon-pid=", pid);
    argument(a, "--deny=", config->deny_thp ? "thp" : NULL);
    argument(a, "--deny=", config->deny_hugetlb ? "hugetlb" : NULL);
    argument(a, "--log-level=", levels[config->log_level]);
    argument(a, "--log-format=", config->log_format);
    a->argv[a->count] = NULL;
}

/* Only async-signal-safe calls: the daemon has threads by the time of a restart. */
static _Noreturn void supervisor_exec(const char *path, struct arguments *a, int socket)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (socket == SUPERVISOR_FD)
        (void)fcntl(socket, F_SETFD, 0);
    else if (dup2(socket, SUPERVISOR_FD) < 0)
        _exit(SUPERVISOR_EXIT_FAILED);
    (void)close_range(SUPERVISOR_FD + 1, ~0U, 0);
    execv(path, a->argv);
    static const char text[] = "heapmarkd: cannot execute heapmark-supervisor\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(SUPERVISOR_EXIT_FAILED);
}

static int supervisor_spawn(struct supervisor_client *c, const struct supervisor_config *config,
                            struct err *e)
{
    int pair[2];
    if (access(config->supervisor_path, X_OK) < 0)
        return err_set_errno(e, ERR_UNAVAILABLE, errno, "%s", config->supervisor_path);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_errno(e, ERR_IO, errno, "socketpair");
    struct arguments *a = calloc(1, sizeof *a);
    if (!a) {
        close(pair[0]);
        close(pair[1]);
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    }
    arguments_fill(a, config);
    c->pid = fork();
    if (c->pid == 0)
        supervisor_exec(config->supervisor_path, a, pair[1]);
    int fork_errno = errno;
    free(a);
    close(pair[1]);
    c->socket = pair[0];
    return c->pid < 0 ? err_set_errno(e, ERR_IO, fork_errno, "fork") : 0;
}

static int hello_wait(struct supervisor_client *c, struct err *e)
{
    struct pollfd p = {.fd = c->socket, .events = POLLIN};
    cleanup_(free_p) struct wire_message *message = malloc(sizeof *message);
    int fds[WIRE_FDS_MAX];
    unsigned fds_count = 0;
    if (!message)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    if (poll(&p, 1, HELLO_WAIT_MS) != 1)
        return err_set(e, ERR_UNAVAILABLE, NULL, "heapmark-supervisor said nothing for %d s",
                       HELLO_WAIT_MS / 1000);
    int r = supervisor_client_recv(c, message, fds, &fds_count);
    if (r == 0)
        return err_set(e, ERR_UNAVAILABLE, NULL,
                       "heapmark-supervisor could not start; its reason is on stderr");
    if (r < 0 || message->type != WIRE_HELLO)
        return err_set(e, ERR_INCOMPATIBLE, NULL,
                       "heapmark-supervisor does not speak this protocol: is it of build %s?",
                       ring_build_id());
    if (strcmp(c->hello.build_id, ring_build_id()) != 0)
        return err_set(e, ERR_INCOMPATIBLE, NULL,
                       "heapmark-supervisor is build %.63s, heapmarkd is %s: install both from one "
                       "build",
                       c->hello.build_id, ring_build_id());
    return 0;
}

int supervisor_client_start(const struct supervisor_config *config, struct supervisor_client **ret,
                            struct err *e)
{
    struct supervisor_client *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    pthread_mutex_init(&c->lock, NULL);
    c->socket = -1;
    int r = supervisor_spawn(c, config, e);
    if (r == 0)
        r = hello_wait(c, e);
    if (r < 0) {
        supervisor_client_stop(c);
        return r;
    }
    *ret = c;
    return 0;
}

/* It ends by itself when the socket closes. Killing it earlier would leave runners and knobs to
 * its guardian's successor, so that is the last resort. */
static void supervisor_reap(pid_t pid)
{
    uint64_t deadline = clock_monotonic_ns() + STOP_WAIT_MS * NS_PER_MS;
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_monotonic_ns() > deadline) {
            log_error("heapmark-supervisor did not end in %d s; killing it", STOP_WAIT_MS / 1000);
            kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
            return;
        }
        usleep(10000);
    }
}

void supervisor_client_stop(struct supervisor_client *c)
{
    if (!c)
        return;
    if (c->socket >= 0)
        close(c->socket);
    if (c->pid > 0)
        supervisor_reap(c->pid);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

pid_t supervisor_client_pid(const struct supervisor_client *c)
{
    return c->pid;
}

int supervisor_client_fd(const struct supervisor_client *c)
{
    return c->socket;
}

void supervisor_client_hello(struct supervisor_client *c, struct wire_hello *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = c->hello;
    pthread_mutex_unlock(&c->lock);
}

int supervisor_client_send(struct supervisor_client *c, const struct wire_message *message,
                           const int *fds, unsigned fds_count)
{
    return wire_send(c->socket, message, fds, fds_count);
}

int supervisor_client_recv(struct supervisor_client *c, struct wire_message *ret, int *ret_fds,
                           unsigned *ret_fds_count)
{
    int r = wire_recv(c->socket, ret, ret_fds, ret_fds_count);
    if (r == 1 && ret->type == WIRE_HELLO) {
        ret->hello.build_id[sizeof ret->hello.build_id - 1] = '\0';
        for (unsigned i = 0; i < sizeof ret->hello.reason / sizeof ret->hello.reason[0]; i++)
            ret->hello.reason[i][sizeof ret->hello.reason[i] - 1] = '\0';
        pthread_mutex_lock(&c->lock);
        c->hello = ret->hello;
        pthread_mutex_unlock(&c->lock);
    }
    return r;
}
