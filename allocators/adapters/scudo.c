/* Scudo standalone (wrappers_c.h: mallinfo2, mallopt). It has no version call. */
#include <errno.h>
#include <malloc.h>

#include "allocators/adapters/lookup.h"

#define SCUDO_M_PURGE (-101) /* Android's value, which Scudo understands everywhere */

static int scudo_stats(void *dl, struct adapter_stats *ret)
{
    typedef struct mallinfo2 mallinfo2_fn(void);
    mallinfo2_fn *info = (mallinfo2_fn *)adapter_lookup(dl, "mallinfo2");
    if (!info)
        return -ENOSYS;
    struct mallinfo2 m = info();
    *ret = (struct adapter_stats){m.uordblks, ADAPTER_UNKNOWN, m.hblkhd};
    return 0;
}

static int scudo_purge(void *dl)
{
    typedef int mallopt_fn(int parameter, int value);
    mallopt_fn *set = (mallopt_fn *)adapter_lookup(dl, "mallopt");
    if (!set)
        return -ENOSYS;
    return set(SCUDO_M_PURGE, 0) == 1 ? 0 : -EIO;
}

const struct adapter adapter_scudo = {
    .name = "scudo",
    .stats = scudo_stats,
    .purge = scudo_purge,
};
