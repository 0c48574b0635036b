/* jemalloc, through mallctl (jemalloc(3), "MALLCTL NAMESPACE"). */
#include <errno.h>
#include <stdio.h>

#include "allocators/adapters/lookup.h"

typedef int mallctl_fn(const char *name, void *old, size_t *old_size, void *new_value,
                       size_t new_size);

static mallctl_fn *find_mallctl(void *dl)
{
    return (mallctl_fn *)adapter_lookup(dl, "mallctl");
}

static int read_value(mallctl_fn *mallctl, const char *name, void *ret_value, size_t size)
{
    size_t got = size;
    return mallctl(name, ret_value, &got, NULL, 0) == 0 && got == size ? 0 : -EIO;
}

static int jemalloc_version(void *dl, char ret_version[ADAPTER_VERSION_SIZE])
{
    mallctl_fn *mallctl = find_mallctl(dl);
    if (!mallctl)
        return -ENOSYS;
    const char *version;
    int r = read_value(mallctl, "version", &version, sizeof version);
    if (r == 0)
        snprintf(ret_version, ADAPTER_VERSION_SIZE, "%s", version);
    return r;
}

static int jemalloc_stats(void *dl, struct adapter_stats *ret)
{
    mallctl_fn *mallctl = find_mallctl(dl);
    if (!mallctl)
        return -ENOSYS;
    uint64_t epoch = 1; /* writing it refreshes what stats.* return */
    size_t allocated, resident, mapped;
    if (mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) != 0 ||
        read_value(mallctl, "stats.allocated", &allocated, sizeof allocated) < 0 ||
        read_value(mallctl, "stats.resident", &resident, sizeof resident) < 0 ||
        read_value(mallctl, "stats.mapped", &mapped, sizeof mapped) < 0)
        return -EIO;
    *ret = (struct adapter_stats){allocated, resident, mapped};
    return 0;
}

static int jemalloc_purge(void *dl)
{
    mallctl_fn *mallctl = find_mallctl(dl);
    if (!mallctl)
        return -ENOSYS;
    /* Without a tcache (option no-tcache) the flush fails and there is nothing to flush. 4096 is
     * MALLCTL_ARENAS_ALL. */
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    return mallctl("arena.4096.purge", NULL, NULL, NULL, 0) == 0 ? 0 : -EIO;
}

const struct adapter adapter_jemalloc = {
    .name = "jemalloc",
    .version = jemalloc_version,
    .stats = jemalloc_stats,
    .purge = jemalloc_purge,
};
