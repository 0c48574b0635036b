/* From a reply to bytes: problems, security headers, entity tags, compression. */
#include "daemon/http/internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define GZIP_SIZE_MIN 1024

static const struct {
    const char *name, *value;
} common_headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
     "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-cache"},
};

void reply_add_common(struct MHD_Response *response)
{
    for (size_t i = 0; i < sizeof common_headers / sizeof common_headers[0]; i++)
        (void)MHD_add_response_header(response, common_headers[i].name, common_headers[i].value);
}

void http_reply_status(struct http_reply *reply, unsigned status)
{
    reply->status = status;
}

void http_reply_header(struct http_reply *reply, const char *name, const char *value)
{
    assert(reply->headers_count < REPLY_HEADERS_MAX);
    for (const char *p = value; *p; p++)
        assert((unsigned char)*p >= 0x20);
    char *copy = strdup(value);
    if (!copy)
        return;
    reply->headers[reply->headers_count++] = (struct reply_header){.name = name, .value = copy};
}

void http_reply_take(struct http_reply *reply, const char *content_type, char *body, size_t size)
{
    free(reply->body);
    reply->content_type = content_type;
    reply->body = body;
    reply->body_size = size;
}

void http_reply_constant(struct http_reply *reply, const char *content_type, const void *body,
                         size_t size)
{
    reply->content_type = content_type;
    reply->constant = body;
    reply->constant_size = size;
}

void http_reply_etag(struct http_reply *reply)
{
    reply->etag = true;
}

void reply_fail(struct exchange *x, unsigned fault, const struct err *e)
{
    x->reply.has_error = true;
    x->reply.fault = fault;
    x->reply.error = *e;
}

void reply_done(struct http_reply *reply)
{
    free(reply->body);
    reply->body = NULL;
    for (unsigned i = 0; i < reply->headers_count; i++)
        free(reply->headers[i].value);
}

static void problem_headers(struct MHD_Response *response, const struct exchange *x)
{
    const struct http_problem *problem = http_problem(x->reply.fault);
    if (problem->status == 401)
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"heapmark\"");
    if (problem->status == 405 && x->reply.allow)
        (void)MHD_add_response_header(response, "Allow", x->reply.allow);
    if (problem->status == 429 || problem->status == 503)
        (void)MHD_add_response_header(response, "Retry-After", "5");
}

static struct MHD_Response *problem_response(struct exchange *x)
{
    const struct http_problem *problem = http_problem(x->reply.fault);
    const struct err *e = &x->reply.error;
    struct http_text text = {0};
    http_text_printf(&text, "{\"type\":\"/problems/%s\",\"title\":", problem->slug);
    http_text_json(&text, problem->title);
    http_text_printf(&text, ",\"status\":%u,\"detail\":", problem->status);
    /* What failed inside is for the log, not for strangers. */
    http_text_json(&text, e->message[0] ? e->message : problem->help);
    if (e->field[0]) {
        http_text_puts(&text, ",\"pointer\":");
        http_text_json(&text, e->field);
    }
    http_text_printf(&text, ",\"request_id\":\"%s\"}\n", x->rq.id);
    if (text.failed) {
        http_text_done(&text);
        return NULL;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text.size, text.data, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        http_text_done(&text);
        return NULL;
    }
    (void)MHD_add_response_header(response, "Content-Type", "application/problem+json");
    problem_headers(response, x);
    x->status = problem->status;
    return response;
}

/* Compress the body if that pays. True when x->reply.body is gzip now. */
static bool body_compress(struct exchange *x)
{
    char *packed;
    size_t size;
    if (x->reply.body_size < GZIP_SIZE_MIN || !encode_wants_gzip(x) ||
        encode_gzip(x->reply.body, x->reply.body_size, &packed, &size) < 0)
        return false;
    free(x->reply.body);
    x->reply.body = packed;
    x->reply.body_size = size;
    return true;
}

static struct MHD_Response *body_response(struct exchange *x)
{
    struct http_reply *reply = &x->reply;
    char etag[ETAG_SIZE] = "";
    if (reply->etag && x->status == 200)
        encode_etag(reply->body, reply->body_size, etag);
    bool packed = body_compress(x);
    if (packed && etag[0])
        encode_etag_gzip(etag, etag);
    if (etag[0] && encode_etag_matches(x->facts.if_none_match, etag)) {
        x->status = 304;
        reply->body_size = 0;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        reply->body_size, reply->body_size ? reply->body : NULL,
        reply->body_size ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response)
        return NULL;
    if (reply->body_size)
        (void)take_ptr(reply->body);
    if (packed && x->status != 304)
        (void)MHD_add_response_header(response, "Content-Encoding", "gzip");
    (void)MHD_add_response_header(response, "Vary", "Accept, Accept-Encoding");
    if (etag[0])
        (void)MHD_add_response_header(response, "ETag", etag);
    if (reply->content_type && x->status != 304)
        (void)MHD_add_response_header(response, "Content-Type", reply->content_type);
    return response;
}

static struct MHD_Response *reply_response(struct exchange *x)
{
    if (x->reply.has_error)
        return problem_response(x);
    x->status = x->reply.status ? x->reply.status : 200;
    if (!x->reply.has_feed && !x->reply.has_events)
        return body_response(x);
    struct MHD_Response *response = stream_response(x);
    if (!response)
        return NULL;
    (void)MHD_add_response_header(response, "Content-Type", x->reply.content_type);
    (void)MHD_add_response_header(response, "X-Accel-Buffering", "no");
    if (x->stream.deflate)
        (void)MHD_add_response_header(response, "Content-Encoding", "gzip");
    if (x->reply.has_feed)
        (void)MHD_add_response_header(response, "Vary", "Accept, Accept-Encoding");
    return response;
}

/* ---- constants ---- */

static struct MHD_Response *constant_response(const struct constant *c, const char *content_type,
                                              const void *data, size_t size, bool packed)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        size, (void *)(uintptr_t)data, packed ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response)
        return NULL;
    reply_add_common(response);
    (void)MHD_add_response_header(response, "Vary", "Accept-Encoding");
    (void)MHD_add_response_header(response, "ETag", packed ? c->etag_gzip : c->etag);
    if (content_type)
        (void)MHD_add_response_header(response, "Content-Type", content_type);
    if (packed)
        (void)MHD_add_response_header(response, "Content-Encoding", "gzip");
    return response;
}

static bool constant_build(struct constant *c, const struct http_reply *reply)
{
    encode_etag(reply->constant, reply->constant_size, c->etag);
    encode_etag_gzip(c->etag, c->etag_gzip);
    c->plain =
        constant_response(c, reply->content_type, reply->constant, reply->constant_size, false);
    c->unchanged = constant_response(c, NULL, "", 0, false);
    if (!c->plain || !c->unchanged)
        return false;
    char *packed;
    size_t size;
    if (reply->constant_size >= GZIP_SIZE_MIN &&
        encode_gzip(reply->constant, reply->constant_size, &packed, &size) == 0) {
        if (size < reply->constant_size)
            c->gzip = constant_response(c, reply->content_type, packed, size, true);
        if (!c->gzip)
            free(packed);
    }
    c->data = reply->constant;
    return true;
}

static struct constant *constant_find(struct http_server *s, const void *data)
{
    /* Acquire: pairs with the release in constant_add; rows below the count are complete. */
    unsigned count = atomic_load_explicit(&s->constants_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++)
        if (s->constants[i].data == data)
            return &s->constants[i];
    return NULL;
}

static struct constant *constant_add(struct http_server *s, const struct http_reply *reply)
{
    pthread_mutex_lock(&s->constants_lock);
    struct constant *c = constant_find(s, reply->constant);
    unsigned count = atomic_load_explicit(&s->constants_count, memory_order_relaxed);
    if (!c && count < CONSTANTS_MAX && constant_build(&s->constants[count], reply)) {
        c = &s->constants[count];
        atomic_store_explicit(&s->constants_count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&s->constants_lock);
    return c;
}

static enum MHD_Result constant_send(struct exchange *x)
{
    struct http_server *s = x->listener->server;
    struct constant *c = constant_find(s, x->reply.constant);
    if (!c)
        c = constant_add(s, &x->reply);
    if (!c)
        return MHD_NO;
    bool packed = c->gzip && encode_wants_gzip(x);
    x->status = 200;
    struct MHD_Response *response = packed ? c->gzip : c->plain;
    if (x->facts.if_none_match &&
        encode_etag_matches(x->facts.if_none_match, packed ? c->etag_gzip : c->etag)) {
        x->status = 304;
        response = c->unchanged;
    }
    return MHD_queue_response(x->connection, x->status, response);
}

enum MHD_Result reply_send(struct exchange *x)
{
    if (!x->reply.has_error && x->reply.constant)
        return constant_send(x);
    struct MHD_Response *response = reply_response(x);
    if (!response)
        return MHD_NO;
    reply_add_common(response);
    (void)MHD_add_response_header(response, "X-Request-Id", x->rq.id);
    if (!x->reply.has_error)
        for (unsigned i = 0; i < x->reply.headers_count; i++)
            (void)MHD_add_response_header(response, x->reply.headers[i].name,
                                          x->reply.headers[i].value);
    enum MHD_Result r = MHD_queue_response(x->connection, x->status, response);
    MHD_destroy_response(response);
    return r;
}
