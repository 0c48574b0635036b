/* Connections: how many, whose, and for how long. libmicrohttpd's own timeout counts only
 * inactivity, so a client that sends one byte every two seconds would stay for ever; here every
 * request has a deadline, kept by a thread that sleeps while there is no connection. */
#include "daemon/http/internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static bool address_equal(const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
    if (a->sa_family == AF_INET6)
        return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                      &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr,
                      sizeof(struct in6_addr)) == 0;
    return false;
}

enum MHD_Result conn_accept(void *cls, const struct sockaddr *address, socklen_t size)
{
    struct listener *l = cls;
    struct http_server *s = l->server;
    if (size < sizeof(sa_family_t) || l->config->kind == HTTP_LISTEN_UNIX ||
        address_is_loopback(address))
        return MHD_YES;
    unsigned same = 0;
    pthread_mutex_lock(&s->conns_lock);
    for (const struct conn *c = s->conns; c; c = c->next)
        same += address_equal((const struct sockaddr *)&c->address, address);
    pthread_mutex_unlock(&s->conns_lock);
    if (same < s->config.connections_per_ip_max)
        return MHD_YES;
    atomic_fetch_add_explicit(&s->connections_refused, 1, memory_order_relaxed);
    return MHD_NO;
}

/* What a client may do without a token, by how it reaches us. */
static unsigned conn_scopes(const struct conn *c)
{
    const struct http_auth *auth = &c->listener->server->config.auth;
    if (c->listener->config->kind == HTTP_LISTEN_INET)
        return c->listener->config->loopback ? auth->scopes_loopback : auth->scopes_remote;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        (peer.uid == geteuid() || peer.uid == 0))
        return auth->scopes_owner;
    return auth->scopes_loopback;
}

static struct conn *conn_new(struct listener *l, struct MHD_Connection *connection)
{
    struct conn *c = calloc(1, sizeof *c);
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!c || !fd) {
        free(c);
        return NULL;
    }
    c->listener = l;
    c->fd = fd->connect_fd;
    c->address_size = sizeof c->address;
    if (getpeername(c->fd, (struct sockaddr *)&c->address, &c->address_size) < 0)
        c->address.ss_family = AF_UNSPEC;
    c->open_scopes = conn_scopes(c);
    return c;
}

static void conn_started(struct listener *l, struct MHD_Connection *connection, void **context)
{
    struct http_server *s = l->server;
    struct conn *c = conn_new(l, connection);
    *context = c; /* NULL: requests on it are answered with a close */
    if (!c)
        return;
    atomic_fetch_add_explicit(&s->connections_total, 1, memory_order_relaxed);
    pthread_mutex_lock(&s->conns_lock);
    c->overdue_ns = clock_monotonic_ns() + ms_to_ns(s->config.request_ms_max);
    c->reading = true;
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    if (s->conns_count++ == 0)
        pthread_cond_signal(&s->ticker_wake);
    pthread_mutex_unlock(&s->conns_lock);
}

static void conn_closed(struct http_server *s, struct conn *c)
{
    pthread_mutex_lock(&s->conns_lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->conns_count--;
    pthread_mutex_unlock(&s->conns_lock);
    free(c);
}

void conn_notify(void *cls, struct MHD_Connection *connection, void **socket_context,
                 enum MHD_ConnectionNotificationCode code)
{
    struct listener *l = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        conn_started(l, connection, socket_context);
    else if (*socket_context)
        conn_closed(l->server, *socket_context);
}

void conn_deadline(struct http_server *s, struct conn *c, uint64_t overdue_ns, bool reading)
{
    pthread_mutex_lock(&s->conns_lock);
    c->overdue_ns = overdue_ns;
    c->reading = reading;
    pthread_mutex_unlock(&s->conns_lock);
}

/* Shut the sockets of overdue connections down; libmicrohttpd then sees their end and closes
 * them. The lock keeps the descriptor from being closed and reused meanwhile. */
static void conns_reap(struct http_server *s, uint64_t now)
{
    for (struct conn *c = s->conns; c; c = c->next) {
        if (!c->overdue_ns || now < c->overdue_ns)
            continue;
        c->overdue_ns = 0;
        (void)shutdown(c->fd, SHUT_RDWR);
        atomic_fetch_add_explicit(&s->connections_overdue, 1, memory_order_relaxed);
    }
}

/* Waits that are over, heartbeats that are due. */
static void waiting_tick(struct http_server *s, uint64_t now)
{
    pthread_mutex_lock(&s->lock);
    for (struct exchange *x = s->waiting, *next; x; x = next) {
        next = x->list_next;
        if (x->state == EXCHANGE_PARKED) {
            if (now < x->park_until_ns)
                continue;
            x->rq.park_expired = true;
            waiting_remove_locked(s, x);
            worker_push_locked(s, x);
        } else if (x->reply.has_events &&
                   now - x->stream.written_ns >= ms_to_ns(s->config.heartbeat_ms)) {
            x->stream.heartbeat_due = true;
            stream_wake_locked(&x->stream);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void *conn_ticker(void *server)
{
    struct http_server *s = server;
    pthread_mutex_lock(&s->conns_lock);
    while (!s->ticker_stop) {
        if (s->conns_count == 0) {
            pthread_cond_wait(&s->ticker_wake, &s->conns_lock);
            continue;
        }
        uint64_t now = clock_monotonic_ns();
        conns_reap(s, now);
        pthread_mutex_unlock(&s->conns_lock);
        waiting_tick(s, now);
        pthread_mutex_lock(&s->conns_lock);
        if (s->ticker_stop)
            break;
        uint64_t until = clock_monotonic_ns() + ms_to_ns(s->config.tick_ms);
        struct timespec at = {.tv_sec = (time_t)(until / NS_PER_S),
                              .tv_nsec = (long)(until % NS_PER_S)};
        pthread_cond_timedwait(&s->ticker_wake, &s->conns_lock, &at);
    }
    pthread_mutex_unlock(&s->conns_lock);
    return NULL;
}
