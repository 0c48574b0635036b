/* The allocator catalogue: which allocators exist, where their library is, how to call them and
 * with which options. One INI file per allocator; this is the only code that reads them.
 *
 * Callers: heapmarkd (to list and validate) and heapmark-supervisor (to open what it launches).
 * Both load their own copy from the administrator's directories; names travel, never paths.
 * A loaded catalogue is immutable but for the identity cache, which has its own lock: any thread.
 *
 * File NAME.ini (NAME is the catalogue name: [a-z0-9][a-z0-9._-]*, at most 47 bytes):
 *
 *   [allocator]
 *   summary = one line                   required
 *   kind    = allocator                  allocator (default), baseline or classic
 *   order   = 20                         position in lists, 0-9999, default 5000
 *   library = libx.so.2, libx.so.1       required: file names looked up in the library directories
 *                                        (the first found wins), one absolute path, or `libc`:
 *                                        the C library the runner itself runs on
 *   package = libx2                      Debian package that installs it; none for in-tree ones
 *   adapter = jemalloc                   statistics and version calls (allocators/adapters)
 *   flags   = null, no-free              see RING_SUBJECT_*
 *   sha256  = <64 hex digits>            optional: any other file is refused
 *
 *   [symbols]                            malloc and free are required
 *   malloc = malloc
 *   free = free
 *   calloc, realloc, aligned_alloc, usable_size = symbol (leave out what the allocator lacks)
 *
 *   [option thp-off]                     any number; same grammar of names, at most 31 bytes
 *   summary = one line                   required
 *   env = NAME=value                     required; one line per variable. Not LD_*, not HEAPMARK_*
 *   pages = hugetlb-2m                   page modes whose heaps need this option
 *
 * Unknown sections or keys, repeated keys, bad names, missing keys: an error naming file and
 * line. Lines are at most CATALOG_LINE_MAX bytes. */
#ifndef HEAPMARK_DAEMON_CATALOG_CATALOG_H
#define HEAPMARK_DAEMON_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/err.h"
#include "daemon/base/hash.h"
#include "workloads/ring/ring.h"

#define CATALOG_ENTRIES_MAX     128
#define CATALOG_NAME_SIZE       48 /* with NUL, as in struct ring_subject */
#define CATALOG_OPTION_SIZE     32 /* with NUL, as in struct wire_subject */
#define CATALOG_SUMMARY_SIZE    128
#define CATALOG_LIBRARIES_MAX   8
#define CATALOG_PATH_SIZE       256
#define CATALOG_OPTIONS_MAX     16 /* options one allocator can name */
#define CATALOG_OPTION_ENV_MAX  4  /* variables one option can set */
#define CATALOG_ENV_SIZE        160
#define CATALOG_ENVIRONMENT_MAX 16 /* variables of one runner */
#define CATALOG_LINE_MAX        190

enum catalog_kind { CATALOG_ALLOCATOR, CATALOG_BASELINE, CATALOG_CLASSIC, CATALOG_KIND_COUNT_ };
const char *catalog_kind_name(enum catalog_kind kind); /* "allocator", "baseline", "classic" */
int catalog_kind_parse(const char *name);              /* enum catalog_kind or -ENOENT */

struct catalog_option {
    char name[CATALOG_OPTION_SIZE];
    char summary[CATALOG_SUMMARY_SIZE];
    char env[CATALOG_OPTION_ENV_MAX][CATALOG_ENV_SIZE]; /* "NAME=value" */
    uint32_t env_count;
    uint32_t pages_mask; /* PAGES_BIT()s of the modes this option enables for the heap */
    uint32_t line;       /* where it stands, for messages */
};

struct catalog_entry {
    char name[CATALOG_NAME_SIZE];
    char summary[CATALOG_SUMMARY_SIZE];
    char file[CATALOG_PATH_SIZE]; /* the INI file it came from */
    enum catalog_kind kind;
    uint32_t order;
    bool is_libc; /* library = libc: catalog_open opens the libc file, the runner needs no fd */
    char libraries[CATALOG_LIBRARIES_MAX][CATALOG_PATH_SIZE];
    uint32_t libraries_count;
    char package[64]; /* "" for in-tree */
    struct ring_symbols symbols;
    uint32_t flags; /* RING_SUBJECT_* */
    bool has_sha256;
    uint8_t sha256[SHA256_SIZE];
    struct catalog_option options[CATALOG_OPTIONS_MAX];
    uint32_t options_count;
};

struct catalog;

/* Load every *.ini of `dirs` (NULL-terminated; later directories override earlier ones file by
 * file; one that does not exist is an error) and remember where to look for libraries:
 * `library_dirs` (NULL-terminated, may be NULL: the in-tree directory, an administrator's) before
 * the system's. ERR_INVALID with "FILE:LINE: why" for bad files, ERR_TOO_LARGE beyond
 * CATALOG_ENTRIES_MAX. The caller owns *ret_catalog. */
int catalog_load(const char *const *dirs, const char *const *library_dirs,
                 struct catalog **ret_catalog, struct err *e);
void catalog_free(struct catalog *catalog);

/* By position, sorted by order= then name; by name (NULL if there is none). Owned by catalog. */
uint32_t catalog_count(const struct catalog *catalog);
const struct catalog_entry *catalog_get(const struct catalog *catalog, uint32_t index);
const struct catalog_entry *catalog_find(const struct catalog *catalog, const char *name);

const struct catalog_option *catalog_option_find(const struct catalog_entry *entry,
                                                 const char *name);
/* The one option that gives this allocator's heap the page mode, NULL if none does. 4k and thp
 * need none: they are host settings. */
const struct catalog_option *catalog_option_for_pages(const struct catalog_entry *entry,
                                                      enum page_mode pages);

/* Open the entry's library: regular file, complete ELF shared object for this machine, nothing
 * else; never falls back to a different file. ERR_UNAVAILABLE "NAME is not installed: install
 * Debian package PKG" when no file is there, ERR_INVALID when the file found is not one to load
 * (the search does not go on). *ret_fd is close-on-exec and the caller's. For is_libc it is the C
 * library this very process runs on. */
int catalog_open(const struct catalog *catalog, const struct catalog_entry *entry, int *ret_fd,
                 char ret_path[CATALOG_PATH_SIZE], struct err *e);

struct catalog_identity {
    uint8_t sha256[SHA256_SIZE];
    uint64_t device, inode;
    uint64_t size_bytes;
};

/* Identity of an opened library, hashed once per (device, inode, size, mtime, ctime).
 * ERR_FORBIDDEN if the entry pins another SHA-256. */
int catalog_identify(struct catalog *catalog, const struct catalog_entry *entry, int fd,
                     struct catalog_identity *ret, struct err *e);

struct catalog_environment {
    char values[CATALOG_ENVIRONMENT_MAX][2 * CATALOG_ENV_SIZE]; /* "NAME=value" */
    uint32_t count;
};

/* The environment a runner of this subject gets, before exec: room for static TLS
 * (glibc.rtld.optional_static_tls) and the named options. Variables that hold lists
 * (GLIBC_TUNABLES, MALLOC_CONF, SCUDO_OPTIONS) are joined; two options that set the same thing
 * differently are ERR_CONFLICT, an option the entry does not have is ERR_UNKNOWN_NAME, one given
 * twice is ERR_INVALID. e->field is "/options/INDEX". */
int catalog_environment(const struct catalog_entry *entry, const char *const *options,
                        uint32_t options_count, struct catalog_environment *ret, struct err *e);

#endif
