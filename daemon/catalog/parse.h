/* One catalogue file into one entry. Internal to daemon/catalog; grammar in catalog.h. */
#ifndef HEAPMARK_DAEMON_CATALOG_PARSE_H
#define HEAPMARK_DAEMON_CATALOG_PARSE_H

#include "daemon/catalog/catalog.h"

/* Parse `path`, whose catalogue name is `name` (already checked), into *ret. On failure e says
 * "PATH:LINE: why" (ERR_INVALID) or why the file could not be read (ERR_IO). */
int catalog_parse_file(const char *path, const char *name, struct catalog_entry *ret,
                       struct err *e);

#endif
