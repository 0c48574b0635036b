/* The configuration: what is refused, with which message, and that what is printed reads back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"
#include "daemon/config/config.h"

static void file_write(char path[64], const char *text, size_t size)
{
    snprintf(path, 64, "/tmp/heapmark-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    assert_int_equal(close(fd), 0);
}

static int load_text(struct config *c, const char *text, size_t size, struct err *e)
{
    char path[64];
    file_write(path, text, size);
    int r = config_load(c, path, e);
    unlink(path);
    return r;
}

struct bad_file {
    const char *text;
    enum err_code code;
    const char *field;   /* "" none */
    const char *message; /* part of it, after FILE */
};

#define LONG_50  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
#define LONG_200 LONG_50 LONG_50 LONG_50 LONG_50

static const struct bad_file bad_files[] = {
    {"[serve]\n", ERR_UNKNOWN_NAME, "serve", ":1: there is no section [serve]"},
    {"\n# x\n[serve]\nlisten = x\n", ERR_UNKNOWN_NAME, "serve", ":3: there is no section [serve]"},
    {"[server\n", ERR_MALFORMED, "", ":1: a section is [name]"},
    {"listen = 127.0.0.1:1\n", ERR_MALFORMED, "", ":1: a key before the first [section]"},
    {"[server]\nlisten 127.0.0.1:1\n", ERR_MALFORMED, "server", ":2: neither [section] nor"},
    {"[server]\nlisten: 127.0.0.1:1\n", ERR_MALFORMED, "server", ":2: neither [section] nor"},
    {"[server]\nlistne = x\n", ERR_UNKNOWN_NAME, "server.listne",
     ":2: there is no key \"listne\" in [server]"},
    {"[store]\nlisten = 127.0.0.1:1\n", ERR_UNKNOWN_NAME, "store.listen", ":2: there is no key"},
    {"[server]\nidle_s = 3\n\nidle_s = 4\n", ERR_CONFLICT, "server.idle_s",
     ":4: idle_s is given twice, first in line 2"},
    {"[server]\nidle_s = 3\n[log]\n[server]\nidle_s = 3\n", ERR_CONFLICT, "server.idle_s", ":5:"},
    {"[server]\nlisten = 127.0.0.1:1,\n  127.0.0.1:2\n", ERR_MALFORMED, "server",
     ":3: a line that starts with a space"},
    {"[server]\nidle_s = 0\n", ERR_OUT_OF_RANGE, "server.idle_s", "0 is not between 1 and 3600"},
    {"[server]\nidle_s = 3601\n", ERR_OUT_OF_RANGE, "server.idle_s", "3601 is not between"},
    {"[server]\nidle_s = -1\n", ERR_INVALID, "server.idle_s", "\"-1\" is not a whole number"},
    {"[server]\nidle_s = 1.5\n", ERR_INVALID, "server.idle_s", "is not a whole number"},
    {"[server]\nidle_s =\n", ERR_INVALID, "server.idle_s", "\"\" is not a whole number"},
    {"[server]\nidle_s = 99999999999999999999\n", ERR_OUT_OF_RANGE, "server.idle_s", "not between"},
    {"[server]\nbody_bytes_max = 1\n", ERR_OUT_OF_RANGE, "server.body_bytes_max", "not between"},
    {"[server]\nbody_bytes_max = 64KB\n", ERR_INVALID, "server.body_bytes_max", "is not a size"},
    {"[server]\npublic_read = maybe\n", ERR_INVALID, "server.public_read", "not yes or no"},
    {"[server]\nlisten = localhost\n", ERR_INVALID, "server.listen", "must be ADDRESS:PORT"},
    {"[server]\nlisten = 127.0.0.1:65536\n", ERR_INVALID, "server.listen", "port must be 0"},
    {"[server]\nlisten = 127.0.0.1:\n", ERR_INVALID, "server.listen", "port must be 0"},
    {"[server]\nlisten = ::1:80\n", ERR_INVALID, "server.listen", "must be ADDRESS:PORT"},
    {"[server]\nlisten = [::1]\n", ERR_INVALID, "server.listen", "must be [ADDRESS]:PORT"},
    {"[server]\nlisten = unix:run/x\n", ERR_INVALID, "server.listen", "must be absolute"},
    {"[server]\nlisten = unix:/" LONG_50 LONG_50 LONG_50 "\n", ERR_INVALID, "server.listen",
     "at most 107 bytes"},
    {"[server]\nlisten = 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1 1:1\n",
     ERR_TOO_LARGE, "server.listen", "more than 16 items"},
    {"[server]\nallowed_hosts = *.example.org\n", ERR_INVALID, "server.allowed_hosts",
     "no wildcards"},
    {"[server]\nallowed_hosts = http://x\n", ERR_INVALID, "server.allowed_hosts", "host name"},
    {"[server]\nuser = a/b\n", ERR_INVALID, "server.user", "must be a user name"},
    {"[store]\ndirectory = var/lib\n", ERR_INVALID, "store.directory", "absolute path"},
    {"[supervisor]\nuids = 61000\n", ERR_INVALID, "supervisor.uids", "FIRST-LAST or none"},
    {"[supervisor]\nuids = 0-7\n", ERR_INVALID, "supervisor.uids", "at least 1"},
    {"[supervisor]\nuids = 9-7\n", ERR_INVALID, "supervisor.uids", "not above LAST"},
    {"[supervisor]\nuids = 1--7\n", ERR_INVALID, "supervisor.uids", "FIRST-LAST or none"},
    {"[supervisor]\ncgroup_name = ../x\n", ERR_INVALID, "supervisor.cgroup_name", "[a-z0-9._-]"},
    {"[supervisor]\ncgroup_name =\n", ERR_INVALID, "supervisor.cgroup_name", "[a-z0-9._-]"},
    {"[scheduler]\nsteal_ratio_max = 1.1\n", ERR_OUT_OF_RANGE, "scheduler.steal_ratio_max",
     "1.1 is not between 0 and 1"},
    {"[scheduler]\nsteal_ratio_max = nan\n", ERR_INVALID, "scheduler.steal_ratio_max",
     "not a number"},
    {"[scheduler]\nsteal_ratio_max = 5%\n", ERR_INVALID, "scheduler.steal_ratio_max",
     "not a number"},
    {"[executor]\nkind = slurm\n", ERR_INVALID, "executor.kind", "not one of local"},
    {"[log]\nlevel = verbose\n", ERR_INVALID, "log.level",
     "\"verbose\" is not one of error, warning, info, debug"},
    {"[store]\ndirectory = /" LONG_200 "\n", ERR_TOO_LARGE, "store", ":2: the line is too long"},
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        const struct bad_file *bad = &bad_files[i];
        struct config before, c;
        struct err e = {0};
        config_init(&before);
        c = before;
        int r = load_text(&c, bad->text, strlen(bad->text), &e);
        if (r >= 0 || e.code != bad->code || !strstr(e.message, bad->message) ||
            strcmp(e.field, bad->field) != 0)
            fail_msg("%s\n-> %d %s [%s] %s", bad->text, r, err_code_name(e.code), e.field,
                     e.message);
        assert_int_equal(r, err_code_errno(bad->code));
        assert_memory_equal(&before, &c, sizeof c);
    }
}

static void test_nul_and_missing(void **state)
{
    (void)state;
    struct config c;
    struct err e = {0};
    config_init(&c);
    assert_int_equal(load_text(&c, "[log]\nlevel = in\0fo\n", 20, &e), -EBADMSG);
    assert_non_null(strstr(e.message, ":2: a NUL byte"));
    assert_int_equal(config_load(&c, "/nonexistent/heapmark.conf", &e), -ENOENT);
    assert_non_null(strstr(e.message, "/nonexistent/heapmark.conf"));
    assert_int_equal(config_load(&c, "/tmp", &e), -EIO);
    size_t size = 3 * (CONFIG_LINES_MAX + 1);
    cleanup_(free_p) char *many = malloc(size);
    assert_non_null(many);
    for (size_t i = 0; i < size; i += 3)
        memcpy(many + i, "#x\n", 3);
    assert_int_equal(load_text(&c, many, size, &e), -E2BIG);
}

static void test_good_file(void **state)
{
    (void)state;
    static const char text[] =
        "; comment\r\n# comment\n[server]\r\nlisten = 127.0.0.1:0 unix:/run/h.sock,[::1]:81\r\n"
        "public_read=on ; said why\nbody_bytes_max = 128KiB\n\n[store]\n[log]\nlevel=debug\n"
        "format = json\n[scheduler]\nsteal_ratio_max = 0.5\n[supervisor]\nuids = 100-107";
    struct config c;
    struct err e = {0};
    config_init(&c);
    int r = load_text(&c, text, sizeof text - 1, &e);
    if (r < 0)
        fail_msg("%s", e.message);
    assert_int_equal(c.listen.count, 3);
    assert_string_equal(c.listen.items[1], "unix:/run/h.sock");
    assert_string_equal(c.listen.items[2], "[::1]:81");
    assert_true(c.public_read);
    assert_int_equal(c.body_bytes_max, 131072);
    assert_int_equal(c.log_level, 3);
    assert_int_equal(c.log_format, 2);
    assert_true(c.steal_ratio_max > 0.49 && c.steal_ratio_max < 0.51);
    assert_string_equal(c.uids, "100-107");
    assert_string_equal(c.directory, "/var/lib/heapmark");
    assert_true(c.allow_thp);
}

static void test_set(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err_code code;
    } rows[] = {
        {"server.idle_s=7", ERR_NONE},
        {"server.allowed_hosts=", ERR_NONE},
        {"store.directory=/x=y", ERR_NONE},
        {"server.idle_s", ERR_MALFORMED},
        {"idle_s=7", ERR_MALFORMED},
        {"", ERR_MALFORMED},
        {"=", ERR_MALFORMED},
        {"idle=server.s", ERR_MALFORMED},
        {"server.none=1", ERR_UNKNOWN_NAME},
        {"none.idle_s=1", ERR_UNKNOWN_NAME},
        {"server.idle_s=x", ERR_INVALID},
        {"server.idle_s= 7", ERR_INVALID},
        {"server.idle_s=70000", ERR_OUT_OF_RANGE},
        {LONG_200 ".idle_s=7", ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config c;
        struct err e = {0};
        config_init(&c);
        assert_int_equal(config_set(&c, rows[i].text, &e), err_code_errno(rows[i].code));
        assert_int_equal(e.code, rows[i].code);
    }
}

/* Every row: its default passes its own check, has help, is unique, and survives the round trip
 * through what config_print writes. */
static void test_print_reads_back(void **state)
{
    (void)state;
    struct config c, again;
    struct err e = {0};
    config_init(&c);
    assert_int_equal(config_set(&c, "server.listen=127.0.0.1:0,unix:/run/h", &e), 0);
    assert_int_equal(config_set(&c, "scheduler.steal_ratio_max=0.125", &e), 0);
    assert_int_equal(config_set(&c, "store.low_water=3GiB", &e), 0);
    cleanup_(free_p) char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_print(&c, out);
    fclose(out);
    assert_non_null(
        strstr(text, "# Set on the command line.\nlisten = 127.0.0.1:0, unix:/run/h\n"));
    config_init(&again);
    int r = load_text(&again, text, size, &e);
    if (r < 0)
        fail_msg("%s\n%s", e.message, text);
    for (const struct config_setting *row = config_settings; row->section; row++)
        assert_true(again.origin[row - config_settings] > 0);
    memcpy(again.origin, c.origin, sizeof c.origin);
    memset(again.file, 0, sizeof again.file);
    assert_memory_equal(&c, &again, sizeof c);
}

static void test_rows(void **state)
{
    (void)state;
    for (const struct config_setting *row = config_settings; row->section; row++) {
        assert_true(strlen(row->help) > 10 && row->help[strlen(row->help) - 1] == '.');
        assert_string_not_equal(config_type_name(row->type), "unknown");
        assert_true((row->type == CONFIG_ENUM) == (row->choices != NULL));
        assert_true((row->type == CONFIG_COUNT || row->type == CONFIG_SIZE ||
                     row->type == CONFIG_RATIO) == (row->max > row->min));
        for (const struct config_setting *other = config_settings; other < row; other++) {
            bool same = strcmp(other->section, row->section) == 0;
            assert_false(same && strcmp(other->key, row->key) == 0);
            assert_int_not_equal(other->offset, row->offset);
        }
    }
}

static void test_resolve(void **state)
{
    (void)state;
    static const struct {
        const char *set, *field;
    } rows[] = {
        {"server.listen=", "server.listen"},
        {"store.directory=", "store.directory"},
        {"supervisor.path=/nonexistent", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config c;
        struct err e = {0};
        config_init(&c);
        assert_int_equal(config_set(&c, rows[i].set, &e), 0);
        assert_true(config_resolve(&c, &e) < 0);
        assert_string_equal(e.field, rows[i].field);
    }
    struct config c;
    struct err e = {0};
    config_init(&c);
    assert_int_equal(config_set(&c, "supervisor.path=/bin/true", &e), 0);
    assert_int_equal(config_set(&c, "supervisor.runner=/bin/true", &e), 0);
    assert_int_equal(config_set(&c, "supervisor.catalog_dirs=/etc", &e), 0);
    assert_int_equal(config_set(&c, "store.directory=/srv/h", &e), 0);
    assert_int_equal(config_resolve(&c, &e), 0);
    assert_string_equal(c.supervisor_directory,
                        geteuid() == 0 ? "/run/heapmark" : "/srv/h/supervisor");
    assert_int_equal(c.catalog_dirs.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_files), cmocka_unit_test(test_nul_and_missing),
        cmocka_unit_test(test_good_file), cmocka_unit_test(test_set),
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_print_reads_back),
        cmocka_unit_test(test_resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
