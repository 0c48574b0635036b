/* Loading directories of catalogue files and looking entries up. See catalog.h. */
#include "daemon/catalog/catalog.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"
#include "daemon/catalog/internal.h"
#include "daemon/catalog/parse.h"
#include "workloads/workload.h"

DEFINE_CLEANUP(DIR *, closedir)
DEFINE_CLEANUP(struct catalog *, catalog_free)

static const char *const kind_names[CATALOG_KIND_COUNT_] = {
    [CATALOG_ALLOCATOR] = "allocator",
    [CATALOG_BASELINE] = "baseline",
    [CATALOG_CLASSIC] = "classic",
};

const char *catalog_kind_name(enum catalog_kind kind)
{
    return (unsigned)kind < CATALOG_KIND_COUNT_ ? kind_names[kind] : "unknown";
}

int catalog_kind_parse(const char *name)
{
    for (int i = 0; i < CATALOG_KIND_COUNT_; i++)
        if (strcmp(kind_names[i], name) == 0)
            return i;
    return -ENOENT;
}

/* The slot an entry called `name` goes to: its namesake's, or a new one. */
static struct catalog_entry *entry_slot(struct catalog *catalog, const char *name)
{
    for (uint32_t i = 0; i < catalog->entries_count; i++)
        if (strcmp(catalog->entries[i].name, name) == 0)
            return &catalog->entries[i];
    if (catalog->entries_count == CATALOG_ENTRIES_MAX)
        return NULL;
    return &catalog->entries[catalog->entries_count++];
}

static int load_file(struct catalog *catalog, const char *dir, const char *file, struct err *e)
{
    char path[CATALOG_PATH_SIZE], name[CATALOG_PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
        return err_set(e, ERR_INVALID, NULL, "path is too long: %s/%s", dir, file);
    snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - strlen(".ini")), file);
    if (!text_is_name(name, CATALOG_NAME_SIZE - 1))
        return err_set(e, ERR_INVALID, NULL, "%s:1: not a catalogue name: \"%s\"", path, name);
    struct catalog_entry *slot = entry_slot(catalog, name);
    if (!slot)
        return err_set(e, ERR_TOO_LARGE, NULL, "%s:1: more than %d allocators in the catalogue",
                       path, CATALOG_ENTRIES_MAX);
    return catalog_parse_file(path, name, slot, e);
}

static int load_dir(struct catalog *catalog, const char *path, struct err *e)
{
    cleanup_(closedir_p) DIR *dir = opendir(path);
    if (!dir)
        return err_set_errno(e, ERR_IO, errno, "cannot read catalogue directory %s", path);
    for (;;) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (!d && errno)
            return err_set_errno(e, ERR_IO, errno, "cannot read catalogue directory %s", path);
        if (!d)
            return 0;
        const char *dot = strrchr(d->d_name, '.');
        if (!dot || strcmp(dot, ".ini") != 0)
            continue;
        int r = load_file(catalog, path, d->d_name, e);
        if (r < 0)
            return r;
    }
}

static int copy_library_dirs(struct catalog *catalog, const char *const *dirs, struct err *e)
{
    for (size_t i = 0; dirs && dirs[i]; i++) {
        if (i == CATALOG_LIBRARY_DIRS_MAX)
            return err_set(e, ERR_TOO_LARGE, NULL, "more than %d library directories",
                           CATALOG_LIBRARY_DIRS_MAX);
        if (dirs[i][0] != '/')
            return err_set(e, ERR_INVALID, NULL, "library directory is not absolute: %s", dirs[i]);
        if (!text_copy(catalog->library_dirs[i], CATALOG_PATH_SIZE, dirs[i]))
            return err_set(e, ERR_INVALID, NULL, "library directory is too long: %s", dirs[i]);
        catalog->library_dirs_count++;
    }
    return 0;
}

static int compare_entries(const void *a_, const void *b_)
{
    const struct catalog_entry *a = a_, *b = b_;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    return strcmp(a->name, b->name);
}

int catalog_load(const char *const *dirs, const char *const *library_dirs,
                 struct catalog **ret_catalog, struct err *e)
{
    cleanup_(catalog_free_p) struct catalog *catalog = calloc(1, sizeof *catalog);
    if (!catalog)
        return err_set_errno(e, ERR_IO, ENOMEM, "cannot load the catalogue");
    pthread_mutex_init(&catalog->lock, NULL);
    int r = copy_library_dirs(catalog, library_dirs, e);
    for (size_t i = 0; r >= 0 && dirs[i]; i++)
        r = load_dir(catalog, dirs[i], e);
    if (r < 0)
        return r;
    qsort(catalog->entries, catalog->entries_count, sizeof catalog->entries[0], compare_entries);
    *ret_catalog = take_ptr(catalog);
    return 0;
}

void catalog_free(struct catalog *catalog)
{
    if (!catalog)
        return;
    pthread_mutex_destroy(&catalog->lock);
    free(catalog);
}

uint32_t catalog_count(const struct catalog *catalog)
{
    return catalog->entries_count;
}

const struct catalog_entry *catalog_get(const struct catalog *catalog, uint32_t index)
{
    return index < catalog->entries_count ? &catalog->entries[index] : NULL;
}

const struct catalog_entry *catalog_find(const struct catalog *catalog, const char *name)
{
    for (uint32_t i = 0; i < catalog->entries_count; i++)
        if (strcmp(catalog->entries[i].name, name) == 0)
            return &catalog->entries[i];
    return NULL;
}

const struct catalog_option *catalog_option_find(const struct catalog_entry *entry,
                                                 const char *name)
{
    for (uint32_t i = 0; i < entry->options_count; i++)
        if (strcmp(entry->options[i].name, name) == 0)
            return &entry->options[i];
    return NULL;
}

const struct catalog_option *catalog_option_for_pages(const struct catalog_entry *entry,
                                                      enum page_mode pages)
{
    for (uint32_t i = 0; i < entry->options_count; i++)
        if (entry->options[i].pages_mask & PAGES_BIT(pages))
            return &entry->options[i];
    return NULL;
}
