/* The pages, as files in the program: what `node web/build.mjs` made, names without a folder.
 *
 * Served by the HTTP part. "/" is index.html, "/job", "/submit", "/host" and "/allocators" are
 * the file of that name with .html; every other name is served as it stands. All links in the
 * pages are relative, so they work under any base path. Read-only; any thread. */
#ifndef HEAPMARK_WEB_WEB_H
#define HEAPMARK_WEB_WEB_H

#include "daemon/base/embed.h"

extern const struct embedded_file web_files[];

#endif
