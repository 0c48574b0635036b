/* Shared by the files of daemon/http and by nobody else. */
#ifndef HEAPMARK_DAEMON_HTTP_INTERNAL_H
#define HEAPMARK_DAEMON_HTTP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/http/http.h"
#include "daemon/http/precheck.h"
#include "daemon/http/target.h"

#define REPLY_HEADERS_MAX 4
#define CONSTANTS_MAX     256
#define ETAG_SIZE         48

/* One accepted socket. Lives from libmicrohttpd's STARTED to its CLOSED notice; listed, and every
 * field guarded, by server->conns_lock. */
struct conn {
    struct conn *next, *prev;
    struct listener *listener;
    int fd;
    uint64_t overdue_ns; /* monotonic; 0: no deadline now */
    bool reading;        /* the deadline is for the request, not for taking the reply */
    struct sockaddr_storage address;
    socklen_t address_size;
    unsigned open_scopes; /* without a token; set once, before the first request */
};

/* The loop of a listener goes through these in order. */
enum loop_phase { LOOP_RUN, LOOP_QUIESCE, LOOP_STOP };

struct listener {
    struct http_server *server;
    const struct http_listen *config;
    struct MHD_Daemon *daemon;
    pthread_t thread;      /* runs loop_main */
    int wake_fd;           /* eventfd: a connection was resumed, or phase moved on */
    _Atomic int phase;     /* enum loop_phase; release by the stopper, acquire by the loop */
    _Atomic bool quiesced; /* release by the loop, acquire by the stopper */
    int fd;
    uint16_t port;
    char literal[128]; /* the address as a Host header would name it */
    const char *hosts[HTTP_HOSTS_MAX + 8];
    unsigned hosts_count;
};

struct reply_header {
    const char *name;
    char *value; /* owned */
};

struct http_reply {
    unsigned status;
    const char *content_type;
    char *body; /* owned */
    size_t body_size;
    const void *constant; /* or this */
    size_t constant_size;
    bool etag, has_feed, has_events, has_error;
    struct reply_header headers[REPLY_HEADERS_MAX];
    unsigned headers_count;
    struct http_feed feed;
    struct http_events events;
    struct err error;
    unsigned fault;    /* with has_error: row of the problem table */
    const char *allow; /* with HTTP_FAULT_METHOD */
};

/* Where an exchange is. The epoll thread owns it in BODY and REPLYING, a worker in RUNNING (its
 * connection is suspended from RUNNING and PARKED until DONE). */
enum exchange_state {
    EXCHANGE_NEW,     /* request line seen */
    EXCHANGE_BODY,    /* head accepted */
    EXCHANGE_QUEUED,  /* suspended, waits for a worker */
    EXCHANGE_RUNNING, /* suspended, on a worker */
    EXCHANGE_PARKED,  /* suspended, waits for http_unpark */
    EXCHANGE_DONE,    /* reply is complete, resumed */
    EXCHANGE_REPLYING,
};

/* A body made while it is sent: a feed or an event stream. Guarded by server->lock but for what
 * the comment says. */
struct http_stream {
    struct exchange *exchange;
    bool suspended; /* by the content reader, waits for a wake */
    bool woken;     /* since the reader last asked its source */
    bool ended;
    bool heartbeat_due;
    uint64_t written_ns;
    /* feeds */
    struct http_text chunk; /* the worker's while `filling`, else the reader's */
    size_t chunk_offset;
    bool filling, failed;
    void *deflate; /* z_stream, owned by whoever fills; NULL: not compressed */
};

struct exchange {
    struct http_request rq; /* first: handlers hold its address */
    struct listener *listener;
    struct conn *conn;
    struct MHD_Connection *connection;
    _Atomic enum exchange_state state;      /* changes under server->lock once suspended */
    struct exchange *queue_next;            /* worker queue; server->lock */
    struct exchange *list_next, *list_prev; /* server->waiting; server->lock */
    bool listed;
    bool filling_job; /* on the queue to fill its stream, not to run its handler */
    /* parking; server->lock */
    uint32_t park_ms;
    uint64_t park_until_ns;
    bool unparked;
    struct precheck_facts facts;
    const char *bearer; /* token to verify before the handler; NULL: none */
    char *body;         /* owned, capacity = facts.body_size + 1 */
    struct http_reply reply;
    struct http_stream stream;
    unsigned status; /* sent, for the log */
    uint64_t started_ns;
    bool counted_events, counted_feed, counted_parked;
    char *path_buf;
    char *target; /* owned, with path_buf behind it */
};

/* A reply that never changes, built once per encoding. Immutable once published. */
struct constant {
    const void *data;
    struct MHD_Response *plain, *gzip, *unchanged;
    char etag[ETAG_SIZE], etag_gzip[ETAG_SIZE];
};

struct http_server {
    struct http_config config;
    struct listener listeners[HTTP_LISTEN_MAX];
    unsigned listeners_count;

    /* Lock order: lock, then libmicrohttpd's own. conns_lock is taken alone. Never held while a
     * source's free or a handler runs; held while an event source's next runs. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct exchange *queue_head, *queue_tail;
    struct exchange *waiting; /* parked, or streaming: what the ticker looks at */
    bool stopping;
    bool workers_stop;
    pthread_t workers[8];
    unsigned workers_count;
    unsigned running; /* handlers and fills on workers now */

    pthread_mutex_t conns_lock;
    pthread_cond_t ticker_wake;
    struct conn *conns;
    unsigned conns_count;
    bool ticker_stop;
    pthread_t ticker;

    pthread_mutex_t constants_lock; /* for adding; readers use the atomic count */
    struct constant constants[CONSTANTS_MAX];
    _Atomic unsigned constants_count; /* release after a row is complete, acquire by readers */

    _Atomic uint64_t request_number;
    uint64_t request_prefix;
    _Atomic uint64_t requests_total[6], body_bytes_total;
    _Atomic uint64_t connections_total, connections_refused, connections_overdue;
    _Atomic unsigned events_open, parked, feeds_open;
    _Atomic unsigned exchanges; /* begun and not completed */
};

/* conn.c */
enum MHD_Result conn_accept(void *cls, const struct sockaddr *address, socklen_t size);
void conn_notify(void *cls, struct MHD_Connection *connection, void **socket_context,
                 enum MHD_ConnectionNotificationCode code);
void conn_deadline(struct http_server *s, struct conn *c, uint64_t overdue_ns, bool reading);
void *conn_ticker(void *server);

/* exchange.c */
void *exchange_begin(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **con_cls);
void exchange_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode code);
/* Head of a request: everything refusable before a body is read. */
int exchange_admit(struct exchange *x, const char *method, const char *version, unsigned *ret_fault,
                   struct err *e);

/* route.c */
int route_find(const struct http_server *s, struct exchange *x, const char *method,
               unsigned *ret_fault, struct err *e);
int route_query_check(const struct http_request *rq, struct err *e);

/* reply.c */
void reply_fail(struct exchange *x, unsigned fault, const struct err *e);
/* Queue the exchange's reply on its connection. Epoll thread. */
enum MHD_Result reply_send(struct exchange *x);
void reply_done(struct http_reply *reply);
void reply_add_common(struct MHD_Response *response);

/* encode.c */
bool encode_wants_gzip(const struct exchange *x);
int encode_gzip(const void *data, size_t size, char **ret_data, size_t *ret_size);
void encode_etag(const void *data, size_t size, char ret_etag[ETAG_SIZE]);
/* The tag of the compressed form: another representation has another strong tag. */
void encode_etag_gzip(const char *etag, char ret_etag[ETAG_SIZE]);
bool encode_etag_matches(const char *if_none_match, const char *etag);
/* Streaming gzip of a feed. */
void *encode_stream_new(void);
int encode_stream(void *state, const struct http_text *in, bool last, struct http_text *out);
void encode_stream_free(void *state);

/* stream.c */
struct MHD_Response *stream_response(struct exchange *x);
void stream_fill(struct exchange *x); /* worker */
void stream_done(struct exchange *x); /* frees sources; no lock held */
void stream_wake_locked(struct http_stream *stream);

/* worker.c */
void *worker_main(void *server);
void worker_push_locked(struct http_server *s, struct exchange *x);
void exchange_resume_locked(struct exchange *x);
void waiting_add_locked(struct http_server *s, struct exchange *x);
void waiting_remove_locked(struct http_server *s, struct exchange *x);

/* loop.c */
int loop_start(struct listener *l, struct err *e);
/* Resume a suspended connection. Any thread. */
void loop_resume(struct listener *l, struct MHD_Connection *connection);
void loop_quiesce(struct listener *l); /* after return no connection is accepted any more */
void loop_stop(struct listener *l);    /* nothing may be suspended; ends the daemon, too */

/* listen.c */
int listen_open(const struct http_listen *config, int *ret_fd, uint16_t *ret_port, struct err *e);
bool address_is_loopback(const struct sockaddr *address);

static inline uint64_t ms_to_ns(uint32_t ms)
{
    return (uint64_t)ms * NS_PER_MS;
}

#endif
