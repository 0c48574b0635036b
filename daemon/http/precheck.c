#include "daemon/http/precheck.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "daemon/base/text.h"

/* Headers we read. One of them twice is refused unless it is a list by nature. */
static const struct {
    const char *name;
    size_t offset;
    bool list;
} known[] = {
#define ROW(text, member, is_list)                                                       \
    {                                                                                    \
        .name = text, .offset = offsetof(struct precheck_facts, member), .list = is_list \
    }
    ROW("Host", host, false),
    ROW("Content-Length", content_length, false),
    ROW("Transfer-Encoding", transfer_encoding, false),
    ROW("Content-Type", content_type, false),
    ROW("Authorization", authorization, false),
    ROW("Accept", accept, true),
    ROW("Accept-Encoding", accept_encoding, true),
    ROW("If-None-Match", if_none_match, true),
    ROW("Idempotency-Key", idempotency_key, false),
    ROW("Last-Event-ID", last_event_id, false),
    ROW("Origin", origin, false),
#undef ROW
};

int precheck_lines(const struct precheck_head *head, struct err *e)
{
    const char *end = head->method + head->size;
    const char *at = head->version + strlen(head->version);
    for (unsigned i = 0; i <= head->headers_count; i++) {
        if (end - at < 2 || at[0] || at[1])
            return err_set(e, ERR_MALFORMED, NULL, "every line of the head must end with CR LF");
        at += 2;
        if (i == head->headers_count)
            break;
        const struct precheck_header *h = &head->headers[i];
        if (h->name != at || h->value < h->name + h->name_size + 1 || h->value > end)
            return err_set(e, ERR_MALFORMED, NULL,
                           "folded header line, or a line that does not end with CR LF");
        at = h->value + h->value_size;
    }
    return end - at == 2 && !at[0] && !at[1]
               ? 0
               : err_set(e, ERR_MALFORMED, NULL, "the head must end with CR LF CR LF");
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int header_check(const struct precheck_header *h, struct err *e)
{
    if (h->name_size == 0)
        return err_set(e, ERR_MALFORMED, NULL, "header without a name");
    for (size_t i = 0; i < h->name_size; i++)
        if (!name_char(h->name[i]))
            return err_set(e, ERR_MALFORMED, NULL, "character that no header name can have");
    for (size_t i = 0; i < h->value_size; i++) {
        unsigned char c = (unsigned char)h->value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return err_set(e, ERR_MALFORMED, NULL, "control character in header %.64s", h->name);
    }
    return 0;
}

static int header_note(const struct precheck_header *h, struct precheck_facts *facts, struct err *e)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcasecmp(known[i].name, h->name) != 0)
            continue;
        const char **slot = (const char **)((char *)facts + known[i].offset);
        if (*slot && !known[i].list)
            return err_set(e, ERR_MALFORMED, NULL, "header %s given twice", known[i].name);
        if (!*slot)
            *slot = h->value;
        break;
    }
    return 0;
}

static int body_check(struct precheck_facts *facts, unsigned *ret_fault, struct err *e)
{
    if (facts->transfer_encoding && facts->content_length)
        return err_set(e, ERR_MALFORMED, NULL,
                       "Content-Length and Transfer-Encoding exclude each other");
    if (facts->transfer_encoding) {
        *ret_fault = HTTP_FAULT_LENGTH_REQUIRED;
        return err_set(e, ERR_INVALID, NULL, "send Content-Length instead of Transfer-Encoding");
    }
    if (facts->content_length && text_parse_u64(facts->content_length, &facts->body_size) < 0)
        return err_set(e, ERR_MALFORMED, NULL, "Content-Length is not a decimal number");
    return 0;
}

int precheck_headers(const struct precheck_head *head, struct precheck_facts *ret,
                     unsigned *ret_fault, struct err *e)
{
    struct precheck_facts facts = {0};
    *ret_fault = HTTP_FAULT_BAD_REQUEST;
    int r = 0;
    for (unsigned i = 0; i < head->headers_count && r == 0; i++) {
        r = header_check(&head->headers[i], e);
        if (r == 0)
            r = header_note(&head->headers[i], &facts, e);
    }
    if (r == 0)
        r = body_check(&facts, ret_fault, e);
    if (r == 0 && !facts.host)
        r = err_set(e, ERR_MALFORMED, NULL, "the Host header is missing");
    if (r == 0)
        *ret = facts;
    return r;
}

static bool port_is_valid(const char *text)
{
    uint64_t port;
    return strlen(text) <= 5 && text_parse_u64(text, &port) == 0 && port >= 1 && port <= 65535;
}

bool precheck_host(const char *host, const char *const *allowed, unsigned allowed_count)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : strchr(host, ':');
    if (host[0] == '[' && !end)
        return false;
    if (host[0] == '[')
        end++;
    size_t size = end ? (size_t)(end - host) : strlen(host);
    if (end && *end && (*end != ':' || !port_is_valid(end + 1)))
        return false;
    for (unsigned i = 0; i < allowed_count; i++)
        if (strlen(allowed[i]) == size && strncasecmp(allowed[i], host, size) == 0)
            return true;
    return false;
}

bool precheck_is_json(const char *content_type)
{
    static const char type[] = "application/json";
    if (!content_type || strncasecmp(content_type, type, sizeof type - 1) != 0)
        return false;
    const char *p = content_type + sizeof type - 1;
    p += strspn(p, " \t");
    if (!*p)
        return true;
    if (*p != ';')
        return false;
    p++;
    p += strspn(p, " \t");
    return strcasecmp(p, "charset=utf-8") == 0 || strcasecmp(p, "charset=\"utf-8\"") == 0;
}
