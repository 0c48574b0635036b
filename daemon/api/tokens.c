/* Tokens: making, checking, listing, revoking. Secrets are shown once and stored as SHA-256 only.
 * A small cache spares the database a query per request; it is cleared when a token is revoked,
 * and is the only way to do that, since one daemon owns the database. */
#include "daemon/api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"

#define TOKEN_PREFIX       "hmk_"
#define TOKEN_SECRET_BYTES 20 /* 160 bits: 32 digits */
#define TOKEN_CHECK_DIGITS 6  /* 30 bits: a typo is found without the database */
#define TOKEN_NAME_MAX     63

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648 base 32 */

/* Base 32 of bytes whose bits come out even. */
static void base32(const uint8_t *bytes, unsigned digits_count, char *out)
{
    for (unsigned i = 0; i < digits_count; i++) {
        unsigned bit = i * 5;
        unsigned pair = (unsigned)bytes[bit / 8] << 8;
        if (bit % 8 > 3)
            pair |= bytes[bit / 8 + 1];
        out[i] = digits[(pair >> (11 - bit % 8)) & 31];
    }
    out[digits_count] = '\0';
}

static void token_check(const char *token, size_t size, char ret[TOKEN_CHECK_DIGITS + 1])
{
    uint8_t digest[SHA256_SIZE];
    hash_sha256(token, size, digest);
    base32(digest, TOKEN_CHECK_DIGITS, ret);
}

int api_token_make(char ret_token[API_TOKEN_SIZE], struct err *e)
{
    uint8_t secret[TOKEN_SECRET_BYTES];
    char text[TOKEN_SECRET_BYTES * 8 / 5 + 1], check[TOKEN_CHECK_DIGITS + 1];
    if (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret)
        return err_set(e, ERR_IO, NULL, "no random numbers");
    base32(secret, sizeof text - 1, text);
    int n = snprintf(ret_token, API_TOKEN_SIZE, TOKEN_PREFIX "%s", text);
    token_check(ret_token, (size_t)n, check);
    memcpy(ret_token + n, check, sizeof check);
    return 0;
}

bool api_token_plausible(const char *token)
{
    const size_t prefix = sizeof TOKEN_PREFIX - 1;
    const size_t secret = prefix + TOKEN_SECRET_BYTES * 8 / 5;
    char check[TOKEN_CHECK_DIGITS + 1];
    if (strlen(token) != secret + TOKEN_CHECK_DIGITS || strncmp(token, TOKEN_PREFIX, prefix) != 0 ||
        strspn(token + prefix, digits) != secret - prefix + TOKEN_CHECK_DIGITS)
        return false;
    token_check(token, secret, check);
    return strcmp(check, token + secret) == 0;
}

static const char *const scope_names[] = {"read", "submit", "upload", "admin"};

int api_scope_parse(const char *name)
{
    for (unsigned i = 0; i < sizeof scope_names / sizeof scope_names[0]; i++)
        if (strcmp(scope_names[i], name) == 0)
            return 1 << i;
    return -ENOENT;
}

const char *api_scope_name(unsigned scope_bit)
{
    for (unsigned i = 0; i < sizeof scope_names / sizeof scope_names[0]; i++)
        if (scope_bit == 1u << i)
            return scope_names[i];
    return "none";
}

/* ---- checking ---- */

bool token_plausible(void *ctx, const char *token)
{
    (void)ctx;
    return api_token_plausible(token);
}

/* Time taken does not tell how much of the two agrees. */
static bool digest_equal(const char *a, const char *b)
{
    unsigned char different = 0;
    for (unsigned i = 0; i < SHA256_HEX_SIZE - 1; i++)
        different |= (unsigned char)(a[i] ^ b[i]);
    return different == 0;
}

/* *ret_generation: see cache_put. */
static bool cache_find(struct api_private *p, const char *sha256, struct store_token *ret,
                       unsigned *ret_generation)
{
    bool found = false;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < TOKEN_CACHE_MAX; i++) {
        struct token_cached *c = &p->tokens[i];
        if (!c->sha256[0] || !digest_equal(c->sha256, sha256) || now >= c->until_ns)
            continue;
        *ret = c->token;
        found = true;
    }
    *ret_generation = p->tokens_generation;
    pthread_mutex_unlock(&p->lock);
    return found;
}

/* Not when a token was revoked since `generation`: what was read may be from before. */
static void cache_put(struct api_private *p, const char *sha256, const struct store_token *token,
                      unsigned generation)
{
    pthread_mutex_lock(&p->lock);
    if (generation != p->tokens_generation) {
        pthread_mutex_unlock(&p->lock);
        return;
    }
    struct token_cached *slot = NULL;
    for (unsigned i = 0; i < TOKEN_CACHE_MAX && !slot; i++)
        if (p->tokens[i].sha256[0] && digest_equal(p->tokens[i].sha256, sha256))
            slot = &p->tokens[i];
    if (!slot)
        slot = &p->tokens[p->tokens_next++ % TOKEN_CACHE_MAX];
    text_copy(slot->sha256, sizeof slot->sha256, sha256);
    slot->token = *token;
    slot->until_ns = clock_monotonic_ns() + TOKEN_CACHE_NS;
    pthread_mutex_unlock(&p->lock);
}

static void cache_clear(struct api_private *p)
{
    pthread_mutex_lock(&p->lock);
    memset(p->tokens, 0, sizeof p->tokens);
    p->tokens_generation++;
    pthread_mutex_unlock(&p->lock);
}

/* Writing costs a commit, so it happens once a minute at most. */
static void token_note_use(struct api_context *api, struct store_token *token)
{
    int64_t now = clock_realtime_us();
    struct err e = {0};
    if (now - token->last_used_us < TOKEN_USED_US_MIN)
        return;
    if (store_token_used(api->store, token->id, &e) < 0)
        log_warning("last use of token %s not noted: %s", token->name, e.message);
    else
        token->last_used_us = now;
}

int token_verify(void *ctx, const char *token, struct http_principal *ret, struct err *e)
{
    struct api_context *api = api_of(ctx);
    char sha256[SHA256_HEX_SIZE];
    struct store_token found;
    hash_sha256_hex(token, strlen(token), sha256);
    unsigned generation;
    if (!cache_find(api->private_, sha256, &found, &generation)) {
        cleanup_(store_view_release_p) struct store_view *v = NULL;
        int r = view_acquire(api, &v, e);
        if (r == 0)
            r = store_view_token(v, sha256, &found, e);
        if (r < 0)
            return r;
        token_note_use(api, &found);
        cache_put(api->private_, sha256, &found, generation);
    }
    if (found.expires_us && found.expires_us <= clock_realtime_us())
        return err_set(e, ERR_UNAUTHORIZED, NULL, "this token has expired");
    text_copy(ret->name, sizeof ret->name, found.name);
    ret->scopes = found.scopes;
    return 0;
}

static int usable_each(void *ctx, const struct store_token *t)
{
    unsigned *count = ctx;
    if (!t->revoked_us && (!t->expires_us || t->expires_us > clock_realtime_us()))
        (*count)++;
    return 0;
}

int tokens_usable(struct api_context *api, unsigned *ret_count, struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    unsigned count = 0;
    int r = view_acquire(api, &v, e);
    if (r == 0)
        r = store_view_tokens(v, usable_each, &count, e);
    if (r == 0)
        *ret_count = count;
    return r;
}

/* ---- handlers ---- */

static void write_token(struct writer *w, const struct store_token *t)
{
    w_str(w, "name", t->name);
    w_open(w, "scopes", '[');
    for (unsigned i = 0; i < sizeof scope_names / sizeof scope_names[0]; i++)
        if (t->scopes & (1u << i))
            w_string(w, scope_names[i]);
    w_end(w, ']');
    w_time(w, "created", t->created_us);
    w_time(w, "expires", t->expires_us);
    w_time(w, "last_used", t->last_used_us);
    w_time(w, "revoked", t->revoked_us);
}

static int token_each(void *ctx, const struct store_token *t)
{
    w_begin(ctx, '{');
    write_token(ctx, t);
    w_end(ctx, '}');
    return 0;
}

static int tokens_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)rq;
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_writer struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, NULL);
    int r = view_acquire(api_of(ctx), &v, e);
    if (r == 0)
        r = store_view_tokens(v, token_each, &w, e);
    if (r < 0)
        return r;
    list_page_end(&page, NULL, NULL);
    return w_reply(&w, reply, e);
}

static int scopes_read(const json_t *list, unsigned *ret_scopes, struct err *e)
{
    unsigned scopes = 0;
    size_t i;
    json_t *item;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return err_set(e, ERR_INVALID, "/scopes",
                       "scopes must be a list of read, submit, upload, admin");
    json_array_foreach(list, i, item)
    {
        char field[32];
        int bit = json_is_string(item) ? api_scope_parse(json_string_value(item)) : -EINVAL;
        snprintf(field, sizeof field, "/scopes/%zu", i);
        if (bit < 0)
            return err_set(e, ERR_UNKNOWN_NAME, field, "scopes are read, submit, upload and admin");
        scopes |= (unsigned)bit;
    }
    *ret_scopes = scopes;
    return 0;
}

static int expires_read(const json_t *value, int64_t *ret_us, struct err *e)
{
    if (!value || json_is_null(value)) {
        *ret_us = 0;
        return 0;
    }
    if (!json_is_string(value) || http_time_parse(json_string_value(value), ret_us) < 0)
        return err_set(e, ERR_INVALID, "/expires",
                       "expires must be a time like "
                       "2026-12-31T00:00:00Z, or null for never");
    if (*ret_us <= clock_realtime_us())
        return err_set(e, ERR_OUT_OF_RANGE, "/expires", "expires is %.40s, must be in the future",
                       json_string_value(value));
    return 0;
}

static int token_read(const json_t *json, struct store_token *ret, struct err *e)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return err_set(e, ERR_INVALID, "", "the body must be an object");
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        char field[80];
        snprintf(field, sizeof field, "/%.70s", key);
        if (strcmp(key, "name") != 0 && strcmp(key, "scopes") != 0 && strcmp(key, "expires") != 0)
            return err_set(e, ERR_UNKNOWN_NAME, field, "a token has name, scopes and expires only");
    }
    const char *name = json_string_value(json_object_get(json, "name"));
    if (!name || !text_is_name(name, TOKEN_NAME_MAX) || strcmp(name, "local") == 0)
        return err_set(e, ERR_INVALID, "/name",
                       "name must be 1 to %d of a-z, 0-9, dot, dash and underscore, begin with "
                       "a letter or digit, and not be \"local\"",
                       TOKEN_NAME_MAX);
    text_copy(ret->name, sizeof ret->name, name);
    int r = scopes_read(json_object_get(json, "scopes"), &ret->scopes, e);
    return r < 0 ? r : expires_read(json_object_get(json, "expires"), &ret->expires_us, e);
}

static int tokens_post(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct api_context *api = api_of(ctx);
    json_error_t why;
    struct store_token token = {.created_us = clock_realtime_us()};
    json_t *json = json_loadb(rq->body, rq->body_size, JSON_REJECT_DUPLICATES, &why);
    int r = json ? token_read(json, &token, e)
                 : err_set(e, ERR_MALFORMED, "", "not JSON: %.200s (line %d)", why.text, why.line);
    json_decref(json);
    char secret[API_TOKEN_SIZE], sha256[SHA256_HEX_SIZE];
    if (r == 0)
        r = api_token_make(secret, e);
    if (r < 0)
        return r;
    hash_sha256_hex(secret, strlen(secret), sha256);
    r = store_token_add(api->store, token.name, sha256, token.scopes, token.expires_us, e);
    if (r < 0)
        return r;
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    write_token(&w, &token);
    w_str(&w, "token", secret);
    w_end(&w, '}');
    explicit_bzero(secret, sizeof secret);
    http_reply_status(reply, 201);
    return w_reply(&w, reply, e);
}

struct token_search {
    const char *name;
    struct store_token found;
};

static int search_each(void *ctx, const struct store_token *t)
{
    struct token_search *search = ctx;
    if (strcmp(t->name, search->name) == 0)
        search->found = *t;
    return 0;
}

static int token_revoke(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct api_context *api = api_of(ctx);
    int r = store_token_revoke(api->store, rq->params[0], e);
    cache_clear(api->private_);
    if (r < 0)
        return r;
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    struct token_search search = {.name = rq->params[0]};
    r = view_acquire(api, &v, e);
    if (r == 0)
        r = store_view_tokens(v, search_each, &search, e);
    if (r < 0)
        return r;
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    write_token(&w, &search.found);
    w_end(&w, '}');
    return w_reply(&w, reply, e);
}

const struct http_route tokens_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/tokens",
     .scope = SCOPE_ADMIN,
     .handle = tokens_get,
     .name = "listTokens",
     .summary = "Tokens without their secrets.",
     .returns = "TokenList"},
    {.method = HTTP_POST,
     .pattern = API_PREFIX "/tokens",
     .scope = SCOPE_ADMIN,
     .flags = HTTP_BODY,
     .handle = tokens_post,
     .name = "createToken",
     .summary = "Make a token; its secret is in this reply and never again.",
     .returns = "NewToken",
     .accepts = "TokenRequest",
     .success = 201},
    {.method = HTTP_POST,
     .pattern = API_PREFIX "/tokens/{name}/revoke",
     .scope = SCOPE_ADMIN,
     .handle = token_revoke,
     .name = "revokeToken",
     .summary = "Make a token useless at once; again is no error.",
     .returns = "Token"},
    {0},
};
