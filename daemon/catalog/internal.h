/* The catalogue's inside, shared by catalog.c and open.c. */
#ifndef HEAPMARK_DAEMON_CATALOG_INTERNAL_H
#define HEAPMARK_DAEMON_CATALOG_INTERNAL_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "daemon/catalog/catalog.h"

#define CATALOG_LIBRARY_DIRS_MAX 16
#define CATALOG_CACHE_MAX        64

/* What says that a file's contents are the ones hashed before. */
struct catalog_file_key {
    uint64_t device, inode, size_bytes;
    struct timespec mtime, ctime;
};

struct catalog_cache_slot {
    struct catalog_file_key key;
    uint8_t sha256[SHA256_SIZE];
};

struct catalog {
    struct catalog_entry entries[CATALOG_ENTRIES_MAX];
    uint32_t entries_count;
    char library_dirs[CATALOG_LIBRARY_DIRS_MAX][CATALOG_PATH_SIZE];
    uint32_t library_dirs_count;

    pthread_mutex_t lock; /* for what follows */
    struct catalog_cache_slot cache[CATALOG_CACHE_MAX];
    uint32_t cache_count, cache_next; /* filled slots; the slot a new hash replaces once full */
};

#endif
