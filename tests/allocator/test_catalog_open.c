/* From a catalogue entry to exactly the right file, or none: search, ELF checks, identity. */
#include "tests/allocator/catalog_dirs.h"

#include <elf.h>

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
    if (!copy)
        abort();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_missing_library), CASE(test_bad_library), CASE(test_wrong_file_types),
        CASE(test_search_order),    CASE(test_identity),    CASE(test_identity_cache_wraps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
