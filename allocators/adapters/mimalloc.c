/* mimalloc (mimalloc.h). Its release builds do not count allocated bytes. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "allocators/adapters/lookup.h"

static int mimalloc_version(void *dl, char ret_version[ADAPTER_VERSION_SIZE])
{
    typedef int version_fn(void);
    version_fn *version = (version_fn *)adapter_lookup(dl, "mi_version");
    if (!version)
        return -ENOSYS;
    int v = version(); /* 209 is 2.0.9; 20109 would be 2.1.9 in the wider form of 3.x */
    if (v >= 10000)
        snprintf(ret_version, ADAPTER_VERSION_SIZE, "%d.%d.%d", v / 10000, v / 100 % 100, v % 100);
    else
        snprintf(ret_version, ADAPTER_VERSION_SIZE, "%d.%d.%d", v / 100, v / 10 % 10, v % 10);
    return 0;
}

static int mimalloc_stats(void *dl, struct adapter_stats *ret)
{
    typedef void info_fn(size_t * elapsed_ms, size_t * user_ms, size_t * system_ms, size_t * rss,
                         size_t * rss_peak, size_t * commit, size_t * commit_peak, size_t * faults);
    info_fn *info = (info_fn *)adapter_lookup(dl, "mi_process_info");
    if (!info)
        return -ENOSYS;
    size_t commit = 0;
    info(NULL, NULL, NULL, NULL, NULL, &commit, NULL, NULL);
    *ret = (struct adapter_stats){ADAPTER_UNKNOWN, commit, ADAPTER_UNKNOWN};
    return 0;
}

static int mimalloc_purge(void *dl)
{
    typedef void collect_fn(bool force);
    collect_fn *collect = (collect_fn *)adapter_lookup(dl, "mi_collect");
    if (!collect)
        return -ENOSYS;
    collect(true);
    return 0;
}

const struct adapter adapter_mimalloc = {
    .name = "mimalloc",
    .version = mimalloc_version,
    .stats = mimalloc_stats,
    .purge = mimalloc_purge,
};
