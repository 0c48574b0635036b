/* Lines of /proc as daemon/base reads them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/base/mountinfo.h"
#include "daemon/base/text.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static void test_kib_field(void **state)
{
    (void)state;
    static const struct {
        const char *text, *key;
        int want;
        uint64_t bytes;
    } cases[] = {
        {"MemTotal:       2048 kB\nMemFree: 1 kB\n", "MemTotal", 0, 2048 * 1024},
        {"MemTotal:       2048 kB\nMemFree: 1 kB\n", "MemFree", 0, 1024},
        {"VmHWM:\t    0 kB", "VmHWM", 0, 0},
        {"AnonHugePages: 4 kB\nHugePages: 5 kB\n", "HugePages", 0, 5 * 1024},
        {"A: 1 kB\nA: 2 kB\n", "A", 0, 1024},
        {"A: 18014398509481983 kB", "A", 0, UINT64_C(18014398509481983) * 1024},
        {"", "A", -ENOENT, 0},
        {"\n\n", "A", -ENOENT, 0},
        {"A 1 kB\nAB: 1 kB\n", "A", -ENOENT, 0},
        {"HugePages_Total:  7\n", "HugePages_Total", -EPROTO, 0},
        {"A: 1 mB", "A", -EPROTO, 0},
        {"A: 1 kBit", "A", -EPROTO, 0},
        {"A: -1 kB", "A", -EPROTO, 0},
        {"A: \n1 kB", "A", -EPROTO, 0},
        {"A:", "A", -EPROTO, 0},
        {"A: kB", "A", -EPROTO, 0},
        {"A: 18014398509481984 kB", "A", -EPROTO, 0},
        {"A: 99999999999999999999 kB", "A", -EPROTO, 0},
    };
    for (unsigned i = 0; i < LENGTH(cases); i++) {
        uint64_t bytes = 77;
        const int got = text_kib_field(cases[i].text, cases[i].key, &bytes);
        if (got != cases[i].want || (got == 0 && bytes != cases[i].bytes) ||
            (got < 0 && bytes != 77))
            fail_msg("\"%s\": %d, %llu", cases[i].text, got, (unsigned long long)bytes);
    }
}

static void test_mountinfo(void **state)
{
    (void)state;
    static const struct {
        const char *line, *want; /* want: the fields with '|' between; NULL: refused */
    } cases[] = {
        {"35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate",
         "/|/sys/fs/cgroup|rw,nosuid|cgroup2|cgroup2|rw,nsdelegate"},
        {"35 24 0:30 / /x ro - cgroup cgroup rw,cpu", "/|/x|ro|cgroup|cgroup|rw,cpu"},
        {"1 2 0:3 /a\\040b /c\\134\\011d rw shared:1 master:2 - ext4 /dev/x rw",
         "/a b|/c\\\td|rw|ext4|/dev/x|rw"},
        {"1 2 0:3 /\\04 /\\400 rw - ext4 none rw", "/\\04|/\\400|rw|ext4|none|rw"},
        {"1 2 0:3 / / rw - ext4 none", "/|/|rw|ext4|none|"},
        {"1 2 0:3 / / rw - ext4", NULL},
        {"1 2 0:3 / / rw -", NULL},
        {"1 2 0:3 / / - ext4 none rw", NULL},
        {"1 2 0:3 / / rw ext4 none rw", NULL},
        {" - ext4 none rw", NULL},
        {"", NULL},
    };
    for (unsigned i = 0; i < LENGTH(cases); i++) {
        struct mountinfo_line m;
        char line[256], got[256];
        snprintf(line, sizeof line, "%s", cases[i].line);
        const bool is_line = mountinfo_parse(line, &m);
        assert_int_equal(is_line, cases[i].want != NULL);
        if (!is_line)
            continue;
        snprintf(got, sizeof got, "%s|%s|%s|%s|%s|%s", m.root, m.point, m.options, m.type, m.source,
                 m.super_options);
        assert_string_equal(got, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kib_field),
        cmocka_unit_test(test_mountinfo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
