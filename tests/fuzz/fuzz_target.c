/* Fuzzes the request target: whatever is accepted is clean. */
#include <string.h>

#include "daemon/http/target.h"
#include "tests/fuzz/fuzz.h"

const char *const fuzz_seeds[] = {
    "/",
    "/api/v1/jobs?state=running&limit=10",
    "/api/v1/jobs/01234567-89ab-4cde-8f01-23456789abcd/cells",
    "/a%20b/%c3%a4?x=a+b%2Bc&y&z=%26",
    "/%f0%9f%92%a9?q=%e2%82%ac",
    "/..%2f../%2e%2e/?a=%00",
    NULL,
};

static void require_clean(const char *text)
{
    fuzz_require(target_is_utf8(text));
    for (const char *p = text; *p; p++)
        fuzz_require((unsigned char)*p >= 0x20 && *p != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *raw = malloc(size + 1), *buf = malloc(size + 2);
    struct target t;
    struct err e = {0};
    fuzz_require(raw && buf);
    memcpy(raw, data, size);
    raw[size] = '\0';
    if (target_parse(raw, buf, &t, &e) == 0) {
        require_clean(t.path);
        fuzz_require(t.path[0] == '/' && !strstr(t.path, "//") && !strstr(t.path, "/../"));
        fuzz_require(t.query_count <= HTTP_QUERY_MAX);
        for (unsigned i = 0; i < t.query_count; i++) {
            fuzz_require(t.query[i].name[0]);
            require_clean(t.query[i].name);
            require_clean(t.query[i].value);
        }
    } else {
        fuzz_require(e.code == ERR_MALFORMED || e.code == ERR_TOO_LARGE);
        fuzz_require(e.message[0]);
    }
    free(raw);
    free(buf);
    return 0;
}
