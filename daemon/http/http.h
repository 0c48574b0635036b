/* The HTTP server: limits, deadlines, routing, replies. The only user of libmicrohttpd.
 *
 * One thread per listener (the epoll thread below) parses and answers; a few workers run the
 * handlers that may wait (for the database), while their connection is suspended. What a resource
 * is, is daemon/api's business; what a request may look like, how long it may take and which status
 * an error becomes is decided here.
 *
 * Threads: a handler of an HTTP_INLINE route runs on the epoll thread and must not block, every
 * other one on a worker. Its request and reply belong to it until it returns. */
#ifndef HEAPMARK_DAEMON_HTTP_HTTP_H
#define HEAPMARK_DAEMON_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/err.h"

#define HTTP_PARAMS_MAX    3     /* {name} segments of one route */
#define HTTP_QUERY_MAX     24    /* parameters of one query */
#define HTTP_LISTEN_MAX    8     /* listeners of one server */
#define HTTP_HOSTS_MAX     32    /* names of the Host allow-list */
#define HTTP_TARGET_MAX    4096  /* bytes of a request target */
#define HTTP_HEADERS_MAX   64    /* header lines of one request */
#define HTTP_HEAD_MAX      16384 /* bytes of request line and headers */
#define HTTP_PRINCIPAL_MAX 64

struct http_server;
struct http_request;
struct http_reply;

enum http_method { HTTP_GET, HTTP_POST, HTTP_METHOD_COUNT_ };
const char *http_method_name(enum http_method method);

enum http_route_flag {
    HTTP_INLINE = 1u << 0,  /* answers at once from memory, on the epoll thread; scope must be 0 */
    HTTP_NO_HEAD = 1u << 1, /* HEAD is not offered (event streams) */
    HTTP_BODY = 1u << 2,    /* takes a JSON body; without this flag a body is refused */
    HTTP_EVENTS = 1u << 3,  /* may answer with an event stream */
    HTTP_ANY_QUERY = 1u << 4, /* the query is for scripts of the page, not for us */
};

enum http_query_type { HTTP_TEXT, HTTP_COUNT, HTTP_TIME, HTTP_CHOICE, HTTP_CURSOR };

/* One query parameter a route knows. What is not listed is refused. */
struct http_query_row {
    const char *name;
    enum http_query_type type;
    uint64_t min, max;          /* COUNT: inclusive */
    const char *const *choices; /* CHOICE: NULL-terminated */
    const char *help;
};

struct http_route {
    enum http_method method;
    const char *pattern; /* "/api/v1/jobs/{id}/cells" */
    unsigned scope;      /* of daemon/store's enum token_scope; 0: everybody */
    unsigned flags;
    /* 0: *reply is the answer. HTTP_PARKED: see http_park. Negative: e becomes a problem. */
    int (*handle)(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e);
    const struct http_query_row *query; /* ended by a NULL name; NULL: none */
    /* For the OpenAPI document. */
    const char *name;    /* operationId */
    const char *summary; /* one line */
    const char *returns; /* component schema of the success reply; NULL: not JSON */
    const char *accepts; /* component schema of the body; NULL: none */
    unsigned success;    /* status; 0: 200 */
};

struct http_principal {
    char name[HTTP_PRINCIPAL_MAX]; /* token name, or "local" */
    unsigned scopes;
};

struct http_query_value {
    const char *name, *value; /* decoded, valid UTF-8, no control characters */
};

struct http_request {
    const struct http_route *route;
    enum http_method method;
    bool head;                           /* GET without a body in the reply */
    const char *path;                    /* decoded */
    const char *target;                  /* as it came, query included */
    const char *params[HTTP_PARAMS_MAX]; /* {name} segments, decoded, in order */
    struct http_query_value query[HTTP_QUERY_MAX];
    unsigned query_count;
    const char *body; /* NUL-terminated; "" when none */
    size_t body_size;
    const char *accept, *idempotency_key, *last_event_id; /* NULL: not sent */
    struct http_principal principal;
    char id[20]; /* of this request, for logs and problems */
    /* The handler's own, kept while parked; freed by user_free when the request ends. */
    void *user;
    void (*user_free)(void *user);
    bool park_expired; /* the wait given to http_park is over */
};

/* Value of a query parameter, NULL when not given. */
const char *http_query_get(const struct http_request *rq, const char *name);
/* COUNT parameters were checked against their row; `otherwise` when not given. */
uint64_t http_query_count(const struct http_request *rq, const char *name, uint64_t otherwise);
/* TIME parameters (RFC 3339 UTC, or a date) in microseconds; 0 when not given. */
int64_t http_query_time(const struct http_request *rq, const char *name);
/* "2026-01-31T12:00:00.5Z" or "2026-01-31" to microseconds. 0 or -EINVAL. */
int http_time_parse(const char *text, int64_t *ret_us);

/* Does Accept allow this media type ("application/json")? True without the header. */
bool http_accepts(const struct http_request *rq, const char *media_type);
/* Is it named there literally (wildcards do not count)? For choosing among formats. */
bool http_prefers(const struct http_request *rq, const char *media_type);

/* ---- replies ---- */

/* A body made piece by piece. `next` runs on a worker whenever the client has taken what was
 * there: appends to a growing text; 1 more will come, 0 this was the last, negative: give up, the
 * client sees a broken transfer. A slow client costs no thread. `free` is called once. */
struct http_text;
struct http_feed {
    int (*next)(void *ctx, struct http_text *out);
    void (*free)(void *ctx);
    void *ctx;
};

/* An event stream. `next` runs on the epoll thread: copies the next events as SSE text, 0 for
 * none now, -ENODATA at the end. Whoever brings news calls http_events_wake. */
struct http_stream;
struct http_events {
    int (*next)(void *ctx, char *buf, size_t buf_size);
    void (*free)(void *ctx);
    void *ctx;
};

/* Status 200 and no body until one of these is called. */
void http_reply_status(struct http_reply *reply, unsigned status);
/* Another header, at most four; left out without memory. Control characters in value are a bug
 * (assert). */
void http_reply_header(struct http_reply *reply, const char *name, const char *value);
/* malloc'ed body; ownership moves here. `content_type` is a constant. */
void http_reply_take(struct http_reply *reply, const char *content_type, char *body, size_t size);
/* A body that never changes while the server runs; its compressed form and ETag are kept. */
void http_reply_constant(struct http_reply *reply, const char *content_type, const void *body,
                         size_t size);
/* Give this reply a strong ETag over its body, and answer If-None-Match with 304. */
void http_reply_etag(struct http_reply *reply);
void http_reply_feed(struct http_reply *reply, const char *content_type,
                     const struct http_feed *feed);
/* ERR_LIMIT when too many streams are open (then events->free is not called). The stream may be
 * woken until events->free returns. */
int http_reply_events(struct http_request *rq, struct http_reply *reply,
                      const struct http_events *events, struct http_stream **ret_stream,
                      struct err *e);
void http_events_wake(struct http_stream *stream); /* any thread, never blocks */

/* Put the request aside: the handler returns HTTP_PARKED right after this and is called again, on
 * a worker, after http_unpark or when wait_ms are over (rq->park_expired). http_unpark may come
 * from any thread at any time until rq->user_free has returned, also before http_park. */
#define HTTP_PARKED 1
void http_park(struct http_request *rq, uint32_t wait_ms);
void http_unpark(struct http_request *rq);

/* Growing text. After a failed allocation everything is ignored and http_text_ok is false. */
struct http_text {
    char *data;
    size_t size, capacity;
    bool failed;
};
void http_text_add(struct http_text *text, const void *data, size_t size);
void http_text_puts(struct http_text *text, const char *string);
void http_text_printf(struct http_text *text, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes. */
void http_text_json(struct http_text *text, const char *string);
void http_text_done(struct http_text *text);

/* ---- problems: which status an error becomes ---- */

/* What HTTP itself refuses; continues enum err_code, so one number names a row of the table. */
enum http_fault {
    HTTP_FAULT_BAD_REQUEST = ERR_CODE_COUNT_,
    HTTP_FAULT_METHOD,
    HTTP_FAULT_MISDIRECTED,
    HTTP_FAULT_MEDIA_TYPE,
    HTTP_FAULT_NOT_ACCEPTABLE,
    HTTP_FAULT_BODY_TOO_LARGE,
    HTTP_FAULT_BODY_UNEXPECTED,
    HTTP_FAULT_LENGTH_REQUIRED,
    HTTP_FAULT_URI_TOO_LONG,
    HTTP_FAULT_HEADERS_TOO_LARGE,
    HTTP_FAULT_CROSS_ORIGIN,
    HTTP_FAULT_STOPPING,
    HTTP_FAULT_COUNT_
};
struct http_problem {
    unsigned status;
    const char *slug, *title, *help;
};
/* fault: enum err_code or enum http_fault. Never NULL. */
const struct http_problem *http_problem(unsigned fault);

/* ---- the server ---- */

enum http_listen_kind { HTTP_LISTEN_INET, HTTP_LISTEN_UNIX };
struct http_listen {
    enum http_listen_kind kind;
    char address[108]; /* number ("127.0.0.1", "::1") or the path of the socket */
    uint16_t port;     /* 0: any free one */
    bool loopback;     /* only this host can reach it: 127/8, ::1, unix */
};
/* "127.0.0.1:8080", "[::1]:0", "unix:/run/heapmark/heapmark.sock". */
int http_listen_parse(const char *text, struct http_listen *ret, struct err *e);

struct http_auth {
    /* Could this be a token (form and checksum)? Epoll thread; must not block. */
    bool (*plausible)(void *ctx, const char *token);
    /* Whose is it? Worker. ERR_UNAUTHORIZED when nobody's. */
    int (*verify)(void *ctx, const char *token, struct http_principal *ret, struct err *e);
    /* What a client without a token may do: over a loopback address; over a Unix socket when it
     * runs as the server's user or root; elsewhere. */
    unsigned scopes_loopback, scopes_owner, scopes_remote;
};

struct http_config {
    struct http_listen listen[HTTP_LISTEN_MAX];
    unsigned listen_count;
    /* Names a Host header may have, lower case, without port. Loopback names (on loopback
     * listeners) and the listen addresses themselves are always allowed. */
    const char *hosts[HTTP_HOSTS_MAX];
    unsigned hosts_count;
    const struct http_route *const *routes; /* NULL-terminated */
    void *ctx;                              /* handed to handlers and auth */
    struct http_auth auth;
    unsigned workers_count; /* 2-4 */
    /* 0: the default in parentheses. */
    unsigned connections_max;        /* per listener (256) */
    unsigned connections_per_ip_max; /* not on loopback (32) */
    unsigned events_max;             /* event streams and parked requests each (64) */
    unsigned feeds_max;              /* streamed bodies (8) */
    size_t body_bytes_max;           /* (64 KiB) */
    uint32_t request_ms_max;         /* head and body must be here by then (10 s) */
    uint32_t reply_ms_max;           /* a reply that is no stream must be taken by then (60 s) */
    uint32_t feed_ms_max;            /* a streamed body must be taken by then (600 s) */
    uint32_t idle_s_max;             /* connection without a byte (30 s) */
    uint32_t heartbeat_ms;           /* of event streams (15 s) */
    uint32_t tick_ms;                /* of the deadline thread (1 s) */
};

/* Open the listeners and start answering. ERR_CONFLICT: address in use; ERR_FORBIDDEN: port
 * below 1024 without the right. Strings of config are borrowed until http_server_stop. */
int http_server_start(const struct http_config *config, struct http_server **ret, struct err *e);
/* The real port of listener `index`; 0 for a Unix socket. */
uint16_t http_server_port(const struct http_server *server, unsigned index);
/* No new connections; streams and parked requests end, running handlers are waited for. */
void http_server_stop(struct http_server *server);
DEFINE_CLEANUP(struct http_server *, http_server_stop)

const char *http_library_version(void); /* of libmicrohttpd */

struct http_stats {
    unsigned connections, events_open, parked, feeds_open;
    uint64_t connections_total, connections_refused, connections_overdue;
    uint64_t requests_total[6]; /* by first digit of the status; 0: ended without a reply */
    uint64_t body_bytes_total;  /* received */
};
void http_server_stats(struct http_server *server, struct http_stats *ret);

#endif
