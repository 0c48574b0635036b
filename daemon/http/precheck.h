/* The strict check of a request's head that libmicrohttpd 0.9.75 does not make: it takes two
 * Hosts, two Content-Lengths, Content-Length beside Transfer-Encoding, bare LF and folded lines.
 * A proxy before us that reads such a request otherwise than we do is how requests are smuggled,
 * so all of them are refused. Pure; called once per request. */
#ifndef HEAPMARK_DAEMON_HTTP_PRECHECK_H
#define HEAPMARK_DAEMON_HTTP_PRECHECK_H

#include "daemon/http/http.h"

struct precheck_header {
    const char *name, *value; /* NUL-terminated, in libmicrohttpd's read buffer */
    size_t name_size, value_size;
};

struct precheck_head {
    const char *method, *version;
    size_t size; /* bytes from the method to the end of the blank line */
    const struct precheck_header *headers;
    unsigned headers_count;
};

/* What the head says; pointers into it, NULL when a header was not sent. */
struct precheck_facts {
    const char *host, *content_length, *transfer_encoding, *content_type, *authorization;
    const char *accept, *accept_encoding, *if_none_match, *idempotency_key, *last_event_id;
    const char *origin;
    uint64_t body_size; /* Content-Length, 0 without */
};

/* Line ends: libmicrohttpd parses in place and writes two NULs over CRLF but one over a bare LF,
 * and copies a folded value elsewhere. So every line must begin exactly where the one before it
 * plus two NULs ended, and the last must end exactly at the end of the head. What this cannot see
 * is a line that came with NUL LF: it looks like CR LF by then. */
int precheck_lines(const struct precheck_head *head, struct err *e);

/* Names, values and the combinations named above. *ret_fault says which problem it is. */
int precheck_headers(const struct precheck_head *head, struct precheck_facts *ret,
                     unsigned *ret_fault, struct err *e);

/* "Host: name[:port]" against the allow-list (names without port, lower case). */
bool precheck_host(const char *host, const char *const *allowed, unsigned allowed_count);

/* Is this the media type application/json, with at most a charset of UTF-8? */
bool precheck_is_json(const char *content_type);

#endif
