/* `points DIRECTORY`: a store with a million points of 2000 series there, for `bench api`, which
 * asks for them over HTTP. The same rows as `bench ingest` reads through the store. */
#include <stdio.h>

#include "tests/bench/ingest.h"

int main(int argc, char **argv)
{
    struct report *r = report_new("points", 1, argv);
    struct store *store;
    struct err e;
    char path[256];
    if (argc != 2 || argv[1][0] == '-' ||
        snprintf(path, sizeof path, "%s/heapmark.db", argv[1]) >= (int)sizeof path)
        report_fail(r, "usage: points DIRECTORY");
    const struct store_config config = {.directory = argv[1], .readers_count = 1};
    if (store_open(&config, &store, &e) < 0) /* the schema is the store's own */
        report_fail(r, "store_open: %s", e.message);
    store_close(store);
    bare_points(r, path, SERIES_COUNT, POINTS_COUNT);
    return report_end(r);
}
