/* The catalogue: grammar, overriding, environments, and finding exactly the right file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"
#include "daemon/catalog/catalog.h"
#include "workloads/workload.h"

#define HEAD "[allocator]\nsummary = s\nlibrary = libx.so\n"
#define SYMS "[symbols]\nmalloc = m\nfree = f\n"

DEFINE_CLEANUP(struct catalog *, catalog_free)

struct dirs {
    char shipped[64], admin[64], libs[64];
};

static int make_dirs(void **state)
{
    struct dirs *d = calloc(1, sizeof *d);
    snprintf(d->shipped, sizeof d->shipped, "/tmp/hm-catalog-XXXXXX");
    snprintf(d->admin, sizeof d->admin, "/tmp/hm-admin-XXXXXX");
    snprintf(d->libs, sizeof d->libs, "/tmp/hm-libs-XXXXXX");
    if (!mkdtemp(d->shipped) || !mkdtemp(d->admin) || !mkdtemp(d->libs))
        return -1;
    *state = d;
    return 0;
}

static int remove_dirs(void **state)
{
    struct dirs *d = *state;
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s %s %s", d->shipped, d->admin, d->libs);
    int r = system(command);
    free(d);
    return r;
}

static void put(const char *dir, const char *name, const void *data, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cleanup_(close_p) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, data, size), 0);
}

static void put_text(const char *dir, const char *name, const char *text)
{
    put(dir, name, text, strlen(text));
}

static int load(const struct dirs *d, struct catalog **ret, struct err *e)
{
    const char *dirs[] = {d->shipped, d->admin, NULL};
    const char *libs[] = {d->libs, NULL};
    return catalog_load(dirs, libs, ret, e);
}

static struct catalog *load_one(const struct dirs *d, const char *text)
{
    struct catalog *c = NULL;
    struct err e = {0};
    put_text(d->shipped, "x.ini", text);
    if (load(d, &c, &e) != 0)
        fail_msg("%s", e.message);
    return c;
}

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
    struct catalog_environment env;
    struct err e = {0};
    assert_int_equal(catalog_environment(x, NULL, 0, &env, &e), 0);
    assert_int_equal(env.count, 1);
    assert_string_equal(env.values[0], "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384");

    const char *all[] = {"tun", "conf", "tun2", "conf2"};
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

static void test_missing_library(void **state)
{
    const struct dirs *d = *state;
    struct err e = {0};
    char path[CATALOG_PATH_SIZE] = "untouched";
    int fd = -7;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"[allocator]\nsummary=s\nlibrary=libnosuch-hm.so.9\npackage=libnosuch9\n" SYMS,
         "x is not installed: install Debian package libnosuch9"},
        {"[allocator]\nsummary=s\nlibrary=libnosuch-hm.so.9\n" SYMS,
         "x is not installed: libnosuch-hm.so.9 was not found"},
        {"[allocator]\nsummary=s\nlibrary=/nonexistent/libc.so.6\npackage=libc6\n" SYMS,
         "x is not installed: install Debian package libc6"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cleanup_(catalog_free_p) struct catalog *c = load_one(d, rows[i].text);
        assert_int_equal(catalog_open(c, catalog_find(c, "x"), &fd, path, &e),
                         err_code_errno(ERR_UNAVAILABLE));
        assert_int_equal(e.code, ERR_UNAVAILABLE);
        assert_string_equal(e.message, rows[i].message);
        assert_int_equal(fd, -7);
        assert_string_equal(path, "untouched");
    }
}

/* A copy of a real library to damage: our own C library's file. */
static size_t read_real_library(char **ret_data)
{
    char path[CATALOG_PATH_SIZE];
    struct err e;
    int fd = -1;
    struct stat st;
    static const struct catalog_entry libc = {.name = "libc", .is_libc = true};
    if (catalog_open(NULL, &libc, &fd, path, &e) != 0)
        fail_msg("%s", e.message);
    assert_int_equal(fstat(fd, &st), 0);
    char *data = malloc((size_t)st.st_size);
    assert_non_null(data);
    assert_int_equal(pread(fd, data, (size_t)st.st_size, 0), st.st_size);
    close(fd);
    *ret_data = data;
    return (size_t)st.st_size;
}

static void set_class32(Elf64_Ehdr *h)
{
    h->e_ident[EI_CLASS] = ELFCLASS32;
}
static void set_big_endian(Elf64_Ehdr *h)
{
    h->e_ident[EI_DATA] = ELFDATA2MSB;
}
static void set_machine(Elf64_Ehdr *h)
{
    h->e_machine = EM_RISCV;
}
static void set_core(Elf64_Ehdr *h)
{
    h->e_type = ET_CORE;
}
static void set_executable(Elf64_Ehdr *h)
{
    h->e_type = ET_EXEC;
}
static void set_no_headers(Elf64_Ehdr *h)
{
    h->e_phnum = 0;
}
static void set_many_headers(Elf64_Ehdr *h)
{
    h->e_phnum = 5000;
}
static void set_header_size(Elf64_Ehdr *h)
{
    h->e_phentsize = 3;
}
static void set_far_headers(Elf64_Ehdr *h)
{
    h->e_phoff = UINT64_MAX - 8;
}
static void set_far_sections(Elf64_Ehdr *h)
{
    h->e_shoff = UINT64_MAX - 8;
}
static void set_magic(Elf64_Ehdr *h)
{
    h->e_ident[0] = '#';
}
static void set_static(Elf64_Ehdr *h)
{
    Elf64_Phdr *p = (Elf64_Phdr *)((char *)h + h->e_phoff);
    for (unsigned i = 0; i < h->e_phnum; i++)
        if (p[i].p_type == PT_DYNAMIC)
            p[i].p_type = PT_NOTE;
}
static void set_far_segment(Elf64_Ehdr *h)
{
    ((Elf64_Phdr *)((char *)h + h->e_phoff))[0].p_filesz = UINT64_MAX;
}

static const struct damage {
    const char *why;
    void (*apply)(Elf64_Ehdr *h);
    size_t keep; /* bytes of the file; 0: all */
} damages[] = {
    {"another machine", set_class32, 0},
    {"another machine", set_big_endian, 0},
    {"another machine", set_machine, 0},
    {"not a shared object", set_core, 0},
    {"not a shared object", set_executable, 0},
    {"program headers", set_no_headers, 0},
    {"program headers", set_many_headers, 0},
    {"program headers", set_header_size, 0},
    {"truncated", set_far_headers, 0},
    {"truncated", set_far_sections, 0},
    {"truncated", set_far_segment, 0},
    {"not a dynamic library", set_static, 0},
    {"not an ELF file", set_magic, 0},
    {"not an ELF file", NULL, 1},
    {"truncated", NULL, 16},
    {"truncated", NULL, 64},
    {"truncated", NULL, 4096},
    {"truncated", NULL, 100000},
};

static void test_bad_library(void **state)
{
    const struct dirs *d = *state;
    cleanup_(free_p) char *data = NULL, *copy = NULL;
    size_t size = read_real_library(&data);
    copy = malloc(size);
    /* The second name is good and must not be taken instead. */
    cleanup_(catalog_free_p) struct catalog *c =
        load_one(d, "[allocator]\nsummary=s\nlibrary=libbad.so, libgood.so\npackage=p\n" SYMS);
    put(d->libs, "libgood.so", data, size);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct err e = {0};
        char path[CATALOG_PATH_SIZE];
        int fd = -7;
        memcpy(copy, data, size);
        if (damages[i].apply)
            damages[i].apply((Elf64_Ehdr *)copy);
        put(d->libs, "libbad.so", copy, damages[i].keep ? damages[i].keep : size);
        int r = catalog_open(c, catalog_find(c, "x"), &fd, path, &e);
        if (r != err_code_errno(ERR_INVALID) || !strstr(e.message, damages[i].why) ||
            !strstr(e.message, "libbad.so") || fd != -7)
            fail_msg("row %zu (%s): %d \"%s\"", i, damages[i].why, r, e.message);
    }
}

static void test_wrong_file_types(void **state)
{
    const struct dirs *d = *state;
    struct err e = {0};
    char path[CATALOG_PATH_SIZE], name[128];
    int fd = -7;
    cleanup_(catalog_free_p) struct catalog *c =
        load_one(d, "[allocator]\nsummary=s\nlibrary=libbad.so\npackage=p\n" SYMS);
    const struct catalog_entry *x = catalog_find(c, "x");
    snprintf(name, sizeof name, "%s/libbad.so", d->libs);

    put_text(d->libs, "libbad.so", "");
    assert_int_equal(catalog_open(c, x, &fd, path, &e), err_code_errno(ERR_INVALID));
    put_text(d->libs, "libbad.so", "/* GNU ld script */ INPUT(libx.so.2)\n");
    assert_int_equal(catalog_open(c, x, &fd, path, &e), err_code_errno(ERR_INVALID));
    assert_non_null(strstr(e.message, "not an ELF file"));
    assert_int_equal(unlink(name), 0);

    assert_int_equal(mkdir(name, 0755), 0);
    assert_int_equal(catalog_open(c, x, &fd, path, &e), err_code_errno(ERR_INVALID));
    assert_int_equal(rmdir(name), 0);

    assert_int_equal(mkfifo(name, 0644), 0);
    assert_int_equal(catalog_open(c, x, &fd, path, &e), err_code_errno(ERR_INVALID));
    assert_int_equal(unlink(name), 0);

    assert_int_equal(symlink(name, name), 0);
    assert_int_equal(catalog_open(c, x, &fd, path, &e), -ELOOP);
    assert_int_equal(fd, -7);
}

static void test_search_order(void **state)
{
    const struct dirs *d = *state;
    struct err e = {0};
    char path[CATALOG_PATH_SIZE], expected[128];
    int fd;
    cleanup_(free_p) char *data = NULL;
    size_t size = read_real_library(&data);
    cleanup_(catalog_free_p) struct catalog *c =
        load_one(d, "[allocator]\nsummary=s\nlibrary=libfirst.so, libc.so.6\n" SYMS);
    const struct catalog_entry *x = catalog_find(c, "x");

    assert_int_equal(catalog_open(c, x, &fd, path, &e), 0); /* the system's, second name */
    assert_non_null(strstr(path, "/libc.so.6"));
    close(fd);
    put(d->libs, "libc.so.6", data, size); /* a directory of ours comes before the system's */
    assert_int_equal(catalog_open(c, x, &fd, path, &e), 0);
    snprintf(expected, sizeof expected, "%s/libc.so.6", d->libs);
    assert_string_equal(path, expected);
    close(fd);
    put(d->libs, "libfirst.so", data, size); /* and the first name before the second */
    assert_int_equal(catalog_open(c, x, &fd, path, &e), 0);
    snprintf(expected, sizeof expected, "%s/libfirst.so", d->libs);
    assert_string_equal(path, expected);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
}

static void test_identity(void **state)
{
    const struct dirs *d = *state;
    struct err e = {0};
    char path[CATALOG_PATH_SIZE], hex[SHA256_HEX_SIZE];
    cleanup_(free_p) char *data = NULL;
    size_t size = read_real_library(&data);
    put(d->libs, "liba.so", data, size);
    cleanup_(catalog_free_p) struct catalog *c =
        load_one(d, "[allocator]\nsummary=s\nlibrary=liba.so\n" SYMS);
    struct catalog_entry x = *catalog_find(c, "x");
    cleanup_(close_p) int fd = -1;
    assert_int_equal(catalog_open(c, &x, &fd, path, &e), 0);

    uint8_t digest[SHA256_SIZE];
    hash_sha256(data, size, digest);
    struct catalog_identity first, second;
    struct stat st;
    fstat(fd, &st);
    assert_int_equal(catalog_identify(c, &x, fd, &first, &e), 0);
    assert_memory_equal(first.sha256, digest, SHA256_SIZE);
    assert_int_equal(first.inode, st.st_ino);
    assert_int_equal(first.device, st.st_dev);
    assert_int_equal(first.size_bytes, size);
    assert_int_equal(catalog_identify(c, &x, fd, &second, &e), 0); /* from the cache */
    assert_memory_equal(first.sha256, second.sha256, SHA256_SIZE);

    /* The same inode with other contents must be hashed again. */
    data[size - 1] ^= 1;
    put(d->libs, "liba.so", data, size);
    hash_sha256(data, size, digest);
    assert_int_equal(catalog_identify(c, &x, fd, &second, &e), 0);
    assert_int_equal(second.inode, first.inode);
    assert_memory_equal(second.sha256, digest, SHA256_SIZE);

    x.has_sha256 = true;
    memcpy(x.sha256, digest, SHA256_SIZE);
    assert_int_equal(catalog_identify(c, &x, fd, &second, &e), 0);
    x.sha256[0] ^= 1;
    assert_int_equal(catalog_identify(c, &x, fd, &second, &e), err_code_errno(ERR_FORBIDDEN));
    hash_sha256_hex(data, size, hex);
    assert_non_null(strstr(e.message, hex));
}

/* More files than the cache has slots: old ones are replaced, answers stay right. */
static void test_identity_cache_wraps(void **state)
{
    const struct dirs *d = *state;
    cleanup_(catalog_free_p) struct catalog *c = load_one(d, HEAD SYMS);
    const struct catalog_entry *x = catalog_find(c, "x");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            char name[32], path[128];
            snprintf(name, sizeof name, "f%d", i);
            put(d->libs, name, &i, sizeof i);
            snprintf(path, sizeof path, "%s/%s", d->libs, name);
            cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
            struct catalog_identity id;
            uint8_t digest[SHA256_SIZE];
            hash_sha256(&i, sizeof i, digest);
            assert_int_equal(catalog_identify(c, x, fd, &id, NULL), 0);
            assert_memory_equal(id.sha256, digest, SHA256_SIZE);
        }
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

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_full_file),
        CASE(test_defaults),
        CASE(test_bad_files),
        CASE(test_bad_bytes),
        CASE(test_bad_places),
        CASE(test_too_many),
        CASE(test_override_and_order),
        CASE(test_environment),
        CASE(test_missing_library),
        CASE(test_bad_library),
        CASE(test_wrong_file_types),
        CASE(test_search_order),
        CASE(test_identity),
        CASE(test_identity_cache_wraps),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
