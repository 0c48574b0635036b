/* The smallest LD_AUDIT library: it sees every object and every binding, and allocates from its own
 * namespace's C library while it does. */
#include <link.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((visibility("default"))) unsigned int la_version(unsigned int version)
{
    return version;
}

__attribute__((visibility("default"))) unsigned int la_objopen(struct link_map *map, Lmid_t id,
                                                               uintptr_t *cookie)
{
    char *name = malloc(200);
    (void)id;
    if (name)
        (void)snprintf(name, 200, "%s", map->l_name);
    *cookie = (uintptr_t)name;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

__attribute__((visibility("default"))) unsigned int la_objclose(uintptr_t *cookie)
{
    free((void *)*cookie);
    return 0;
}
