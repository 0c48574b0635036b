/* hmalloc (allocators/hmalloc), by the functions of hmalloc.h. */
#include <errno.h>
#include <stdio.h>

#include "allocators/adapters/lookup.h"
#include "allocators/hmalloc/hmalloc.h"

static int hmalloc_adapter_version(void *dl, char ret_version[ADAPTER_VERSION_SIZE])
{
    typedef const char *version_fn(void);
    version_fn *version = (version_fn *)adapter_lookup(dl, "hmalloc_version");
    if (!version)
        return -ENOSYS;
    snprintf(ret_version, ADAPTER_VERSION_SIZE, "%s", version());
    return 0;
}

static int hmalloc_adapter_stats(void *dl, struct adapter_stats *ret)
{
    typedef void stats_fn(struct hmalloc_stats * ret);
    stats_fn *stats = (stats_fn *)adapter_lookup(dl, "hmalloc_stats_get");
    if (!stats)
        return -ENOSYS;
    struct hmalloc_stats s;
    stats(&s);
    /* Address space is reserved in steps of 32 MiB: it says nothing about the program. */
    *ret = (struct adapter_stats){s.allocated, s.committed, ADAPTER_UNKNOWN};
    return 0;
}

static int hmalloc_adapter_purge(void *dl)
{
    typedef size_t purge_fn(void);
    purge_fn *purge = (purge_fn *)adapter_lookup(dl, "hmalloc_purge");
    if (!purge)
        return -ENOSYS;
    (void)purge();
    return 0;
}

const struct adapter adapter_hmalloc = {
    .name = "hmalloc",
    .version = hmalloc_adapter_version,
    .stats = hmalloc_adapter_stats,
    .purge = hmalloc_adapter_purge,
};
