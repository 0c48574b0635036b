/* The request target: split, decoded and judged, stricter than libmicrohttpd does it. Pure. */
#ifndef HEAPMARK_DAEMON_HTTP_TARGET_H
#define HEAPMARK_DAEMON_HTTP_TARGET_H

#include "daemon/http/http.h"

struct target {
    char *path; /* into buf, decoded, begins with "/" */
    struct http_query_value query[HTTP_QUERY_MAX];
    unsigned query_count;
};

/* `raw` is what stood in the request line. buf has room for strlen(raw) + 2 bytes and must outlive
 * *ret. Refused (ERR_MALFORMED, ERR_TOO_LARGE): no leading slash, characters a URI cannot have,
 * broken or %00 escapes, escaped control characters or slashes, empty, "." and ".." segments,
 * bytes that are not UTF-8, nameless or repeated query parameters, too many of them. */
int target_parse(const char *raw, char *buf, struct target *ret, struct err *e);

/* Well-formed UTF-8 without surrogates and overlong forms. */
bool target_is_utf8(const char *text);

#endif
