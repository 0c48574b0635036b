/* gzip (zlib, used here only) and entity tags. Pure. */
#include "daemon/http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <zlib.h>

#include "daemon/base/hash.h"

#define GZIP_LEVEL  5
#define GZIP_WINDOW (15 + 16) /* 16: gzip framing instead of zlib's */

/* One member of an Accept-like list: is it `name`, with a quality above 0? */
static bool list_member_is(const char *member, size_t size, const char *name)
{
    size_t name_size = strlen(name);
    if (size < name_size || strncasecmp(member, name, name_size) != 0)
        return false;
    const char *p = member + name_size;
    const char *end = member + size;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (p == end)
        return true;
    if (*p != ';')
        return false;
    const char *q = memmem(p, (size_t)(end - p), "q=", 2);
    if (!q)
        return true;
    for (q += 2; q < end && (*q == '0' || *q == '.'); q++)
        ;
    return q < end && *q >= '1' && *q <= '9';
}

static bool list_has(const char *list, const char *name)
{
    while (list && *list) {
        list += strspn(list, " \t,");
        size_t size = strcspn(list, ",");
        if (list_member_is(list, size, name))
            return true;
        list += size;
    }
    return false;
}

bool encode_wants_gzip(const struct exchange *x)
{
    return list_has(x->facts.accept_encoding, "gzip");
}

bool http_prefers(const struct http_request *rq, const char *media_type)
{
    return list_has(rq->accept, media_type);
}

bool http_accepts(const struct http_request *rq, const char *media_type)
{
    if (!rq->accept || list_has(rq->accept, media_type) || list_has(rq->accept, "*/*"))
        return true;
    char range[64];
    const char *slash = strchr(media_type, '/');
    snprintf(range, sizeof range, "%.*s/*", (int)(slash - media_type), media_type);
    return list_has(rq->accept, range);
}

int encode_gzip(const void *data, size_t size, char **ret_data, size_t *ret_size)
{
    z_stream z = {0};
    if (size > UINT32_MAX ||
        deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    uLong bound = deflateBound(&z, (uLong)size);
    Bytef *out = malloc(bound);
    int r = Z_MEM_ERROR;
    if (out) {
        z.next_in = (z_const Bytef *)data;
        z.avail_in = (uInt)size;
        z.next_out = out;
        z.avail_out = (uInt)bound;
        r = deflate(&z, Z_FINISH);
    }
    *ret_size = z.total_out;
    deflateEnd(&z);
    if (r != Z_STREAM_END) {
        free(out);
        return -ENOMEM;
    }
    *ret_data = (char *)out;
    return 0;
}

void *encode_stream_new(void)
{
    z_stream *z = calloc(1, sizeof *z);
    if (z && deflateInit2(z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    free(z);
    return NULL; /* then the body goes out as it is */
}

int encode_stream(void *state, const struct http_text *in, bool last, struct http_text *out)
{
    z_stream *z = state;
    if (in->size > UINT32_MAX)
        return -EFBIG;
    z->next_in = (z_const Bytef *)in->data;
    z->avail_in = (uInt)in->size;
    int r;
    do {
        Bytef block[4096];
        z->next_out = block;
        z->avail_out = sizeof block;
        r = deflate(z, last ? Z_FINISH : Z_NO_FLUSH);
        if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
            return -EIO;
        http_text_add(out, block, sizeof block - z->avail_out);
    } while (z->avail_out == 0);
    return out->failed ? -ENOMEM : 0;
}

void encode_stream_free(void *state)
{
    if (!state)
        return;
    deflateEnd(state);
    free(state);
}

void encode_etag(const void *data, size_t size, char ret_etag[ETAG_SIZE])
{
    char hex[SHA256_HEX_SIZE];
    hash_sha256_hex(data, size, hex);
    snprintf(ret_etag, ETAG_SIZE, "\"%.32s\"", hex);
}

void encode_etag_gzip(const char *etag, char ret_etag[ETAG_SIZE])
{
    static const char suffix[] = "-gz\"";
    size_t size = strlen(etag) - 1; /* without the closing quote */
    memmove(ret_etag, etag, size);
    memcpy(ret_etag + size, suffix, sizeof suffix);
}

bool encode_etag_matches(const char *if_none_match, const char *etag)
{
    size_t size = strlen(etag);
    for (const char *p = if_none_match; p && *p;) {
        p += strspn(p, " \t,");
        if (strncmp(p, "W/", 2) == 0) /* weak comparison is what If-None-Match asks for */
            p += 2;
        size_t n = strcspn(p, ",");
        while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
            n--;
        if ((n == 1 && *p == '*') || (n == size && strncmp(p, etag, n) == 0))
            return true;
        p += strcspn(p, ",");
    }
    return false;
}
