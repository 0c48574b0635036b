/* The thread of a listener: waits for libmicrohttpd's epoll descriptor and lets it work.
 *
 * libmicrohttpd has such a loop of its own, but in 0.9.75 that one asks epoll again, and waits,
 * before it handles anything whenever exactly 128 events came: at 256 connections that all have
 * news it stands still until something else happens. Called without a wait it cannot. What it
 * has not in this mode is a way to be woken for a resumed connection: wake_fd is that. */
#include "daemon/http/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#define POOL_SIZE       ((size_t)32 * 1024)
#define QUIESCE_WAIT_NS (2 * NS_PER_MS)

static void loop_log(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void loop_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    char text[512];
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("libmicrohttpd: %s", text);
}

/* Milliseconds until libmicrohttpd wants to run although nothing happened; -1: never. */
static int loop_timeout(struct MHD_Daemon *daemon)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(daemon, &ms) != MHD_YES)
        return -1;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static void loop_phase(struct listener *l)
{
    if (atomic_load_explicit(&l->quiesced, memory_order_relaxed) ||
        atomic_load_explicit(&l->phase, memory_order_acquire) < LOOP_QUIESCE)
        return;
    MHD_socket fd = MHD_quiesce_daemon(l->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    atomic_store_explicit(&l->quiesced, true, memory_order_release);
}

static void *loop_main(void *listener)
{
    struct listener *l = listener;
    int epoll_fd = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    struct pollfd fds[] = {{.fd = epoll_fd, .events = POLLIN},
                           {.fd = l->wake_fd, .events = POLLIN}};
    while (atomic_load_explicit(&l->phase, memory_order_acquire) != LOOP_STOP) {
        if (poll(fds, 2, loop_timeout(l->daemon)) > 0 && fds[1].revents) {
            uint64_t count;
            (void)!read(l->wake_fd, &count, sizeof count);
            loop_phase(l);
        }
        (void)MHD_run(l->daemon);
    }
    return NULL;
}

int loop_start(struct listener *l, struct err *e)
{
    const struct http_config *c = &l->server->config;
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, conn_accept, l,
        exchange_handle, l, MHD_OPTION_EXTERNAL_LOGGER, loop_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        l->fd, MHD_OPTION_NOTIFY_CONNECTION, conn_notify, l, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_completed, l, MHD_OPTION_URI_LOG_CALLBACK, exchange_begin, l,
        MHD_OPTION_CONNECTION_LIMIT, c->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        POOL_SIZE, MHD_OPTION_CONNECTION_TIMEOUT, c->idle_s_max, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
    if (!l->daemon)
        return err_set(e, ERR_IO, "listen", "libmicrohttpd did not start on %s",
                       l->config->address);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = l->wake_fd < 0 ? errno : pthread_create(&l->thread, NULL, loop_main, l);
    if (r) {
        (void)MHD_quiesce_daemon(l->daemon); /* the caller closes the socket */
        MHD_stop_daemon(l->daemon);
        if (l->wake_fd >= 0)
            close(l->wake_fd);
        return err_set_errno(e, ERR_IO, r, "cannot start a thread");
    }
    return 0;
}

void loop_resume(struct listener *l, struct MHD_Connection *connection)
{
    const uint64_t one = 1;
    MHD_resume_connection(connection);
    (void)!write(l->wake_fd, &one, sizeof one);
}

static void loop_set(struct listener *l, enum loop_phase phase)
{
    const uint64_t one = 1;
    atomic_store_explicit(&l->phase, phase, memory_order_release);
    (void)!write(l->wake_fd, &one, sizeof one);
}

void loop_quiesce(struct listener *l)
{
    loop_set(l, LOOP_QUIESCE);
    while (!atomic_load_explicit(&l->quiesced, memory_order_acquire)) {
        struct timespec pause = {.tv_nsec = QUIESCE_WAIT_NS};
        nanosleep(&pause, NULL);
    }
}

void loop_stop(struct listener *l)
{
    loop_set(l, LOOP_STOP);
    pthread_join(l->thread, NULL);
    MHD_stop_daemon(l->daemon);
    close(l->wake_fd);
}
