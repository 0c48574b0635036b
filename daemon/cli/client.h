/* The HTTP client: the only user of libcurl. One connection, kept; single thread. */
#ifndef HEAPMARK_DAEMON_CLI_CLIENT_H
#define HEAPMARK_DAEMON_CLI_CLIENT_H

#include <jansson.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"
#include "daemon/cli/cli.h"
#include "daemon/cli/sse.h"

#define CLIENT_DEFAULT_SERVER "http://127.0.0.1:8080"
#define CLIENT_BODY_MAX       ((size_t)64 << 20) /* of a reply held in memory */
#define CLIENT_TIMEOUT_S      30

DEFINE_CLEANUP(json_t *, json_decref)

struct client;

/* `server` as --server; `token` may be NULL. CLI_USAGE when the server's name makes no sense. */
enum cli_exit client_new(const char *server, const char *token, struct client **ret, struct err *e);
void client_free(struct client *client);
DEFINE_CLEANUP(struct client *, client_free)

/* "http://…" for a person to open, or "" when the server is a Unix socket. */
const char *client_page(const struct client *client);

/* Interrupts up to now were answered; only a further one breaks a transfer off. */
void client_interrupts_accept(struct client *client);

/* Append "?name=value" or "&name=value", escaped, to a path. NULL or "" values add nothing. */
#define CLIENT_PATH_SIZE 4096
enum cli_exit client_path_query(char path[CLIENT_PATH_SIZE], const char *name, const char *value,
                                struct err *e);
/* Append one escaped segment and its slash before it. */
enum cli_exit client_path_segment(char path[CLIENT_PATH_SIZE], const char *segment, struct err *e);

/* GET, or POST when body is not NULL ("" posts no body), a JSON document. `key` is an
 * Idempotency-Key or NULL. The reply's status decides the exit code; a problem document becomes
 * e->message (its pointer e->field). The caller owns *ret_json. */
enum cli_exit client_get(struct client *client, const char *path, json_t **ret_json, struct err *e);
enum cli_exit client_post(struct client *client, const char *path, const char *body,
                          const char *key, json_t **ret_json, struct err *e);

/* GET and write the body to `out` as it comes, for exports. */
enum cli_exit client_download(struct client *client, const char *path, const char *accept,
                              FILE *out, struct err *e);

/* All items of a list, following its cursors, at most `limit` (0: all). */
enum cli_exit client_list(struct client *client, const char *path, size_t limit, json_t **ret_items,
                          struct err *e);

/* Read events until the stream ends, breaks, the handler stops it, an interrupt comes or `tick`
 * (called about once a second) returns false. Sends s->id as Last-Event-ID. CLI_OK: ended or
 * stopped in good order; CLI_UNREACHABLE: broken, try again. */
struct client_stream {
    struct sse *sse;
    bool (*tick)(void *ctx);
    void *ctx;
};
enum cli_exit client_events(struct client *client, const char *path,
                            const struct client_stream *stream, struct err *e);

#endif
