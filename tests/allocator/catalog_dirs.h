/* What the catalogue's tests share: directories of their own, files in them, loading. */
#ifndef HEAPMARK_TESTS_ALLOCATOR_CATALOG_DIRS_H
#define HEAPMARK_TESTS_ALLOCATOR_CATALOG_DIRS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

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
#include "tests/lib/remove_tree.h"

#define HEAD "[allocator]\nsummary = s\nlibrary = libx.so\n"
#define SYMS "[symbols]\nmalloc = m\nfree = f\n"

DEFINE_CLEANUP(struct catalog *, catalog_free)

struct dirs {
    char shipped[64], admin[64], libs[64];
};

__attribute__((unused)) static int make_dirs(void **state)
{
    struct dirs *d = calloc(1, sizeof *d);
    snprintf(d->shipped, sizeof d->shipped, "/tmp/hm-catalog-XXXXXX");
    snprintf(d->admin, sizeof d->admin, "/tmp/hm-admin-XXXXXX");
    snprintf(d->libs, sizeof d->libs, "/tmp/hm-libs-XXXXXX");
    if (!mkdtemp(d->shipped) || !mkdtemp(d->admin) || !mkdtemp(d->libs)) {
        free(d);
        return -1;
    }
    *state = d;
    return 0;
}

__attribute__((unused)) static int remove_dirs(void **state)
{
    struct dirs *d = *state;
    int r = remove_tree(d->shipped) | remove_tree(d->admin) | remove_tree(d->libs);
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

__attribute__((unused)) static struct catalog *load_one(const struct dirs *d, const char *text)
{
    struct catalog *c = NULL;
    struct err e = {0};
    put_text(d->shipped, "x.ini", text);
    if (load(d, &c, &e) != 0)
        fail_msg("%s", e.message);
    return c;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)

#endif
