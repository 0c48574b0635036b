#include "daemon/heapmarkd/privilege.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/log.h"

int privilege_state_directory(const char *path, struct err *e)
{
    struct stat st;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_errno(e, ERR_IO, errno, "state directory %s cannot be made", path);
    if (stat(path, &st) < 0)
        return err_set_errno(e, ERR_IO, errno, "state directory %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "store.directory", "%s is not a directory", path);
    return 0;
}

static void core_dumps_off(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
}

static int directory_hand_over(const char *path, const struct passwd *user, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set_errno(e, ERR_IO, errno, "state directory %s", path);
    if (st.st_uid == 0 && chown(path, user->pw_uid, user->pw_gid) < 0)
        return err_set_errno(e, ERR_IO, errno, "state directory %s cannot be given to %s", path,
                             user->pw_name);
    return 0;
}

int privilege_drop(const char *user, const char *state_directory, struct err *e)
{
    int r = privilege_state_directory(state_directory, e);
    if (r < 0)
        return r;
    if (geteuid() != 0 || !user[0]) {
        if (geteuid() == 0)
            log_warning("heapmarkd stays root: set server.user to a user of its own");
        core_dumps_off();
        return 0;
    }
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry)
        return err_set(e, ERR_INVALID, "server.user", "there is no user \"%s\"", user);
    if (entry->pw_uid == 0)
        return err_set(e, ERR_INVALID, "server.user", "\"%s\" is root: leave it empty to stay root",
                       user);
    r = directory_hand_over(state_directory, entry, e);
    if (r < 0)
        return r;
    if (initgroups(user, entry->pw_gid) < 0 ||
        setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) < 0 ||
        setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set_errno(e, ERR_IO, errno, "cannot become %s", user);
    if (setuid(0) == 0)
        return err_set(e, ERR_INTERNAL, "server.user", "root could be had back after dropping it");
    core_dumps_off();
    return 0;
}

void privilege_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    cleanup_(close_p) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd >= 0)
        (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
}
