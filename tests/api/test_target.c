/* The pure parts of the HTTP server: request targets, heads, hosts, types, times, text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/http/http.h"
#include "daemon/http/precheck.h"
#include "daemon/http/target.h"

static void targets_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "x",
        "*",
        "http://h/",
        "//",
        "/a//b",
        "/a/",
        "/.",
        "/..",
        "/a/../b",
        "/%2e%2E",
        "/%2e",
        "/%",
        "/%4",
        "/%4g",
        "/%00",
        "/%0a",
        "/%7f",
        "/a%2fb",
        "/a%5Cb",
        "/ ",
        "/\t",
        "/\"",
        "/<",
        "/\\",
        "/{",
        "/|",
        "/^",
        "/`",
        "/\x80",
        "/%80",
        "/%c0%80",
        "/%e0%80%80",
        "/%ed%a0%80",
        "/%f4%90%80%80",
        "/%c3",
        "/%f5%80%80%80",
        "/?a=1&a=2",
        "/?=x",
        "/?a=%00",
        "/?a=%",
        "/?%ff=1",
        "/#x",
        "/a?b#c",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char buf[64];
        struct target t;
        struct err e = {0};
        if (target_parse(bad[i], buf, &t, &e) != -EBADMSG || e.code != ERR_MALFORMED)
            fail_msg("accepted \"%s\"", bad[i]);
    }
}

static void targets_taken(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *path, *name, *value;
    } good[] = {
        {"/", "/", NULL, NULL},
        {"/?", "/", NULL, NULL},
        {"/a/b", "/a/b", NULL, NULL},
        {"/...", "/...", NULL, NULL},
        {"/a%20b", "/a b", NULL, NULL},
        {"/a+b", "/a+b", NULL, NULL},
        {"/%c3%a4", "/\xc3\xa4", NULL, NULL},
        {"/a?x=1", "/a", "x", "1"},
        {"/a?x", "/a", "x", ""},
        {"/a?x=", "/a", "x", ""},
        {"/a?x=a+b%2Bc%26%2f", "/a", "x", "a b+c&/"},
        {"/a?x=1=2", "/a", "x", "1=2"},
        {"/a?x=/../y?z", "/a", "x", "/../y?z"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char buf[64];
        struct target t;
        assert_int_equal(target_parse(good[i].raw, buf, &t, NULL), 0);
        assert_string_equal(t.path, good[i].path);
        assert_int_equal(t.query_count, good[i].name ? 1 : 0);
        if (good[i].name) {
            assert_string_equal(t.query[0].name, good[i].name);
            assert_string_equal(t.query[0].value, good[i].value);
        }
    }
}

static void targets_bounded(void **state)
{
    (void)state;
    char raw[HTTP_TARGET_MAX + 16], buf[HTTP_TARGET_MAX + 16];
    struct target t;
    struct err e;
    memset(raw, 'a', sizeof raw);
    raw[0] = '/';
    raw[HTTP_TARGET_MAX] = '\0';
    assert_int_equal(target_parse(raw, buf, &t, &e), 0);
    raw[HTTP_TARGET_MAX] = 'a';
    raw[HTTP_TARGET_MAX + 1] = '\0';
    assert_int_equal(target_parse(raw, buf, &t, &e), -E2BIG);
    size_t used = (size_t)snprintf(raw, sizeof raw, "/?");
    for (int i = 0; i <= HTTP_QUERY_MAX; i++)
        used += (size_t)snprintf(raw + used, sizeof raw - used, "a%d&", i);
    assert_int_equal(target_parse(raw, buf, &t, &e), -E2BIG);
}

/* A head as libmicrohttpd leaves it in its buffer, built from the bytes that came: line ends
 * became NULs, colons too. */
struct built {
    char buffer[1024];
    struct precheck_header headers[HTTP_HEADERS_MAX];
    struct precheck_head head;
};

static char *line_end(char *p)
{
    while (*p != '\n' && !(p[0] == '\r' && p[1] == '\n'))
        p++;
    return p;
}

static char *line_cut(char *end)
{
    if (*end == '\r')
        *end++ = '\0';
    *end++ = '\0';
    return end;
}

static void build(struct built *b, const char *bytes)
{
    size_t size = strlen(bytes) + 1;
    assert_true(size <= sizeof b->buffer);
    memcpy(b->buffer, bytes, size);
    char *end = line_end(b->buffer);
    char *version = end;
    while (version[-1] != ' ')
        version--;
    char *at = line_cut(end);
    version[-1] = '\0';
    unsigned count = 0;
    while (*at != '\n' && !(at[0] == '\r' && at[1] == '\n')) {
        char *stop = line_end(at), *colon = strchr(at, ':');
        char *next = line_cut(stop);
        if (!colon)
            abort(); /* the head is the test's own */
        *colon = '\0';
        char *value = colon + 1 + strspn(colon + 1, " \t");
        b->headers[count++] = (struct precheck_header){.name = at,
                                                       .name_size = (size_t)(colon - at),
                                                       .value = value,
                                                       .value_size = strlen(value)};
        at = next;
    }
    at = line_cut(at);
    b->head = (struct precheck_head){.method = b->buffer,
                                     .version = version,
                                     .size = (size_t)(at - b->buffer),
                                     .headers = b->headers,
                                     .headers_count = count};
}

static void line_ends(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int result;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nHost:a\r\nX:\r\nY: \tz\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n\r\n", 0},
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", -EBADMSG},
        {"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", -EBADMSG},
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", -EBADMSG},
        {"GET / HTTP/1.1\r\nHost: a\r\n\n", -EBADMSG},
        {"GET / HTTP/1.1\r\n\n", -EBADMSG},
        {"GET / HTTP/1.1\n\n", -EBADMSG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct built b;
        build(&b, cases[i].bytes);
        if (precheck_lines(&b.head, NULL) != cases[i].result)
            fail_msg("case %zu", i);
    }
    struct built folded; /* a folded value is a copy elsewhere */
    char elsewhere[] = "a b";
    build(&folded, "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
    folded.headers[0].value = elsewhere;
    folded.headers[0].value_size = 3;
    assert_int_equal(precheck_lines(&folded.head, NULL), -EBADMSG);
}

static void combinations(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        unsigned fault; /* 0: accepted */
    } cases[] = {
        {"Host: a\r\n", 0},
        {"Host: a\r\nAccept: x\r\nAccept: y\r\n", 0},
        {"Host: a\r\nContent-Length: 12\r\n", 0},
        {"Accept: x\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nhOST: a\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nTransfer-Encoding: chunked\r\n", HTTP_FAULT_LENGTH_REQUIRED},
        {"Host: a\r\nContent-Length: \r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nContent-Length: 1 2\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nContent-Length: 18446744073709551616\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host : a\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nX: \x01\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nX: \x7f\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nX: a\rb\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\n: y\r\n", HTTP_FAULT_BAD_REQUEST},
        {"Host: a\r\nOrigin: a\r\nOrigin: b\r\n", HTTP_FAULT_BAD_REQUEST},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bytes[512];
        struct built b;
        struct precheck_facts facts;
        unsigned fault;
        snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\n%s\r\n", cases[i].lines);
        build(&b, bytes);
        int r = precheck_headers(&b.head, &facts, &fault, NULL);
        if ((r < 0) != (cases[i].fault != 0) || (r < 0 && fault != cases[i].fault))
            fail_msg("case %zu: %d, fault %u", i, r, fault);
    }
}

static void hosts(void **state)
{
    (void)state;
    static const char *const allowed[] = {"localhost", "[::1]", "a.example"};
    static const char *const yes[] = {"localhost", "LOCALHOST:1", "[::1]", "[::1]:65535",
                                      "a.Example:80"};
    static const char *const no[] = {
        "",          "localhost:", "localhost:0", "localhost:65536", "localhost:x", "localhost:1:2",
        "[::1",      "[::1]x",     "::1",         "b.a.example",     "a.example.",  "a.exampl",
        " localhost"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!precheck_host(yes[i], allowed, 3))
            fail_msg("refused \"%s\"", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (precheck_host(no[i], allowed, 3))
            fail_msg("accepted \"%s\"", no[i]);
}

static void media_types(void **state)
{
    (void)state;
    assert_true(precheck_is_json("application/json"));
    assert_true(precheck_is_json("Application/JSON ; charset=UTF-8"));
    assert_false(precheck_is_json(NULL));
    assert_false(precheck_is_json(""));
    assert_false(precheck_is_json("application/jsonl"));
    assert_false(precheck_is_json("application/json; charset=utf-16"));
    assert_false(precheck_is_json("text/json"));
    struct http_request rq = {.accept = "text/html;q=0.5, application/*;q=0, text/csv"};
    assert_true(http_accepts(&rq, "text/csv"));
    assert_true(http_prefers(&rq, "text/html"));
    assert_false(http_accepts(&rq, "application/json"));
    assert_false(http_prefers(&rq, "text/plain"));
    rq.accept = "*/*";
    assert_true(http_accepts(&rq, "text/csv"));
    assert_false(http_prefers(&rq, "text/csv"));
}

static void times(void **state)
{
    (void)state;
    int64_t us;
    assert_int_equal(http_time_parse("1970-01-02", &us), 0);
    assert_true(us == INT64_C(86400000000));
    assert_int_equal(http_time_parse("1970-01-01T00:00:01.25Z", &us), 0);
    assert_true(us == 1250000);
    static const char *const bad[] = {"",
                                      "1970",
                                      "1970-13-01",
                                      "1970-01-01T",
                                      "1970-01-01T00:00",
                                      "1970-01-01T00:00:00",
                                      "1970-01-01 00:00:00Z",
                                      "1970-01-01T00:00:00Zx",
                                      "x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (http_time_parse(bad[i], &us) != -EINVAL)
            fail_msg("accepted \"%s\"", bad[i]);
}

/* Every error code and every fault of HTTP has a row: a status, a slug of its own, words. */
static void problems(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HTTP_FAULT_COUNT_; i++) {
        const struct http_problem *p = http_problem(i);
        assert_in_range(p->status, 400, 599);
        assert_true(p->slug && p->title && p->help && p->slug[0]);
        if (i > ERR_NONE && i < ERR_CODE_COUNT_)
            assert_string_equal(p->slug, err_code_name((enum err_code)i));
        for (unsigned k = 1; k < i; k++)
            assert_string_not_equal(p->slug, http_problem(k)->slug);
    }
    assert_int_equal(http_problem(9999)->status, 500);
}

static void texts(void **state)
{
    (void)state;
    struct http_text t = {0};
    http_text_json(&t, "a\"b\\c\n\x01\x7f\xc3\xa4/");
    assert_string_equal(t.data, "\"a\\\"b\\\\c\\u000a\\u0001\\u007f\xc3\xa4/\"");
    for (int i = 0; i < 10000; i++)
        http_text_puts(&t, "0123456789");
    assert_false(t.failed);
    assert_true(t.size > 100000 && t.data[t.size] == '\0');
    http_text_done(&t);
}

static void listens(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool loopback;
    } good[] = {{"127.0.0.1:0", true},     {"127.1.2.3:80", true}, {"localhost:1", true},
                {"[::1]:8080", true},      {"0.0.0.0:80", false},  {"[::]:80", false},
                {"192.168.0.1:80", false}, {"unix:/run/x", true}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct http_listen l;
        assert_int_equal(http_listen_parse(good[i].text, &l, NULL), 0);
        assert_int_equal(l.loopback, good[i].loopback);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_refused), cmocka_unit_test(targets_taken),
        cmocka_unit_test(targets_bounded), cmocka_unit_test(line_ends),
        cmocka_unit_test(combinations),    cmocka_unit_test(hosts),
        cmocka_unit_test(media_types),     cmocka_unit_test(times),
        cmocka_unit_test(problems),        cmocka_unit_test(texts),
        cmocka_unit_test(listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
