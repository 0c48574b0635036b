/* From an entry to the one file it means: search, ELF check, SHA-256.
 *
 * Callers: heapmarkd to list builds, heapmark-supervisor before a launch. Any thread. Nothing is
 * loaded here. Files are world: they may vanish, be replaced, or be no library at all. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"
#include "daemon/catalog/internal.h"

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#define MULTIARCH   "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#define MULTIARCH   "aarch64-linux-gnu"
#else
#error "heapmark runs on x86-64 and aarch64"
#endif

#define PROGRAM_HEADERS_MAX 64

/* Where distributions and administrators put libraries, after the directories the caller gave.
 * The last is where clang keeps its runtimes (scudo); the highest version that has the file wins
 * because glob sorts and the search goes backwards. */
static const char *const system_dirs[] = {
    "/usr/local/lib/" MULTIARCH,
    "/usr/local/lib",
    "/usr/lib/" MULTIARCH,
    "/lib/" MULTIARCH,
    "/usr/lib64",
    "/usr/lib",
    "/lib",
};
static const char clang_runtimes[] = "/usr/lib/llvm-*/lib/clang/*/lib/linux";

static int check_header(const Elf64_Ehdr *h, uint64_t size, const char *path, struct err *e)
{
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return err_set(e, ERR_INVALID, NULL, "%s is not an ELF file", path);
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
        h->e_machine != OUR_MACHINE)
        return err_set(e, ERR_INVALID, NULL, "%s is built for another machine (ELF machine %u)",
                       path, h->e_machine);
    if (h->e_type != ET_DYN)
        return err_set(e, ERR_INVALID, NULL, "%s is not a shared object", path);
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > PROGRAM_HEADERS_MAX)
        return err_set(e, ERR_INVALID, NULL, "%s has unusable program headers", path);
    uint64_t headers = (uint64_t)h->e_phnum * sizeof(Elf64_Phdr);
    uint64_t sections = (uint64_t)h->e_shnum * h->e_shentsize;
    if (h->e_phoff > size || headers > size - h->e_phoff || h->e_shoff > size ||
        sections > size - h->e_shoff)
        return err_set(e, ERR_INVALID, NULL, "%s is truncated", path);
    return 0;
}

static int check_elf(int fd, uint64_t size, const char *path, struct err *e)
{
    Elf64_Ehdr h;
    Elf64_Phdr p[PROGRAM_HEADERS_MAX];
    ssize_t n = pread(fd, &h, sizeof h, 0);
    if (n < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot read %s", path);
    if (n < SELFMAG || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return err_set(e, ERR_INVALID, NULL, "%s is not an ELF file", path);
    if ((size_t)n < sizeof h)
        return err_set(e, ERR_INVALID, NULL, "%s is truncated", path);
    int r = check_header(&h, size, path, e);
    if (r < 0)
        return r;
    size_t headers_size = h.e_phnum * sizeof p[0];
    if (pread(fd, p, headers_size, (off_t)h.e_phoff) != (ssize_t)headers_size)
        return err_set(e, ERR_INVALID, NULL, "%s is truncated", path);
    bool dynamic = false;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        dynamic = dynamic || p[i].p_type == PT_DYNAMIC;
        if (p[i].p_offset > size || p[i].p_filesz > size - p[i].p_offset)
            return err_set(e, ERR_INVALID, NULL, "%s is truncated", path);
    }
    if (!dynamic)
        return err_set(e, ERR_INVALID, NULL, "%s is not a dynamic library", path);
    return 0;
}

/* 0 and *ret_fd; -ENOENT if there is no such file; another -errno, with *e filled, if there is
 * one that must not be used. */
static int open_library(const char *path, int *ret_fd, struct err *e)
{
    cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return -ENOENT;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, NULL, "%s is not a regular file", path);
    int r = check_elf(fd, (uint64_t)st.st_size, path, e);
    if (r < 0)
        return r;
    *ret_fd = take_fd(&fd);
    return 0;
}

static int try_in(const char *dir, const char *file, int *ret_fd, char ret_path[CATALOG_PATH_SIZE],
                  struct err *e)
{
    char path[CATALOG_PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
        return -ENOENT;
    int r = open_library(path, ret_fd, e);
    if (r == 0)
        (void)text_copy(ret_path, CATALOG_PATH_SIZE, path);
    return r;
}

static int try_clang_runtimes(const char *file, int *ret_fd, char ret_path[CATALOG_PATH_SIZE],
                              struct err *e)
{
    glob_t found;
    if (glob(clang_runtimes, 0, NULL, &found) != 0)
        return -ENOENT;
    int r = -ENOENT;
    for (size_t i = found.gl_pathc; r == -ENOENT && i > 0; i--)
        r = try_in(found.gl_pathv[i - 1], file, ret_fd, ret_path, e);
    globfree(&found);
    return r;
}

static int search(const struct catalog *catalog, const char *file, int *ret_fd,
                  char ret_path[CATALOG_PATH_SIZE], struct err *e)
{
    int r = -ENOENT;
    for (uint32_t i = 0; r == -ENOENT && i < catalog->library_dirs_count; i++)
        r = try_in(catalog->library_dirs[i], file, ret_fd, ret_path, e);
    for (size_t i = 0; r == -ENOENT && i < sizeof system_dirs / sizeof system_dirs[0]; i++)
        r = try_in(system_dirs[i], file, ret_fd, ret_path, e);
    if (r == -ENOENT)
        r = try_clang_runtimes(file, ret_fd, ret_path, e);
    return r;
}

static int find_libc(struct dl_phdr_info *info, size_t info_size, void *ret_path)
{
    (void)info_size;
    const char *slash = strrchr(info->dlpi_name, '/');
    if (!slash || strcmp(slash, "/libc.so.6") != 0)
        return 0;
    return text_copy(ret_path, CATALOG_PATH_SIZE, info->dlpi_name) ? 1 : 0;
}

static int open_libc(int *ret_fd, char ret_path[CATALOG_PATH_SIZE], struct err *e)
{
    char path[CATALOG_PATH_SIZE];
    if (dl_iterate_phdr(find_libc, path) != 1)
        return err_set(e, ERR_UNAVAILABLE, NULL, "this program runs on no GNU C library");
    int r = open_library(path, ret_fd, e);
    if (r == -ENOENT)
        return err_set(e, ERR_UNAVAILABLE, NULL, "%s, which this program runs on, is gone", path);
    if (r == 0)
        (void)text_copy(ret_path, CATALOG_PATH_SIZE, path);
    return r;
}

static int report_missing(const struct catalog_entry *entry, struct err *e)
{
    if (entry->package[0])
        return err_set(e, ERR_UNAVAILABLE, NULL, "%s is not installed: install Debian package %s",
                       entry->name, entry->package);
    return err_set(e, ERR_UNAVAILABLE, NULL, "%s is not installed: %s was not found", entry->name,
                   entry->libraries[0]);
}

int catalog_open(const struct catalog *catalog, const struct catalog_entry *entry, int *ret_fd,
                 char ret_path[CATALOG_PATH_SIZE], struct err *e)
{
    if (entry->is_libc)
        return open_libc(ret_fd, ret_path, e);
    int r = -ENOENT;
    if (entry->libraries[0][0] == '/') {
        r = open_library(entry->libraries[0], ret_fd, e);
        if (r == 0)
            (void)text_copy(ret_path, CATALOG_PATH_SIZE, entry->libraries[0]);
    }
    for (uint32_t i = 0; r == -ENOENT && i < entry->libraries_count; i++)
        r = search(catalog, entry->libraries[i], ret_fd, ret_path, e);
    return r == -ENOENT ? report_missing(entry, e) : r;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_key(const struct catalog_file_key *a, const struct catalog_file_key *b)
{
    return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
           same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

static bool cache_get(struct catalog *catalog, const struct catalog_file_key *key,
                      uint8_t ret_sha256[SHA256_SIZE])
{
    bool found = false;
    pthread_mutex_lock(&catalog->lock);
    for (uint32_t i = 0; i < catalog->cache_count && !found; i++) {
        found = same_key(&catalog->cache[i].key, key);
        if (found)
            memcpy(ret_sha256, catalog->cache[i].sha256, SHA256_SIZE);
    }
    pthread_mutex_unlock(&catalog->lock);
    return found;
}

static void cache_put(struct catalog *catalog, const struct catalog_file_key *key,
                      const uint8_t sha256[SHA256_SIZE])
{
    pthread_mutex_lock(&catalog->lock);
    struct catalog_cache_slot *slot = &catalog->cache[catalog->cache_next];
    catalog->cache_next = (catalog->cache_next + 1) % CATALOG_CACHE_MAX;
    if (catalog->cache_count < CATALOG_CACHE_MAX)
        catalog->cache_count++;
    slot->key = *key;
    memcpy(slot->sha256, sha256, SHA256_SIZE);
    pthread_mutex_unlock(&catalog->lock);
}

int catalog_identify(struct catalog *catalog, const struct catalog_entry *entry, int fd,
                     struct catalog_identity *ret, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot identify the library of %s", entry->name);
    struct catalog_file_key key = {.device = st.st_dev,
                                   .inode = st.st_ino,
                                   .size_bytes = (uint64_t)st.st_size,
                                   .mtime = st.st_mtim,
                                   .ctime = st.st_ctim};
    struct catalog_identity identity = {
        .device = key.device, .inode = key.inode, .size_bytes = key.size_bytes};
    if (!cache_get(catalog, &key, identity.sha256)) {
        int r = hash_sha256_fd(fd, identity.sha256);
        if (r < 0)
            return err_set_errno(e, ERR_IO, -r, "cannot hash the library of %s", entry->name);
        cache_put(catalog, &key, identity.sha256);
    }
    if (entry->has_sha256 && memcmp(entry->sha256, identity.sha256, SHA256_SIZE) != 0) {
        char hex[SHA256_HEX_SIZE];
        text_hex(identity.sha256, SHA256_SIZE, hex);
        return err_set(e, ERR_FORBIDDEN, NULL,
                       "the library of %s has SHA-256 %s, which is not the one its catalogue "
                       "file allows",
                       entry->name, hex);
    }
    *ret = identity;
    return 0;
}
