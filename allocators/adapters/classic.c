/* Our textbook allocators (allocators/classic). */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "allocators/adapters/lookup.h"

static int classic_version(void *dl, char ret_version[ADAPTER_VERSION_SIZE])
{
    typedef const char *version_fn(void);
    version_fn *version = (version_fn *)adapter_lookup(dl, "classic_version");
    if (!version)
        return -ENOSYS;
    snprintf(ret_version, ADAPTER_VERSION_SIZE, "%s", version());
    return 0;
}

static int classic_stats(void *dl, struct adapter_stats *ret)
{
    typedef struct mallinfo2 mallinfo2_fn(void);
    mallinfo2_fn *info = (mallinfo2_fn *)adapter_lookup(dl, "mallinfo2");
    if (!info)
        return -ENOSYS;
    struct mallinfo2 m = info();
    *ret = (struct adapter_stats){m.uordblks + m.hblkhd, ADAPTER_UNKNOWN, m.arena + m.hblkhd};
    return 0;
}

static int classic_purge(void *dl)
{
    typedef int trim_fn(size_t pad);
    trim_fn *trim = (trim_fn *)adapter_lookup(dl, "malloc_trim");
    if (!trim)
        return -ENOSYS;
    (void)trim(0); /* 0 says that there was nothing to give back */
    return 0;
}

const struct adapter adapter_classic = {
    .name = "classic",
    .version = classic_version,
    .stats = classic_stats,
    .purge = classic_purge,
};
