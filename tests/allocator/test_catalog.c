/* The catalogue's grammar: good files, bad files, overriding, environments. */
#include "tests/allocator/catalog_dirs.h"

#include "workloads/workload.h"

static void test_full_file(void **state)
{
    cleanup_(catalog_free_p) struct catalog *c = load_one(
        *state,
        "; comment\n[allocator]\nsummary = an allocator ; inline\nkind = classic\norder = 7\n"
        "library = liba.so.2, liba.so.1\npackage = liba-2.0+x\nadapter = jemalloc\n"
        "flags = null, no-free\n"
        "sha256 = 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\n"
        "[symbols]\nmalloc = a_malloc\nfree = a_free\ncalloc = a_calloc\n"
        "realloc = a_realloc\naligned_alloc = a_aligned\nusable_size = a_size\n"
        "[option one]\nsummary = first\nenv = A=1\nenv = B=x=y\npages = hugetlb-2m\n"
        "[option two]\nsummary = second\nenv = C=\npages = hugetlb-1g\n");
    const struct catalog_entry *x = catalog_find(c, "x");
    assert_non_null(x);
    assert_string_equal(x->summary, "an allocator");
    assert_int_equal(x->kind, CATALOG_CLASSIC);
    assert_int_equal(x->order, 7);
    assert_int_equal(x->libraries_count, 2);
    assert_string_equal(x->libraries[0], "liba.so.2");
    assert_string_equal(x->libraries[1], "liba.so.1");
    assert_string_equal(x->package, "liba-2.0+x");
    assert_string_equal(x->symbols.adapter, "jemalloc");
    assert_string_equal(x->symbols.malloc_name, "a_malloc");
    assert_string_equal(x->symbols.free_name, "a_free");
    assert_string_equal(x->symbols.calloc_name, "a_calloc");
    assert_string_equal(x->symbols.realloc_name, "a_realloc");
    assert_string_equal(x->symbols.aligned_alloc_name, "a_aligned");
    assert_string_equal(x->symbols.usable_size_name, "a_size");
    assert_int_equal(x->flags, RING_SUBJECT_NULL | RING_SUBJECT_NO_FREE);
    assert_true(x->has_sha256);
    assert_int_equal(x->sha256[31], 0x1f);
    assert_false(x->is_libc);
    assert_int_equal(x->options_count, 2);
    assert_string_equal(x->options[0].env[1], "B=x=y");
    assert_string_equal(x->options[1].env[0], "C=");
    assert_ptr_equal(catalog_option_find(x, "two"), &x->options[1]);
    assert_null(catalog_option_find(x, "three"));
    assert_ptr_equal(catalog_option_for_pages(x, PAGES_HUGETLB_1G), &x->options[1]);
    assert_null(catalog_option_for_pages(x, PAGES_THP));
    assert_null(catalog_find(c, "y"));
    assert_null(catalog_get(c, 1));
}

static void test_defaults(void **state)
{
    cleanup_(catalog_free_p) struct catalog *c = load_one(*state, HEAD SYMS);
    const struct catalog_entry *x = catalog_find(c, "x");
    assert_int_equal(x->kind, CATALOG_ALLOCATOR);
    assert_int_equal(x->order, 5000);
    assert_string_equal(x->symbols.calloc_name, "");
    assert_string_equal(x->symbols.adapter, "");
    assert_int_equal(x->flags, 0);
    assert_false(x->has_sha256);
}

#define LONG_50  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
#define LONG_200 LONG_50 LONG_50 LONG_50 LONG_50

static const struct bad {
    const char *text;
    unsigned line;
    const char *why; /* part of the message */
} bad_files[] = {
    {"", 0, "summary is missing in [allocator]"},
    {SYMS, 3, "summary is missing in [allocator]"},
    {"[allocator]\nsummary = s\n" SYMS, 5, "library is missing in [allocator]"},
    {HEAD, 3, "malloc is missing in [symbols]"},
    {HEAD "[symbols]\nmalloc = m\n", 5, "free is missing in [symbols]"},
    {"summary = s\n", 1, "outside of any section"},
    {HEAD "colour = red\n" SYMS, 4, "unknown key \"colour\""},
    {HEAD "malloc = m\n" SYMS, 4, "unknown key \"malloc\""},
    {HEAD SYMS "[colours]\n", 7, "unknown section [colours]"},
    {HEAD SYMS "[]\n", 7, "unknown section []"},
    {HEAD SYMS "[allocator\n", 7, "neither a section"},
    {HEAD "just words\n" SYMS, 4, "neither a section"},
    {HEAD "summary = t\n" SYMS, 4, "summary stands here twice"},
    {HEAD "  continued\n" SYMS, 4, "library stands here twice"},
    {HEAD SYMS HEAD, 7, "section [allocator] stands here twice"},
    {"[allocator]\nsummary =\n", 2, "summary is empty"},
    {"[allocator]\nsummary = " LONG_50 LONG_50 LONG_50 "\n", 2, "longer than 127 bytes"},
    {"[allocator]\nsummary = a\x01z\n", 2, "control character"},
    {"[allocator]\n; " LONG_200 "\n", 2, "line is longer"},
    {HEAD "kind = fast\n" SYMS, 4, "unknown kind \"fast\""},
    {HEAD "order = first\n" SYMS, 4, "order is not a number"},
    {HEAD "order = -1\n" SYMS, 4, "order is not a number"},
    {HEAD "order = 10000\n" SYMS, 4, "order is not a number"},
    {"[allocator]\nlibrary = ../x.so\n", 2, "neither a file name nor an absolute path"},
    {"[allocator]\nlibrary = a.so,,b.so\n", 2, "empty item"},
    {"[allocator]\nlibrary = ..\n", 2, "not a file name"},
    {"[allocator]\nlibrary = /a.so, b.so\n", 2, "stands alone"},
    {"[allocator]\nlibrary = a,b,c,d,e,f,g,h,i\n", 2, "more than 8 files"},
    {HEAD "package = lib x; rm\n" SYMS, 4, "not a Debian package name"},
    {HEAD "adapter = nosuch\n" SYMS, 4, "there is no adapter \"nosuch\""},
    {HEAD "flags = null, slow\n" SYMS, 4, "unknown flag \"slow\""},
    {HEAD "sha256 = abc\n" SYMS, 4, "sha256 is not 64 hexadecimal digits"},
    {HEAD "[symbols]\nmalloc = my malloc\n", 5, "malloc is not a symbol name"},
    {HEAD "[symbols]\nmalloc = 1malloc\n", 5, "malloc is not a symbol name"},
    {HEAD "[symbols]\nfree =\n", 5, "free is not a symbol name"},
    {HEAD "[symbols]\nfree = " LONG_50 "\n", 5, "free is longer than 47 bytes"},
    {HEAD SYMS "[option A]\n", 7, "bad option name \"A\""},
    {HEAD SYMS "[option ]\n", 7, "bad option name \"\""},
    {HEAD SYMS "[option " LONG_50 "]\n", 7, "bad option name"},
    {HEAD SYMS "[option o]\nsummary = s\n", 8, "env is missing in [option o]"},
    {HEAD SYMS "[option o]\nenv = A=1\n[option p]\n", 9, "summary is missing in [option o]"},
    {HEAD SYMS "[option o]\nsummary = s\nenv = A=1\n[option o]\n", 10,
     "option o stands here twice"},
    {HEAD SYMS "[option o]\nenv = A\n", 8, "env is not NAME=value"},
    {HEAD SYMS "[option o]\nenv = =1\n", 8, "env is not NAME=value"},
    {HEAD SYMS "[option o]\nenv = 1A=1\n", 8, "env is not NAME=value"},
    {HEAD SYMS "[option o]\nenv = A B=1\n", 8, "env is not NAME=value"},
    {HEAD SYMS "[option o]\nenv = LD_PRELOAD=/x\n", 8, "must not set LD_*"},
    {HEAD SYMS "[option o]\nenv = HEAPMARK_PAD=x\n", 8, "must not set LD_*"},
    {HEAD SYMS "[option o]\nenv = A=1\nenv = A=2\n", 9, "env sets A twice"},
    {HEAD SYMS "[option o]\nenv = A=\nenv = B=\nenv = C=\nenv = D=\nenv = E=\n", 12, "at most 4"},
    {HEAD SYMS "[option o]\npages = 4k\n", 8, "not a page mode an option can enable: \"4k\""},
    {HEAD SYMS "[option o]\npages = 2m\n", 8, "not a page mode an option can enable: \"2m\""},
    {HEAD SYMS "[option o]\nsummary = s\nenv = A=1\npages = hugetlb-2m\n"
               "[option p]\npages = hugetlb-2m\n",
     12, "page mode hugetlb-2m is already enabled by option o"},
};

static void test_bad_files(void **state)
{
    const struct dirs *d = *state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        const struct bad *bad = &bad_files[i];
        struct catalog *c = NULL;
        struct err e = {0};
        char where[128];
        put_text(d->shipped, "x.ini", bad->text);
        snprintf(where, sizeof where, "%s/x.ini:%u: ", d->shipped, bad->line);
        int r = load(d, &c, &e);
        if (r != err_code_errno(ERR_INVALID) || e.code != ERR_INVALID || c)
            fail_msg("row %zu (%s) was accepted", i, bad->why);
        if (strncmp(e.message, where, strlen(where)) != 0 || !strstr(e.message, bad->why))
            fail_msg("row %zu: \"%s\" is not \"%s...%s\"", i, e.message, where, bad->why);
    }
}

static void test_bad_bytes(void **state)
{
    const struct dirs *d = *state;
    static const char nul[] = "[allocator]\nsummary = a\0b\n";
    struct catalog *c = NULL;
    struct err e = {0};
    put(d->shipped, "x.ini", nul, sizeof nul - 1);
    assert_int_equal(load(d, &c, &e), err_code_errno(ERR_INVALID));
    assert_non_null(strstr(e.message, "x.ini:2: a NUL byte"));

    char lines[1100];
    memset(lines, '\n', sizeof lines);
    put(d->shipped, "x.ini", lines, sizeof lines);
    assert_int_equal(load(d, &c, &e), err_code_errno(ERR_INVALID));
    assert_non_null(strstr(e.message, "more than 1000 lines"));

    /* The last line needs no newline, and CRLF is as good. */
    cleanup_(catalog_free_p) struct catalog *good = load_one(
        d, "[allocator]\r\nsummary = s\r\nlibrary = a\r\n[symbols]\r\nmalloc=m\r\nfree = f");
    assert_string_equal(catalog_find(good, "x")->symbols.free_name, "f");
}

static void test_bad_places(void **state)
{
    const struct dirs *d = *state;
    struct catalog *c = NULL;
    struct err e = {0};
    char path[128];

    put_text(d->shipped, "Bad Name.ini", HEAD SYMS);
    assert_int_equal(load(d, &c, &e), err_code_errno(ERR_INVALID));
    assert_non_null(strstr(e.message, "not a catalogue name: \"Bad Name\""));
    snprintf(path, sizeof path, "%s/Bad Name.ini", d->shipped);
    assert_int_equal(unlink(path), 0);

    snprintf(path, sizeof path, "%s/dir.ini", d->shipped);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(load(d, &c, &e), err_code_errno(ERR_INVALID));
    assert_non_null(strstr(e.message, "dir.ini is not a regular file"));
    assert_int_equal(rmdir(path), 0);

    snprintf(path, sizeof path, "%s/fifo.ini", d->shipped);
    assert_int_equal(mkfifo(path, 0644), 0);
    assert_int_equal(load(d, &c, &e), err_code_errno(ERR_INVALID)); /* and does not hang */
    assert_int_equal(unlink(path), 0);

    snprintf(path, sizeof path, "%s/gone.ini", d->shipped);
    assert_int_equal(symlink("/nonexistent", path), 0);
    assert_int_equal(load(d, &c, &e), -ENOENT);
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(unlink(path), 0);

    const char *missing[] = {"/nonexistent", NULL};
    assert_int_equal(catalog_load(missing, NULL, &c, &e), -ENOENT);
    assert_non_null(strstr(e.message, "/nonexistent"));

    const char *none[] = {d->shipped, NULL}, *relative[] = {"lib", NULL};
    assert_int_equal(catalog_load(none, relative, &c, &e), err_code_errno(ERR_INVALID));
    assert_null(c);
}

static void test_too_many(void **state)
{
    const struct dirs *d = *state;
    struct catalog *c = NULL;
    struct err e = {0};
    char name[32];
    for (int i = 0; i < CATALOG_ENTRIES_MAX; i++) {
        snprintf(name, sizeof name, "n%03d.ini", i);
        put_text(d->shipped, name, HEAD SYMS);
    }
    put_text(d->admin, "n000.ini", HEAD SYMS); /* an override takes no place */
    assert_int_equal(load(d, &c, &e), 0);
    assert_int_equal(catalog_count(c), CATALOG_ENTRIES_MAX);
    catalog_free(c);
    c = NULL;
    put_text(d->admin, "other.ini", HEAD SYMS);
    assert_int_equal(load(d, &c, &e), err_code_errno(ERR_TOO_LARGE));
    assert_non_null(strstr(e.message, "128"));
    assert_null(c);
}

static void test_override_and_order(void **state)
{
    const struct dirs *d = *state;
    struct catalog *loaded = NULL;
    struct err e = {0};
    put_text(d->shipped, "b.ini", "[allocator]\nsummary=s\nlibrary=l\norder=2\n" SYMS);
    put_text(d->shipped, "c.ini",
             "[allocator]\nsummary=s\nlibrary=l\norder=1\n" SYMS
             "[option o]\nsummary = s\nenv = A=1\n");
    put_text(d->shipped, "a.ini", "[allocator]\nsummary=s\nlibrary=l\norder=2\n" SYMS);
    put_text(d->shipped, "notes.txt", "not a catalogue file");
    put_text(d->admin, "c.ini", "[allocator]\nsummary=mine\nlibrary=libc\norder=9\n" SYMS);
    assert_int_equal(load(d, &loaded, &e), 0);
    cleanup_(catalog_free_p) struct catalog *c = loaded;
    assert_int_equal(catalog_count(c), 3);
    assert_string_equal(catalog_get(c, 0)->name, "a");
    assert_string_equal(catalog_get(c, 1)->name, "b");
    assert_string_equal(catalog_get(c, 2)->name, "c");
    const struct catalog_entry *mine = catalog_find(c, "c");
    assert_string_equal(mine->summary, "mine");
    assert_true(mine->is_libc);
    assert_int_equal(mine->options_count, 0); /* replaced as a whole, nothing shines through */
    assert_non_null(strstr(mine->file, d->admin));
}

static void test_environment(void **state)
{
    cleanup_(catalog_free_p) struct catalog *c = load_one(
        *state, HEAD SYMS "[option tun]\nsummary=s\nenv=GLIBC_TUNABLES=glibc.malloc.hugetlb=2\n"
                          "[option tun2]\nsummary=s\nenv=GLIBC_TUNABLES=glibc.malloc.arena_max=1\n"
                          "[option tun3]\nsummary=s\nenv=GLIBC_TUNABLES=glibc.malloc.hugetlb=1\n"
                          "[option conf]\nsummary=s\nenv=MALLOC_CONF=a:1,b:2\nenv=X=1\n"
                          "[option conf2]\nsummary=s\nenv=MALLOC_CONF=bb:3\n"
                          "[option conf3]\nsummary=s\nenv=MALLOC_CONF=c:1,b:3\n"
                          "[option plain]\nsummary=s\nenv=X=2\n"
                          "[option tls]\nsummary=s\n"
                          "env=GLIBC_TUNABLES=glibc.rtld.optional_static_tls=1\n");
    const struct catalog_entry *x = catalog_find(c, "x");
    const char *all[] = {"tun", "conf", "tun2", "conf2"};
    struct catalog_environment env;
    struct err e = {0};
    assert_int_equal(catalog_environment(x, all, 0, &env, &e), 0);
    assert_int_equal(env.count, 1);
    assert_string_equal(env.values[0], "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384");

    assert_int_equal(catalog_environment(x, all, 4, &env, &e), 0);
    assert_int_equal(env.count, 3);
    assert_string_equal(env.values[0], "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384:"
                                       "glibc.malloc.hugetlb=2:glibc.malloc.arena_max=1");
    assert_string_equal(env.values[1], "MALLOC_CONF=a:1,b:2,bb:3");
    assert_string_equal(env.values[2], "X=1");

    static const struct {
        const char *options[2];
        enum err_code code;
        const char *field;
    } bad[] = {
        {{"tun", "tun3"}, ERR_CONFLICT, "/options/1"},
        {{"conf", "conf3"}, ERR_CONFLICT, "/options/1"},
        {{"conf", "plain"}, ERR_CONFLICT, "/options/1"},
        {{"tun", "tls"}, ERR_CONFLICT, "/options/1"},
        {{"tun", "tun"}, ERR_INVALID, "/options/1"},
        {{"nosuch", "tun"}, ERR_UNKNOWN_NAME, "/options/0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        env.count = 77;
        assert_int_equal(catalog_environment(x, bad[i].options, 2, &env, &e),
                         err_code_errno(bad[i].code));
        assert_int_equal(e.code, bad[i].code);
        assert_string_equal(e.field, bad[i].field);
        assert_int_equal(env.count, 77); /* outputs only on success */
    }
}

static void test_kind_names(void **state)
{
    (void)state;
    for (int i = 0; i < CATALOG_KIND_COUNT_; i++)
        assert_int_equal(catalog_kind_parse(catalog_kind_name((enum catalog_kind)i)), i);
    assert_int_equal(catalog_kind_parse(""), -ENOENT);
    assert_string_equal(catalog_kind_name(CATALOG_KIND_COUNT_), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_full_file),          CASE(test_defaults),    CASE(test_bad_files),
        CASE(test_bad_bytes),          CASE(test_bad_places),  CASE(test_too_many),
        CASE(test_override_and_order), CASE(test_environment), cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
