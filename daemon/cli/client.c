#include "daemon/cli/client.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <curl/curl.h>

#include "daemon/base/text.h"
#include "daemon/cli/term.h"

/* A stream that says nothing for so long is dead: the server's heartbeat comes every 15 s. */
#define STREAM_SILENCE_S  60
#define CONNECT_TIMEOUT_S 10

struct client {
    CURL *curl;
    char base[512];        /* "http://host:port/base", no slash at the end */
    char socket_path[108]; /* "" unless a Unix socket */
    char authorization[256];
    char curl_error[CURL_ERROR_SIZE];
    unsigned interrupts; /* already known: only a new one breaks a transfer off */
};

/* What one transfer writes into. */
struct sink {
    char *body;
    size_t size, capacity;
    bool too_large;
    FILE *file; /* a successful body goes here instead */
    int file_errno;
    struct sse *sse;
    bool stopped;
    const struct client_stream *stream;
    struct client *client;
};

static bool is_loopback(const char *base)
{
    const char *host = strstr(base, "://");
    static const char *const names[] = {"127.", "localhost", "[::1]"};
    for (size_t i = 0; host && i < sizeof names / sizeof names[0]; i++)
        if (strncmp(host + 3, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static enum cli_exit server_parse(struct client *client, const char *server, struct err *e)
{
    if (strncmp(server, "unix:", 5) == 0) {
        if (server[5] != '/' ||
            !text_copy(client->socket_path, sizeof client->socket_path, server + 5)) {
            err_set(e, ERR_INVALID, NULL,
                    "%s: after unix: comes an absolute path of at most 107 "
                    "bytes",
                    server);
            return CLI_USAGE;
        }
        text_copy(client->base, sizeof client->base, "http://localhost");
        return CLI_OK;
    }
    bool known = strncmp(server, "http://", 7) == 0 || strncmp(server, "https://", 8) == 0;
    if (!known || strpbrk(server, " ?#@") || strlen(server) >= sizeof client->base) {
        err_set(e, ERR_INVALID, NULL,
                "the server \"%.200s\" is not http://HOST:PORT, https://HOST or unix:/PATH",
                server);
        return CLI_USAGE;
    }
    text_copy(client->base, sizeof client->base, server);
    size_t length = strlen(client->base);
    while (length && client->base[length - 1] == '/')
        client->base[--length] = '\0';
    return CLI_OK;
}

enum cli_exit client_new(const char *server, const char *token, struct client **ret, struct err *e)
{
    cleanup_(client_free_p) struct client *client = calloc(1, sizeof *client);
    if (!client || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !(client->curl = curl_easy_init())) {
        err_set(e, ERR_INTERNAL, NULL, "out of memory");
        return CLI_FAILED;
    }
    enum cli_exit code = server_parse(client, server, e);
    if (code != CLI_OK)
        return code;
    if (token)
        snprintf(client->authorization, sizeof client->authorization, "Authorization: Bearer %s",
                 token);
    *ret = take_ptr(client);
    return CLI_OK;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    if (client->curl)
        curl_easy_cleanup(client->curl);
    explicit_bzero(client->authorization, sizeof client->authorization);
    free(client);
}

const char *client_page(const struct client *client)
{
    return client->socket_path[0] ? "" : client->base;
}

void client_interrupts_accept(struct client *client)
{
    client->interrupts = cli_interrupts();
}

/* ---- paths ---- */

static enum cli_exit path_add(char path[CLIENT_PATH_SIZE], const char *before, const char *name,
                              const char *value, struct err *e)
{
    char *from_curl = curl_easy_escape(NULL, value, 0);
    size_t used = strlen(path);
    int n = -1;
    if (from_curl)
        n = snprintf(path + used, CLIENT_PATH_SIZE - used, "%s%s%s%s", before, name,
                     name[0] ? "=" : "", from_curl);
    curl_free(from_curl);
    if (n < 0 || (size_t)n >= CLIENT_PATH_SIZE - used) {
        path[used] = '\0';
        err_set(e, ERR_TOO_LARGE, NULL, "\"%.100s\" is too long", value);
        return CLI_USAGE;
    }
    return CLI_OK;
}

enum cli_exit client_path_query(char path[CLIENT_PATH_SIZE], const char *name, const char *value,
                                struct err *e)
{
    if (!value || !value[0])
        return CLI_OK;
    return path_add(path, strchr(path, '?') ? "&" : "?", name, value, e);
}

enum cli_exit client_path_segment(char path[CLIENT_PATH_SIZE], const char *segment, struct err *e)
{
    return path_add(path, "/", "", segment, e);
}

/* ---- transfers ---- */

static size_t sink_keep(struct sink *sink, const char *bytes, size_t count)
{
    if (count > CLIENT_BODY_MAX - sink->size) {
        sink->too_large = true;
        return 0;
    }
    if (sink->size + count + 1 > sink->capacity) {
        size_t capacity = 2 * (sink->size + count) + 4096;
        char *body = realloc(sink->body, capacity);
        if (!body)
            return 0;
        sink->body = body;
        sink->capacity = capacity;
    }
    memcpy(sink->body + sink->size, bytes, count);
    sink->size += count;
    sink->body[sink->size] = '\0';
    return count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct sink *sink = ctx;
    long status = 0;
    curl_easy_getinfo(sink->client->curl, CURLINFO_RESPONSE_CODE, &status);
    bool good = status >= 200 && status < 300;
    (void)size; /* always 1 */
    if (good && sink->sse) {
        sink->stopped = !sse_feed(sink->sse, bytes, count);
        return sink->stopped ? 0 : count;
    }
    if (good && sink->file) {
        if (fwrite(bytes, 1, count, sink->file) == count)
            return count;
        sink->file_errno = errno;
        return 0;
    }
    return sink_keep(sink, bytes, count);
}

/* About once a second, and whenever something happens. Non-zero breaks the transfer off. */
static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct sink *sink = ctx;
    (void)a, (void)b, (void)c, (void)d;
    if (cli_interrupts() > sink->client->interrupts)
        return 1;
    if (sink->stream && sink->stream->tick && !sink->stream->tick(sink->stream->ctx)) {
        sink->stopped = true;
        return 1;
    }
    return 0;
}

struct call {
    const char *path, *body, *key, *accept, *event_id;
    const char *content_type;
};

static struct curl_slist *header_add(struct curl_slist *list, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static struct curl_slist *header_add(struct curl_slist *list, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    struct curl_slist *longer = curl_slist_append(list, line);
    return longer ? longer : list;
}

static struct curl_slist *headers_make(const struct client *client, const struct call *call)
{
    struct curl_slist *list = header_add(NULL, "Accept: %s", call->accept);
    if (client->authorization[0])
        list = header_add(list, "%s", client->authorization);
    if (call->body)
        list = header_add(list, "Content-Type: application/json");
    if (call->key)
        list = header_add(list, "Idempotency-Key: %s", call->key);
    if (call->event_id && call->event_id[0])
        list = header_add(list, "Last-Event-ID: %s", call->event_id);
    return header_add(list, "Expect:");
}

static void transfer_setup(struct client *client, const struct call *call, struct sink *sink,
                           struct curl_slist *headers)
{
    CURL *curl = client->curl;
    char url[sizeof client->base + CLIENT_PATH_SIZE];
    snprintf(url, sizeof url, "%s%s", client->base, call->path);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->curl_error);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "heapmark/" HEAPMARK_VERSION);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, sink->sse ? NULL : "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, sink);
    if (client->socket_path[0])
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
    if (client->socket_path[0] || is_loopback(client->base))
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (sink->sse || sink->file) {
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STREAM_SILENCE_S);
    } else {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)CLIENT_TIMEOUT_S);
    }
    if (call->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(call->body));
    }
}

static enum cli_exit transport_failed(struct client *client, CURLcode result,
                                      const struct sink *sink, struct err *e)
{
    const char *where = client->socket_path[0] ? client->socket_path : client->base;
    if (cli_interrupts() > client->interrupts) {
        client->interrupts = cli_interrupts();
        err_set(e, ERR_CANCELLED, NULL, "interrupted");
        return CLI_INTERRUPTED;
    }
    if (sink->file_errno) {
        err_set_errno(e, ERR_IO, sink->file_errno, "cannot write the output");
        return CLI_FAILED;
    }
    if (sink->too_large) {
        err_set(e, ERR_TOO_LARGE, NULL, "the reply is larger than %zu MiB", CLIENT_BODY_MAX >> 20);
        return CLI_FAILED;
    }
    const char *why = client->curl_error[0] ? client->curl_error : curl_easy_strerror(result);
    err_set(e, ERR_UNAVAILABLE, NULL, "no answer from %s: %s", where, why);
    if (result == CURLE_OPERATION_TIMEDOUT && !sink->sse)
        return CLI_TIMEOUT;
    return CLI_UNREACHABLE;
}

static enum cli_exit status_exit(long status)
{
    switch (status) {
    case 401:
    case 403:
        return CLI_AUTH;
    case 400:
    case 404:
    case 413:
    case 415:
    case 422:
        return CLI_USAGE;
    default:
        return CLI_FAILED;
    }
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text ? text : "";
}

/* An error reply, problem document or not, as one clean line. */
static enum cli_exit problem_take(long status, const struct sink *sink, struct err *e)
{
    cleanup_(json_decref_p) json_t *json =
        sink->body ? json_loadb(sink->body, sink->size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *title = text_of(json, "title"), *detail = text_of(json, "detail");
    const char *pointer = text_of(json, "pointer"), *request = text_of(json, "request_id");
    char line[900], clean[900];
    if (title[0] || detail[0])
        snprintf(line, sizeof line, "%s%s%s%s%s%s", title, title[0] && detail[0] ? ": " : "",
                 detail, pointer[0] ? " (at " : "", pointer, pointer[0] ? ")" : "");
    else
        snprintf(line, sizeof line, "the server replied %ld without saying why", status);
    if (status == 401)
        snprintf(line + strlen(line), sizeof line - strlen(line),
                 "; give a token by --token-file or $HEAPMARK_TOKEN");
    if (status >= 500 && request[0])
        snprintf(line + strlen(line), sizeof line - strlen(line), " [request %s]", request);
    term_clean(clean, sizeof clean, line);
    err_set(e, ERR_INVALID, pointer, "%s", clean);
    return status_exit(status);
}

static enum cli_exit transfer(struct client *client, const struct call *call, struct sink *sink,
                              struct err *e)
{
    struct curl_slist *headers = headers_make(client, call);
    client->curl_error[0] = '\0';
    sink->client = client;
    transfer_setup(client, call, sink, headers);
    CURLcode result = curl_easy_perform(client->curl);
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (sink->stopped)
        return CLI_OK;
    if (status >= 300 && result == CURLE_OK)
        return problem_take(status, sink, e);
    if (result != CURLE_OK)
        return transport_failed(client, result, sink, e);
    return CLI_OK;
}

static enum cli_exit json_call(struct client *client, const struct call *call, json_t **ret_json,
                               struct err *e)
{
    struct sink sink = {0};
    enum cli_exit code = transfer(client, call, &sink, e);
    cleanup_(free_p) char *body = sink.body;
    if (code != CLI_OK)
        return code;
    json_error_t where;
    json_t *json = json_loadb(body ? body : "", sink.size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(json)) {
        json_decref(json);
        err_set(e, ERR_MALFORMED, NULL, "%s: the reply is not a JSON object: is this a heapmarkd?",
                call->path);
        return CLI_FAILED;
    }
    *ret_json = json;
    return CLI_OK;
}

enum cli_exit client_get(struct client *client, const char *path, json_t **ret_json, struct err *e)
{
    const struct call call = {.path = path, .accept = "application/json"};
    return json_call(client, &call, ret_json, e);
}

enum cli_exit client_post(struct client *client, const char *path, const char *body,
                          const char *key, json_t **ret_json, struct err *e)
{
    const struct call call = {.path = path, .body = body, .key = key, .accept = "application/json"};
    return json_call(client, &call, ret_json, e);
}

enum cli_exit client_download(struct client *client, const char *path, const char *accept,
                              FILE *out, struct err *e)
{
    const struct call call = {.path = path, .accept = accept};
    struct sink sink = {.file = out};
    enum cli_exit code = transfer(client, &call, &sink, e);
    free(sink.body);
    return code;
}

enum cli_exit client_events(struct client *client, const char *path,
                            const struct client_stream *stream, struct err *e)
{
    const struct call call = {
        .path = path, .accept = "text/event-stream", .event_id = stream->sse->id};
    struct sink sink = {.sse = stream->sse, .stream = stream};
    sse_restart(stream->sse);
    enum cli_exit code = transfer(client, &call, &sink, e);
    free(sink.body);
    return code;
}

/* ---- lists ---- */

static enum cli_exit list_take(json_t *items, const json_t *page, size_t limit, const char *path,
                               struct err *e)
{
    const json_t *more = json_object_get(page, "items");
    size_t i;
    json_t *item;
    if (!json_is_array(more)) {
        err_set(e, ERR_MALFORMED, NULL, "%s: the reply has no list of items", path);
        return CLI_FAILED;
    }
    json_array_foreach(more, i, item)
    {
        if (limit && json_array_size(items) == limit)
            break;
        json_array_append(items, item);
    }
    return CLI_OK;
}

enum cli_exit client_list(struct client *client, const char *path, size_t limit, json_t **ret_items,
                          struct err *e)
{
    cleanup_(json_decref_p) json_t *items = json_array();
    char at[CLIENT_PATH_SIZE], cursor[512] = "";
    do {
        cleanup_(json_decref_p) json_t *page = NULL;
        text_copy(at, sizeof at, path);
        enum cli_exit code = client_path_query(at, "cursor", cursor, e);
        if (code == CLI_OK)
            code = client_get(client, at, &page, e);
        if (code == CLI_OK)
            code = list_take(items, page, limit, path, e);
        if (code != CLI_OK)
            return code;
        const char *next = text_of(page, "next");
        if (strcmp(next, cursor) == 0) /* also both empty: the end */
            break;
        if (!text_copy(cursor, sizeof cursor, next)) {
            err_set(e, ERR_TOO_LARGE, NULL, "%s: the cursor is too long", path);
            return CLI_FAILED;
        }
    } while (cursor[0] && (!limit || json_array_size(items) < limit));
    *ret_items = take_ptr(items);
    return CLI_OK;
}
