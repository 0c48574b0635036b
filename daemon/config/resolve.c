/* Paths nobody configured, from where the program stands:
 *
 *   PREFIX/sbin/heapmarkd  PREFIX/libexec/heapmark/{heapmark-supervisor,heapmark-runner}
 *   PREFIX/share/heapmark/catalog   PREFIX/lib/heapmark/       an installation
 *   BUILD/bin/…            BUILD/share/heapmark/catalog   BUILD/lib/       a build tree */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config/internal.h"

#define ADMIN_CATALOG_DIR "/etc/heapmark/catalog"
#define ROOT_RUN_DIR      "/run/heapmark"

/* Directory of the running program, without its trailing slash. */
static int program_dir(char ret_dir[PATH_MAX], struct err *e)
{
    ssize_t n = readlink("/proc/self/exe", ret_dir, PATH_MAX - 1);
    if (n < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot read /proc/self/exe");
    ret_dir[n] = '\0';
    char *slash = strrchr(ret_dir, '/');
    if (!slash)
        return err_set(e, ERR_IO, NULL, "/proc/self/exe is \"%s\"", ret_dir);
    *slash = '\0';
    return 0;
}

/* The first of `places` (below dir) that exists, into ret. */
static int find_below(const char *dir, const char *const *places, int mode,
                      char ret[CONFIG_TEXT_SIZE])
{
    for (; *places; places++) {
        char path[PATH_MAX + 64], clean[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, *places);
        if (realpath(path, clean) && strlen(clean) < CONFIG_TEXT_SIZE && access(clean, mode) == 0) {
            memcpy(ret, clean, strlen(clean) + 1);
            return 0;
        }
    }
    return -ENOENT;
}

static int resolve_program(const char *dir, const char *name, char *path, const char *field,
                           struct err *e)
{
    char beside[64], installed[96];
    snprintf(beside, sizeof beside, "%s", name);
    snprintf(installed, sizeof installed, "../" LIBEXECDIR "/heapmark/%s", name);
    const char *const places[] = {beside, installed, NULL};
    if (path[0]) {
        if (access(path, X_OK) < 0)
            return err_set_errno(e, ERR_INVALID, errno, "%s: cannot execute %s", field, path);
        return 0;
    }
    if (find_below(dir, places, X_OK, path) < 0)
        return err_set(e, ERR_INVALID, field,
                       "no %s beside this program (%s) or in ../" LIBEXECDIR "/heapmark: set %s",
                       name, dir, field);
    return 0;
}

static int list_resolve(const char *dir, struct config_list *list, const char *const *places)
{
    if (list->count)
        return 0;
    int r = find_below(dir, places, R_OK | X_OK, list->items[0]);
    if (r == 0)
        list->count = 1;
    return r;
}

static int dirs_resolve(const char *dir, struct config *c, struct err *e)
{
    static const char *const catalogs[] = {"../share/heapmark/catalog", NULL};
    static const char *const libraries[] = {"../" LIBDIR "/heapmark", "../lib", NULL};
    bool given = c->catalog_dirs.count > 0;
    if (list_resolve(dir, &c->catalog_dirs, catalogs) < 0)
        return err_set(e, ERR_INVALID, "supervisor.catalog_dirs",
                       "no allocator catalogue at %s/../share/heapmark/catalog: set "
                       "supervisor.catalog_dirs",
                       dir);
    if (!given && access(ADMIN_CATALOG_DIR, R_OK | X_OK) == 0)
        snprintf(c->catalog_dirs.items[c->catalog_dirs.count++], CONFIG_TEXT_SIZE, "%s",
                 ADMIN_CATALOG_DIR);
    (void)list_resolve(dir, &c->library_dirs, libraries); /* none of ours: only the system's */
    return 0;
}

static int supervisor_directory_resolve(struct config *c, struct err *e)
{
    if (c->supervisor_directory[0])
        return 0;
    if (geteuid() == 0) {
        snprintf(c->supervisor_directory, sizeof c->supervisor_directory, "%s", ROOT_RUN_DIR);
        return 0;
    }
    int n = snprintf(c->supervisor_directory, sizeof c->supervisor_directory, "%s/supervisor",
                     c->directory);
    if (n >= (int)sizeof c->supervisor_directory)
        return err_set(e, ERR_TOO_LARGE, "store.directory", "store.directory is too long");
    return 0;
}

int config_resolve(struct config *c, struct err *e)
{
    char dir[PATH_MAX];
    int r = program_dir(dir, e);
    if (r < 0)
        return r;
    if (c->listen.count == 0)
        return err_set(e, ERR_INVALID, "server.listen", "server.listen is empty");
    if (!c->directory[0])
        return err_set(e, ERR_INVALID, "store.directory", "store.directory is empty");
    if (c->user[0] && geteuid() != 0)
        return err_set(e, ERR_INVALID, "server.user",
                       "server.user: only root can become \"%s\"; leave it empty", c->user);
    r = resolve_program(dir, "heapmark-supervisor", c->supervisor_path, "supervisor.path", e);
    if (r == 0)
        r = resolve_program(dir, "heapmark-runner", c->runner_path, "supervisor.runner", e);
    if (r == 0)
        r = dirs_resolve(dir, c, e);
    if (r == 0)
        r = supervisor_directory_resolve(c, e);
    return r;
}
