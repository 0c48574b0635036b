/* The GNU C library (gnu_get_libc_version(3), mallinfo(3), malloc_trim(3)). Blocks in thread
 * caches count as allocated there. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "allocators/adapters/lookup.h"

static int glibc_version(void *dl, char ret_version[ADAPTER_VERSION_SIZE])
{
    typedef const char *version_fn(void);
    version_fn *version = (version_fn *)adapter_lookup_libc(dl, "gnu_get_libc_version");
    if (!version)
        return -ENOSYS;
    snprintf(ret_version, ADAPTER_VERSION_SIZE, "%s", version());
    return 0;
}

static int glibc_stats(void *dl, struct adapter_stats *ret)
{
    typedef struct mallinfo2 mallinfo2_fn(void);
    mallinfo2_fn *info = (mallinfo2_fn *)adapter_lookup_libc(dl, "mallinfo2");
    if (!info)
        return -ENOSYS;
    struct mallinfo2 m = info();
    *ret = (struct adapter_stats){m.uordblks + m.hblkhd, ADAPTER_UNKNOWN, m.arena + m.hblkhd};
    return 0;
}

static int glibc_purge(void *dl)
{
    typedef int trim_fn(size_t pad);
    trim_fn *trim = (trim_fn *)adapter_lookup_libc(dl, "malloc_trim");
    if (!trim)
        return -ENOSYS;
    (void)trim(0); /* 0 says that there was nothing to give back */
    return 0;
}

const struct adapter adapter_glibc = {
    .name = "glibc",
    .version = glibc_version,
    .stats = glibc_stats,
    .purge = glibc_purge,
};
