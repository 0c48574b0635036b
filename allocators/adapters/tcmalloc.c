/* gperftools tcmalloc, through the C face of MallocExtension (malloc_extension_c.h, tcmalloc.h). */
#include <errno.h>
#include <stdio.h>

#include "allocators/adapters/lookup.h"

static int tcmalloc_version(void *dl, char ret_version[ADAPTER_VERSION_SIZE])
{
    typedef const char *tc_version_fn(int *major, int *minor, const char **patch);
    tc_version_fn *tc_version = (tc_version_fn *)adapter_lookup(dl, "tc_version");
    if (!tc_version)
        return -ENOSYS;
    int major = 0, minor = 0;
    const char *patch = "";
    (void)tc_version(&major, &minor, &patch);
    snprintf(ret_version, ADAPTER_VERSION_SIZE, "%d.%d%s", major, minor, patch);
    return 0;
}

static int tcmalloc_stats(void *dl, struct adapter_stats *ret)
{
    typedef int property_fn(const char *name, size_t *ret_value);
    property_fn *property = (property_fn *)adapter_lookup(dl, "MallocExtension_GetNumericProperty");
    if (!property)
        return -ENOSYS;
    size_t allocated, physical, heap;
    if (!property("generic.current_allocated_bytes", &allocated) ||
        !property("generic.total_physical_bytes", &physical) ||
        !property("generic.heap_size", &heap))
        return -EIO;
    *ret = (struct adapter_stats){allocated, physical, heap};
    return 0;
}

static int tcmalloc_purge(void *dl)
{
    typedef void release_fn(void);
    release_fn *release = (release_fn *)adapter_lookup(dl, "MallocExtension_ReleaseFreeMemory");
    if (!release)
        return -ENOSYS;
    release();
    return 0;
}

const struct adapter adapter_tcmalloc = {
    .name = "tcmalloc",
    .version = tcmalloc_version,
    .stats = tcmalloc_stats,
    .purge = tcmalloc_purge,
};
