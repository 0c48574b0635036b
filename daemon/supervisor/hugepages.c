/* Huge page pools (knobs.h): reserve for a launch, verify what the kernel really gave, give back.
 * Files: Documentation/admin-guide/mm/hugetlbpage.rst of the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/supervisor/knobs.h"

static const struct {
    const char *directory, *name, *boot_hint;
    uint64_t bytes;
} sizes[HUGEPAGE_SIZE_COUNT_] = {
    [HUGEPAGE_2M] = {"hugepages-2048kB", "2 MiB", "hugepages=", UINT64_C(1) << 21},
    [HUGEPAGE_1G] = {"hugepages-1048576kB", "1 GiB", "hugepagesz=1G hugepages=", UINT64_C(1) << 30},
};

static void pool_path(enum hugepage_size size, int node, const char *file, char *buf,
                      size_t buf_size)
{
    if (node < 0)
        snprintf(buf, buf_size, "kernel/mm/hugepages/%s/%s", sizes[size].directory, file);
    else
        snprintf(buf, buf_size, "devices/system/node/node%d/hugepages/%s/%s", node,
                 sizes[size].directory, file);
}

int knobs_pool_read(int sys_fd, enum hugepage_size size, int node, const char *file,
                    uint64_t *ret_value)
{
    char path[160];
    pool_path(size, node, file, path, sizeof path);
    return io_read_u64(sys_fd, path, ret_value);
}

static int pool_write(int sys_fd, enum hugepage_size size, int node, uint64_t pages)
{
    char path[160];
    pool_path(size, node, "nr_hugepages", path, sizeof path);
    return io_write_u64(sys_fd, path, pages);
}

bool knobs_can_reserve(const struct knobs *knobs)
{
    char path[160];
    pool_path(HUGEPAGE_2M, -1, "nr_hugepages", path, sizeof path);
    return faccessat(knobs->sys_fd, path, W_OK, AT_EACCESS) == 0;
}

/* A change that may not have happened is undone only as far as the pool has grown. */
int knobs_pool_restore(int sys_fd, const struct knob_pool *pool)
{
    uint64_t now;
    int r = knobs_pool_read(sys_fd, pool->size, pool->node, "nr_hugepages", &now);
    if (r < 0)
        return r;
    uint64_t grown = now > pool->before ? now - pool->before : 0;
    uint64_t back = pool->done || pool->added < grown ? pool->added : grown;
    if (back > now)
        back = now;
    if (back == 0)
        return 0;
    r = pool_write(sys_fd, pool->size, pool->node, now - back);
    return r < 0 ? r : 1;
}

/* Free pages nobody has claimed yet. Claims (resv) are counted for the host only. */
static int pool_available(int sys_fd, enum hugepage_size size, int node, uint64_t *ret_pages)
{
    uint64_t free_pages, reserved = 0;
    int r = knobs_pool_read(sys_fd, size, node, "free_hugepages", &free_pages);
    if (r == 0 && node < 0)
        r = knobs_pool_read(sys_fd, size, node, "resv_hugepages", &reserved);
    if (r == 0)
        *ret_pages = free_pages > reserved ? free_pages - reserved : 0;
    return r;
}

/* A wish beyond what memory could give would only push everybody's pages out. */
static bool fits_memory(uint64_t bytes)
{
    char text[4096];
    uint64_t available;
    return io_read_file(AT_FDCWD, "/proc/meminfo", text, sizeof text) < 0 ||
           text_kib_field(text, "MemAvailable", &available) < 0 || bytes < available;
}

static int pool_grow(struct knobs *knobs, enum hugepage_size size, int node, uint64_t pages)
{
    uint64_t before;
    int r = knobs_pool_read(knobs->sys_fd, size, node, "nr_hugepages", &before);
    if (r < 0)
        return r;
    if (knobs->pools_count == KNOBS_POOLS_MAX)
        return -ENOSPC;
    struct knob_pool *pool = &knobs->pools[knobs->pools_count++];
    *pool = (struct knob_pool){.size = size, .node = node, .before = before, .added = pages};
    if ((r = knobs_save(knobs)) < 0)
        return r;
    r = pool_write(knobs->sys_fd, size, node, before + pages);
    uint64_t after;
    if (r == 0 && knobs_pool_read(knobs->sys_fd, size, node, "nr_hugepages", &after) == 0 &&
        after < before + pages) {
        /* Fragmented: have the kernel move pages together, then ask once more. */
        (void)io_write_file(AT_FDCWD, "/proc/sys/vm/compact_memory", "1");
        r = pool_write(knobs->sys_fd, size, node, before + pages);
        (void)knobs_pool_read(knobs->sys_fd, size, node, "nr_hugepages", &after);
        if (after < before + pages)
            pool->added = after > before ? after - before : 0;
    }
    if (r < 0)
        return r;
    pool->done = true;
    return knobs_save(knobs);
}

static int unavailable(enum hugepage_size size, uint64_t wanted, uint64_t got, int node,
                       struct err *e)
{
    char where[32] = "";
    if (node >= 0)
        snprintf(where, sizeof where, " on memory node %d", node);
    return err_set(e, ERR_UNAVAILABLE, "/pages",
                   "%llu huge pages of %s needed%s, %llu to be had: free memory, or reserve them "
                   "at boot with \"%s%llu\"",
                   (unsigned long long)wanted, sizes[size].name, where, (unsigned long long)got,
                   sizes[size].boot_hint, (unsigned long long)wanted);
}

static int pool_reserve(struct knobs *knobs, enum hugepage_size size, int node, uint64_t pages,
                        struct err *e)
{
    uint64_t available = 0;
    int r = pool_available(knobs->sys_fd, size, node, &available);
    if (r < 0)
        return err_set(e, ERR_UNAVAILABLE, "/pages", "this host has no huge pages of %s%s",
                       sizes[size].name, node < 0 ? "" : " on that memory node");
    if (available >= pages)
        return 0;
    if (!knobs_can_reserve(knobs))
        return unavailable(size, pages, available, node, e);
    r = pool_grow(knobs, size, node, pages - available);
    if (r < 0)
        return err_set_errno(e, ERR_UNAVAILABLE, -r, "cannot reserve huge pages of %s",
                             sizes[size].name);
    r = pool_available(knobs->sys_fd, size, node, &available);
    if (r < 0 || available < pages)
        return unavailable(size, pages, available, node, e);
    return 0;
}

int knobs_reserve(struct knobs *knobs, enum hugepage_size size, uint64_t pages, uint64_t mems_mask,
                  struct err *e)
{
    uint64_t bytes;
    if (pages == 0)
        return 0;
    if (__builtin_mul_overflow(pages, sizes[size].bytes, &bytes) || !fits_memory(bytes)) {
        uint64_t available = 0;
        (void)pool_available(knobs->sys_fd, size, -1, &available);
        if (available < pages)
            return unavailable(size, pages, available, -1, e);
    }
    if (mems_mask == 0)
        return pool_reserve(knobs, size, -1, pages, e);
    unsigned left = (unsigned)__builtin_popcountll(mems_mask);
    for (int node = 0; node < WIRE_MEMS_MAX; node++) {
        if (!(mems_mask & UINT64_C(1) << node))
            continue;
        uint64_t share = (pages + left - 1) / left;
        int r = pool_reserve(knobs, size, node, share, e);
        if (r < 0)
            return r;
        pages -= share;
        left--;
    }
    return 0;
}
