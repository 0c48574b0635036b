#include "daemon/supervisor/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/supervisor/cgroup_ops.h"

#define MAGIC_V1        0x27e0eb
#define MAGIC_V2        0x63677270
#define MOUNTINFO_MAX   (1u << 20)
#define STATE_FILE      "cgroups"
#define STATE_LINES_MAX 24
#define SELF_NAME       "self"
#define OPEN_DIRECTORY  (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Controllers we make groups for; the rest is only reported. */
#define CONTROLLERS_USED                                                         \
    (1u << CONTROLLER_MEMORY | 1u << CONTROLLER_CPUSET | 1u << CONTROLLER_PIDS | \
     1u << CONTROLLER_FREEZER | 1u << CONTROLLER_HUGETLB)

static const uint32_t controller_isolation[CONTROLLER_COUNT_] = {
    [CONTROLLER_MEMORY] = ISOLATION_CGROUP_MEMORY,   [CONTROLLER_CPUSET] = ISOLATION_CGROUP_CPUSET,
    [CONTROLLER_PIDS] = ISOLATION_CGROUP_PIDS,       [CONTROLLER_FREEZER] = ISOLATION_CGROUP_KILL,
    [CONTROLLER_HUGETLB] = ISOLATION_CGROUP_HUGETLB,
};

static void host_lose(struct cgroup_host *host, unsigned controller, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void host_lose(struct cgroup_host *host, unsigned controller, const char *fmt, ...)
{
    struct cgroup_layout *layout = &host->layout;
    if (layout->where[controller] < 0)
        return;
    layout->hierarchies[layout->where[controller]].serves &= ~(1u << controller);
    layout->where[controller] = -1;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(layout->reason[controller], CGROUP_REASON_MAX, fmt, ap);
    va_end(ap);
}

/* A worker started again finds itself in MARK/self: its place in the tree is two levels up. */
static void own_strip_self(struct cgroup_hierarchy *h, const char *mark)
{
    char suffix[STATE_MARK_MAX + 8];
    int n = snprintf(suffix, sizeof suffix, "/%s/" SELF_NAME, mark);
    size_t length = strlen(h->own);
    if (h->version == 2 && length > (size_t)n && strcmp(h->own + length - (size_t)n, suffix) == 0)
        h->own[length - (size_t)n] = '\0';
}

static bool is_cgroup_mount(int dir, unsigned version)
{
    struct statfs fs;
    return fstatfs(dir, &fs) == 0 && fs.f_type == (version == 2 ? MAGIC_V2 : MAGIC_V1);
}

/* MARK in one hierarchy: descriptor, or -errno with the reason. */
static int base_open(const struct cgroup_hierarchy *h, const char *mark, char *reason)
{
    cleanup_(close_p) int own = open(h->own, OPEN_DIRECTORY);
    if (own < 0 || !is_cgroup_mount(own, h->version)) {
        snprintf(reason, CGROUP_REASON_MAX, "%.60s is not a cgroup directory here", h->own);
        return -ENOENT;
    }
    if (mkdirat(own, mark, 0755) < 0 && errno != EEXIST) {
        int r = -errno;
        snprintf(reason, CGROUP_REASON_MAX, "cannot make a group in %.40s: %.24s", h->own,
                 strerror(-r));
        return r;
    }
    int base = openat(own, mark, OPEN_DIRECTORY);
    if (base >= 0)
        return base;
    int r = -errno;
    snprintf(reason, CGROUP_REASON_MAX, "cannot open %.40s/%.24s", h->own, mark);
    return r;
}

static void host_open_bases(struct cgroup_host *host)
{
    struct cgroup_layout *layout = &host->layout;
    for (unsigned i = 0; i < layout->hierarchies_count;) {
        char reason[CGROUP_REASON_MAX];
        int base = base_open(&layout->hierarchies[i], host->mark, reason);
        if (base < 0)
            cgroup_layout_remove(layout, i, reason);
        else
            host->base_fds[i++] = base;
    }
}

static void host_choose(struct cgroup_host *host)
{
    char controllers[1024] = "";
    bool can_kill = false;
    int v2 = cgroup_layout_v2(&host->layout);
    if (v2 >= 0) {
        int base = host->base_fds[v2];
        cleanup_(close_p) int own = openat(base, "..", OPEN_DIRECTORY);
        if (own >= 0)
            (void)io_read_file(own, "cgroup.controllers", controllers, sizeof controllers);
        can_kill = faccessat(base, "cgroup.kill", W_OK, AT_EACCESS) == 0 ||
                   faccessat(base, "cgroup.freeze", W_OK, AT_EACCESS) == 0;
    }
    cgroup_layout_choose(&host->layout, controllers, can_kill);
}

static int move_process(int dir, pid_t pid)
{
    return pid > 0 ? io_write_u64(dir, "cgroup.procs", (uint64_t)pid) : 0;
}

/* Empty our own cgroup of daemon, guardian and ourselves: into MARK/self, or back. */
static int self_move(int to, pid_t daemon_pid)
{
    int r = move_process(to, daemon_pid);
    if (r == 0)
        r = move_process(to, getppid());
    return r < 0 ? r : move_process(to, getpid());
}

/* Make our own cgroup one whose children may have controllers. It must be emptied before any
 * controller is enabled: cpuset and pids would be accepted beside processes, and then the children
 * were threaded ones that can have neither memory nor processes of their own. */
static int v2_make_room(int own, int base, pid_t daemon_pid)
{
    if (faccessat(own, "cgroup.type", F_OK, 0) < 0) /* the real root needs no room */
        return 0;
    int count = cgroup_dir_count(own);
    if (count <= 0)
        return count;
    if (mkdirat(base, SELF_NAME, 0755) < 0 && errno != EEXIST)
        return -errno;
    cleanup_(close_p) int self = openat(base, SELF_NAME, OPEN_DIRECTORY);
    if (self < 0)
        return -errno;
    int r = self_move(self, daemon_pid);
    if (r == 0 && cgroup_dir_count(own) == 0)
        return 0;
    (void)self_move(own, daemon_pid);
    (void)unlinkat(base, SELF_NAME, AT_REMOVEDIR);
    return r < 0 ? r : -EBUSY;
}

static int v2_enable(struct cgroup_host *host, unsigned at, pid_t daemon_pid)
{
    int base = host->base_fds[at];
    cleanup_(close_p) int own = openat(base, "..", OPEN_DIRECTORY);
    if (own < 0)
        return -errno;
    int r = v2_make_room(own, base, daemon_pid);
    return r < 0 ? r : cgroup_ops_v2.base_prepare(own, -1, host->layout.hierarchies[at].serves);
}

static void v2_prepare(struct cgroup_host *host, unsigned at, pid_t daemon_pid)
{
    const struct cgroup_hierarchy *h = &host->layout.hierarchies[at];
    uint32_t wanted = h->serves & CONTROLLERS_USED & ~(1u << CONTROLLER_FREEZER);
    if (wanted == 0)
        return;
    int r = v2_enable(host, at, daemon_pid);
    if (r == 0)
        r = cgroup_ops_v2.base_prepare(host->base_fds[at], -1, wanted);
    char text[1024] = "", enabled[sizeof text + 2];
    (void)io_read_file(host->base_fds[at], "cgroup.subtree_control", text, sizeof text);
    snprintf(enabled, sizeof enabled, " %s ", text);
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++) {
        char name[32];
        snprintf(name, sizeof name, " %s ", wire_controller_name((enum wire_controller)i));
        if (!(wanted & 1u << i) || strstr(enabled, name))
            continue;
        if (r == -EBUSY)
            host_lose(host, i,
                      "other processes live in our cgroup: run heapmarkd in its own "
                      "(Delegate=yes)");
        else
            host_lose(host, i, "cannot be delegated: %.48s", strerror(-r));
    }
}

static void v1_prepare(struct cgroup_host *host, unsigned at)
{
    const struct cgroup_hierarchy *h = &host->layout.hierarchies[at];
    cleanup_(close_p) int own = openat(host->base_fds[at], "..", OPEN_DIRECTORY);
    int r = own < 0 ? -errno : cgroup_ops_v1.base_prepare(host->base_fds[at], own, h->serves);
    for (unsigned i = 0; r < 0 && i < CONTROLLER_COUNT_; i++)
        if (h->serves & 1u << i)
            host_lose(host, i, "cannot prepare %.40s: %.24s", h->own, strerror(-r));
}

/* A hierarchy that serves nothing we use needs no directory. */
static void host_drop_unused(struct cgroup_host *host)
{
    for (unsigned i = 0; i < host->layout.hierarchies_count; i++) {
        if (host->layout.hierarchies[i].serves & CONTROLLERS_USED)
            continue;
        cleanup_(close_p) int own = openat(host->base_fds[i], "..", OPEN_DIRECTORY);
        close(take_fd(&host->base_fds[i]));
        if (own >= 0)
            (void)unlinkat(own, host->mark, AT_REMOVEDIR);
    }
}

/* Add our MARK directories to those the state file already names. */
static int state_record(const struct cgroup_host *host, const struct state *state)
{
    char text[STATE_TEXT_MAX], old[STATE_TEXT_MAX];
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < host->layout.hierarchies_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s/%s\n",
                                 host->layout.hierarchies[i].own, host->mark);
    if (state_read(state, STATE_FILE, old, sizeof old) < 0)
        old[0] = '\0';
    unsigned lines = 0;
    char *save;
    for (char *line = strtok_r(old, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char whole[CGROUP_PATH_MAX + STATE_MARK_MAX + 4];
        if (++lines > STATE_LINES_MAX || strlen(line) + 2 > sizeof whole)
            continue;
        snprintf(whole, sizeof whole, "%s\n", line);
        if (!strstr(text, whole) && used + strlen(whole) < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s", whole);
    }
    return state_write(state, STATE_FILE, text);
}

int cgroup_host_open_texts(struct cgroup_host *host, const struct state *state, pid_t daemon_pid,
                           const char *mountinfo, const char *self_cgroup, struct err *e)
{
    *host = (struct cgroup_host){0};
    for (unsigned i = 0; i < CGROUP_HIERARCHIES_MAX; i++)
        host->base_fds[i] = -1;
    snprintf(host->mark, sizeof host->mark, "%s", state->mark);
    cgroup_layout_parse(mountinfo, self_cgroup, &host->layout);
    for (unsigned i = 0; i < host->layout.hierarchies_count; i++)
        own_strip_self(&host->layout.hierarchies[i], host->mark);
    int r = state_record(host, state);
    if (r < 0)
        return err_set_errno(e, ERR_IO, -r, "cannot write the state file \"%s\"", STATE_FILE);
    host_open_bases(host);
    host_choose(host);
    for (unsigned i = 0; i < host->layout.hierarchies_count; i++) {
        if (host->layout.hierarchies[i].version == 2)
            v2_prepare(host, i, daemon_pid);
        else
            v1_prepare(host, i);
    }
    host_drop_unused(host);
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++)
        if (host->layout.where[i] >= 0)
            host->isolation |= controller_isolation[i];
    return 0;
}

int cgroup_host_open(struct cgroup_host *host, const struct state *state, pid_t daemon_pid,
                     struct err *e)
{
    cleanup_(free_p) char *mountinfo = malloc(MOUNTINFO_MAX);
    char self_cgroup[16384];
    if (!mountinfo)
        return err_set_errno(e, ERR_IO, ENOMEM, "cannot read mountinfo");
    ssize_t n = io_read_file(AT_FDCWD, "/proc/self/mountinfo", mountinfo, MOUNTINFO_MAX);
    if (n < 0) {
        log_warning("cgroups are not looked for: /proc/self/mountinfo: %s", strerror((int)-n));
        mountinfo[0] = '\0';
    }
    if (io_read_file(AT_FDCWD, "/proc/self/cgroup", self_cgroup, sizeof self_cgroup) < 0)
        self_cgroup[0] = '\0';
    return cgroup_host_open_texts(host, state, daemon_pid, mountinfo, self_cgroup, e);
}

void cgroup_host_close(struct cgroup_host *host)
{
    for (unsigned i = 0; i < CGROUP_HIERARCHIES_MAX; i++) {
        if (host->base_fds[i] < 0)
            continue;
        cleanup_(close_p) int own = openat(host->base_fds[i], "..", OPEN_DIRECTORY);
        if (own >= 0)
            (void)unlinkat(own, host->mark, AT_REMOVEDIR);
        close(take_fd(&host->base_fds[i]));
    }
}

/* One line of the state file. Only a directory called MARK below a cgroup mount is ours. */
static int reap_line(const struct state *state, char *line)
{
    char *slash = strrchr(line, '/');
    if (line[0] != '/' || !slash || strcmp(slash + 1, state->mark) != 0 || strstr(line, "/../"))
        return 0;
    *slash = '\0';
    cleanup_(close_p) int parent = open(line, OPEN_DIRECTORY);
    if (parent < 0 || (!is_cgroup_mount(parent, 1) && !is_cgroup_mount(parent, 2)))
        return 0;
    int r = cgroup_tree_remove(parent, state->mark, SELF_NAME);
    if (r < 0)
        log_error("cannot clear leftover groups in %s/%s: %s", line, state->mark, strerror(-r));
    return r;
}

int cgroup_reap(const struct state *state)
{
    char text[STATE_TEXT_MAX];
    if (state_read(state, STATE_FILE, text, sizeof text) < 0)
        return 0;
    int removed = 0;
    bool failed = false;
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int r = reap_line(state, line);
        failed |= r < 0;
        removed += r > 0 ? r : 0;
    }
    if (!failed)
        (void)state_remove(state, STATE_FILE);
    return removed;
}
