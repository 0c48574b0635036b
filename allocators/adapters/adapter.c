/* The table of adapters and their symbol lookup. See adapter.h. */
#include "allocators/adapters/adapter.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include "allocators/adapters/lookup.h"

const struct adapter *const adapters[] = {
#define ADAPTER(name) &adapter_##name,
#include "allocators/adapters/adapters.def"
#undef ADAPTER
    NULL,
};

const struct adapter *adapter_find(const char *name)
{
    for (const struct adapter *const *a = adapters; *a; a++)
        if (strcmp((*a)->name, name) == 0)
            return *a;
    return NULL;
}

/* The link map that defines `symbol`, NULL if none does. */
static const struct link_map *defining_map(void *symbol)
{
    Dl_info info;
    void *map = NULL;
    return symbol && dladdr1(symbol, &info, &map, RTLD_DL_LINKMAP) ? map : NULL;
}

void *adapter_lookup(void *dl, const char *name)
{
    struct link_map *own;
    void *symbol = dlsym(dl, name);
    if (dlinfo(dl, RTLD_DI_LINKMAP, &own) != 0 || defining_map(symbol) != own)
        return NULL;
    return symbol;
}

void *adapter_lookup_libc(void *dl, const char *name)
{
    void *symbol = dlsym(dl, name);
    const struct link_map *map = defining_map(symbol);
    const char *slash = map ? strrchr(map->l_name, '/') : NULL;
    return slash && strcmp(slash, "/libc.so.6") == 0 ? symbol : NULL;
}
