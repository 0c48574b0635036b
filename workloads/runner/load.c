/* The only dlopen: loads the allocator under test and proves that every call goes to it.
 *
 * Names prove nothing: dlsym finds libc's malloc through a library that has none. The proof is
 * where the code lies: /proc/self/maps gives device and inode of the mapping that holds each
 * resolved symbol, and that must be the file behind the hashed descriptor. The kernel's idea of
 * a device in maps is not always stat's (btrfs, overlays), so the file is mapped once itself and
 * the two mappings are compared; stat then ties the descriptor to what the supervisor hashed.
 *
 * Never dlclose: allocators keep thread-exit hooks. Main thread, before any other exists. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocators/adapters/adapter.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"
#include "workloads/runner/runner.h"

#define MAPS_LINE_MAX 4352 /* addresses, rights, ids and a PATH_MAX */

struct maps_line {
    uint64_t start, end, inode;
    unsigned major, minor;
    char path[PATH_MAX];
};

/* A line of /proc/self/maps, read byte-wise from a buffer on the stack: stdio would allocate. */
struct maps_reader {
    int fd;
    size_t used, count;
    char buf[4096];
};

static int maps_getc(struct maps_reader *m)
{
    if (m->used == m->count) {
        ssize_t n;
        do
            n = read(m->fd, m->buf, sizeof m->buf);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            return -1;
        m->used = 0;
        m->count = (size_t)n;
    }
    return (unsigned char)m->buf[m->used++];
}

/* "start-end rights offset major:minor inode   path"; false if it is anything else. */
static bool maps_parse(char *line, struct maps_line *ret)
{
    char *at = line;
    ret->start = strtoull(at, &at, 16);
    if (*at++ != '-')
        return false;
    ret->end = strtoull(at, &at, 16);
    if (*at++ != ' ' || !(at = strchr(at, ' ')))
        return false;
    (void)strtoull(at, &at, 16); /* offset */
    ret->major = (unsigned)strtoul(at, &at, 16);
    if (*at++ != ':')
        return false;
    ret->minor = (unsigned)strtoul(at, &at, 16);
    ret->inode = strtoull(at, &at, 10);
    at += strspn(at, " ");
    (void)text_copy(ret->path, sizeof ret->path, at);
    return true;
}

static bool maps_next(struct maps_reader *m, struct maps_line *ret)
{
    char line[MAPS_LINE_MAX];
    size_t n = 0;
    int c;
    while ((c = maps_getc(m)) >= 0 && c != '\n')
        if (n + 1 < sizeof line)
            line[n++] = (char)c;
    line[n] = '\0';
    return n > 0 && maps_parse(line, ret);
}

static int maps_find(const void *address, struct maps_line *ret)
{
    cleanup_(close_p) int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct maps_reader reader = {.fd = fd};
    while (maps_next(&reader, ret))
        if ((uintptr_t)address >= ret->start && (uintptr_t)address < ret->end)
            return 0;
    return -ENOENT;
}

/* How maps names the file behind fd. */
static int maps_of_file(int fd, struct maps_line *ret)
{
    void *probe = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
    if (probe == MAP_FAILED)
        return -errno;
    int r = maps_find(probe, ret);
    (void)munmap(probe, 1);
    return r;
}

struct load_symbol {
    const char *name;
    void *address;
};
#define LOAD_SYMBOLS 6

static int load_resolve(struct runner *r, struct load_symbol symbols[LOAD_SYMBOLS])
{
    const struct ring_symbols *y = &r->subject->symbols;
    const char *const names[LOAD_SYMBOLS] = {y->malloc_name,        y->free_name,
                                             y->calloc_name,        y->realloc_name,
                                             y->aligned_alloc_name, y->usable_size_name};
    if (!*y->malloc_name || !*y->free_name)
        return runner_fail(r, FAIL_PROTOCOL, "%s: no name for malloc or free",
                           r->subject->allocator);
    for (unsigned i = 0; i < LOAD_SYMBOLS; i++) {
        symbols[i] = (struct load_symbol){.name = names[i]};
        if (*names[i] && !(symbols[i].address = dlsym(r->dl, names[i])))
            return runner_fail(r, FAIL_LOAD, "%s has no symbol %s", r->subject->allocator,
                               names[i]);
    }
    return 0;
}

static int load_prove(struct runner *r, const struct load_symbol symbols[LOAD_SYMBOLS], int fd)
{
    struct maps_line file = {0}, at = {0};
    struct stat st;
    if (fstat(fd, &st) < 0 || maps_of_file(fd, &file) < 0)
        return runner_fail(r, FAIL_IDENTITY, "%s: the file cannot be examined",
                           r->subject->allocator);
    const bool expected = r->subject->library_fd >= 0 || r->subject->inode != 0;
    if (expected && (st.st_dev != r->subject->device || st.st_ino != r->subject->inode))
        return runner_fail(r, FAIL_IDENTITY, "%s: file %llu:%llu is not the hashed one, %llu:%llu",
                           r->subject->allocator, (unsigned long long)st.st_dev,
                           (unsigned long long)st.st_ino, (unsigned long long)r->subject->device,
                           (unsigned long long)r->subject->inode);
    for (unsigned i = 0; i < LOAD_SYMBOLS; i++) {
        if (!symbols[i].address)
            continue;
        if (maps_find(symbols[i].address, &at) < 0)
            return runner_fail(r, FAIL_IDENTITY, "%s: no mapping holds %s", r->subject->allocator,
                               symbols[i].name);
        if (at.inode != file.inode || at.major != file.major || at.minor != file.minor)
            return runner_fail(r, FAIL_IDENTITY, "%s: %s lives in %.128s, not in the hashed file",
                               r->subject->allocator, symbols[i].name, at.path);
    }
    r->page->device = st.st_dev;
    r->page->inode = st.st_ino;
    return 0;
}

/* The C library is already there; the file is found through the mapping that holds its malloc. */
static int load_open_libc(const struct load_symbol *malloc_symbol)
{
    struct maps_line at;
    int r = maps_find(malloc_symbol->address, &at);
    if (r < 0)
        return r;
    int fd = open(at.path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void load_version(struct runner *r)
{
    const struct adapter *adapter = adapter_find(r->subject->symbols.adapter);
    char version[ADAPTER_VERSION_SIZE];
    if (!adapter || !adapter->version || adapter->version(r->dl, version) < 0)
        return;
    snprintf(r->page->version, sizeof r->page->version, "%.*s", (int)sizeof version - 1, version);
}

/* Through a union: ISO C has no cast from void * to a function. */
#define LOAD_FUNCTION(field, symbol)            \
    do {                                        \
        union {                                 \
            void *object;                       \
            __typeof__(field) function;         \
        } cast_ = {.object = (symbol).address}; \
        (field) = cast_.function;               \
    } while (0)

static void load_fill_api(struct runner *r, const struct load_symbol symbols[LOAD_SYMBOLS])
{
    struct alloc_api *api = &r->trial.alloc;
    LOAD_FUNCTION(api->malloc, symbols[0]);
    LOAD_FUNCTION(api->free, symbols[1]);
    LOAD_FUNCTION(api->calloc, symbols[2]);
    LOAD_FUNCTION(api->realloc, symbols[3]);
    LOAD_FUNCTION(api->aligned_alloc, symbols[4]);
    LOAD_FUNCTION(api->usable_size, symbols[5]);
    api->flags = r->subject->flags;
}

static int load_symbols(struct runner *r)
{
    const bool libc = r->subject->library_fd < 0;
    struct load_symbol symbols[LOAD_SYMBOLS] = {0};
    int e = load_resolve(r, symbols);
    if (e < 0)
        return e;
    cleanup_(close_p) int fd = libc ? load_open_libc(&symbols[0]) : RING_FD_LIBRARY;
    if (fd < 0)
        return runner_fail(r, FAIL_IDENTITY, "the C library's file cannot be opened");
    e = load_prove(r, symbols, fd);
    if (e < 0)
        return e;
    load_fill_api(r, symbols);
    return 0;
}

int load_allocator(struct runner *r)
{
    const bool libc = r->subject->library_fd < 0;
    r->dl = libc ? dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD)
                 : dlopen("/proc/self/fd/7", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!r->dl) {
        const char *why = dlerror();
        return runner_fail(r, FAIL_LOAD, "%s: %s", r->subject->allocator, why ? why : "dlopen");
    }
    int e = load_symbols(r);
    if (e == 0)
        load_version(r);
    return e;
}
