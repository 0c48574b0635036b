/* Fuzzes the check of a request's head. The bytes are cut into lines as libmicrohttpd 0.9.75 does
 * it, leniently and in place; whatever the check then accepts must be a head that every reader
 * takes alike: CR LF at every line, one Host, no control characters, no folded line. */
#include <string.h>

#include "daemon/http/precheck.h"
#include "tests/fuzz/fuzz.h"

const char *const fuzz_seeds[] = {
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost:a\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\nY:\td\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    NULL,
};

struct cut {
    char *buffer;
    size_t size, at;
    struct precheck_header headers[HTTP_HEADERS_MAX];
    unsigned count;
};

/* The next line, its end overwritten; NULL when none is complete. */
static char *cut_line(struct cut *c)
{
    for (size_t i = c->at; i < c->size; i++) {
        bool crlf = c->buffer[i] == '\r' && i + 1 < c->size && c->buffer[i + 1] == '\n';
        if (!crlf && c->buffer[i] != '\n')
            continue;
        char *line = c->buffer + c->at;
        c->buffer[i] = '\0';
        if (crlf)
            c->buffer[++i] = '\0';
        c->at = i + 1;
        return line;
    }
    return NULL;
}

/* Fill the headers up to the blank line; false when the lenient reader, too, would refuse. */
static bool cut_headers(struct cut *c)
{
    for (char *line; (line = cut_line(c)) != NULL;) {
        if (!*line)
            return true;
        char *colon = strchr(line, ':');
        if (!colon || c->count == HTTP_HEADERS_MAX)
            return false;
        *colon = '\0';
        char *value = colon + 1 + strspn(colon + 1, " \t");
        c->headers[c->count++] = (struct precheck_header){.name = line,
                                                          .name_size = (size_t)(colon - line),
                                                          .value = value,
                                                          .value_size = strlen(value)};
    }
    return false;
}

static void require_strict(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool lf = data[i] == '\n';
        /* NUL LF: the one thing the check cannot tell from CR LF, see precheck.h. */
        fuzz_require(!lf || (i > 0 && (data[i - 1] == '\r' || data[i - 1] == '\0')));
        fuzz_require(!lf || i + 1 == size || (data[i + 1] != ' ' && data[i + 1] != '\t'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cut c = {.size = size};
    c.buffer = malloc(size + 1);
    fuzz_require(c.buffer);
    memcpy(c.buffer, data, size);
    c.buffer[size] = '\0';
    char *first = cut_line(&c);
    char *version = first ? strrchr(first, ' ') : NULL;
    if (version && *first != ' ' && cut_headers(&c)) {
        struct precheck_head head = {.method = first,
                                     .version = version + 1,
                                     .size = c.at,
                                     .headers = c.headers,
                                     .headers_count = c.count};
        struct precheck_facts facts;
        unsigned fault = 0;
        struct err e = {0};
        if (precheck_lines(&head, &e) == 0 && precheck_headers(&head, &facts, &fault, &e) == 0) {
            fuzz_require(facts.host && !facts.transfer_encoding);
            size_t line = strlen(first);
            require_strict(data + line, c.at - line);
        } else {
            fuzz_require(e.message[0]);
        }
    }
    free(c.buffer);
    return 0;
}
