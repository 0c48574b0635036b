/* The REST API and the pages: what every address means. Knows the store, the job types, the
 * catalogue and the events; is called by daemon/http on its threads; is put together by
 * heapmarkd's main:
 *
 *   struct api_context api = {…};            fill the borrowed parts
 *   api_start(&api, &e);                     checks, then owns api.private_
 *   http.routes = api_routes; http.ctx = &api; api_auth(&api, &http.auth);
 *   api_check_listen(&api, http.listen, http.listen_count, &e);
 *   http_server_start(&http, &server, &e); api_set_http(&api, server);
 *   …
 *   api_drain(&api);                         /readyz says no, jobs are refused
 *   api_set_http(&api, NULL) is not needed: http_server_stop(server) ends every handler
 *   api_stop(&api);
 */
#ifndef HEAPMARK_DAEMON_API_API_H
#define HEAPMARK_DAEMON_API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/err.h"
#include "daemon/catalog/catalog.h"
#include "daemon/http/http.h"
#include "daemon/job/events.h"
#include "daemon/job/job.h"
#include "daemon/store/store.h"
#include "daemon/topo/fingerprint.h"
#include "daemon/topo/topo.h"
#include "schema/wire.h"

#define API_PREFIX       "/api/v1"
#define API_LIST_MAX     200 /* items of one page */
#define API_LIST_DEFAULT 50
#define API_WAIT_S_MAX   60
#define API_DEADLINE_MS  5000 /* of the queries behind one reply */
#define API_TOKEN_SIZE   64   /* of a token's text, NUL included */

/* What is known of this host, from where main knows it. Any thread. */
struct api_host {
    const char *key, *name; /* borrowed for the life of the context */
    const struct topo *topo;
    void (*facts)(void *ctx, struct host_facts *ret);
    /* Capabilities the supervisor announced last; 0 or -errno when there is no supervisor. */
    int (*hello)(void *ctx, struct wire_hello *ret);
    void *ctx;
};

/* The scheduler, as far as the API needs it. Never blocks. */
struct api_queue {
    void (*wake)(void *ctx);
    void (*cancel)(void *ctx, const char *job_uuid);
    void *ctx;
};

struct api_private;

struct api_context {
    /* Borrowed, constant from api_start to api_stop. */
    struct store *store;
    struct events *events;
    struct catalog *catalog;
    const struct job_limits *limits;
    struct api_host host;
    struct api_queue queue;
    const struct embedded_file *web_files; /* the pages; NULL: none */
    uint32_t jobs_queued_max;              /* 0: no bound */
    bool public_read;                      /* reading needs no token from anywhere */

    struct api_private *private_; /* api_start, api_stop */
};

int api_start(struct api_context *api, struct err *e);
void api_stop(struct api_context *api);

/* The routes, for http_config and for the OpenAPI generator: NULL-terminated list of tables. */
extern const struct http_route *const api_routes[];
void api_auth(struct api_context *api, struct http_auth *ret);

/* ERR_FORBIDDEN unless every address is this host only or there is a usable token: a server that
 * others can reach must not start without one. */
int api_check_listen(struct api_context *api, const struct http_listen *listen, unsigned count,
                     struct err *e);

/* The server whose figures /metrics shows. Any thread, once. */
void api_set_http(struct api_context *api, struct http_server *server);
/* From now on /readyz answers 503 and no job is taken. Any thread. */
void api_drain(struct api_context *api);

/* ---- tokens, also for tools without a server ---- */

/* A new token: "hmk_", 160 random bits in base 32, a checksum of 30 bits. */
int api_token_make(char ret_token[API_TOKEN_SIZE], struct err *e);
/* Form and checksum only. */
bool api_token_plausible(const char *token);
/* "read", "submit", "upload", "admin" to a bit, or -ENOENT. */
int api_scope_parse(const char *name);
const char *api_scope_name(unsigned scope_bit);

/* The OpenAPI 3.1 document built from the routes and the rows; a new string, NULL without memory.
 * schema/openapi.json is this text. */
char *api_openapi_text(void);

#endif
