#include "daemon/supervisor/knobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"

#define STATE_FILE "knobs"
#define THP_FILE   "kernel/mm/transparent_hugepage/enabled"

static const char *const thp_names[] = {
    [WIRE_THP_LEAVE] = "leave",
    [WIRE_THP_NEVER] = "never",
    [WIRE_THP_MADVISE] = "madvise",
    [WIRE_THP_ALWAYS] = "always",
};

void knobs_init(struct knobs *knobs, const struct state *state, int sys_fd)
{
    *knobs = (struct knobs){.state = state, .sys_fd = sys_fd, .thp_lock_fd = -1};
}

static enum wire_thp thp_by_name(const char *name)
{
    for (int i = WIRE_THP_NEVER; i <= WIRE_THP_ALWAYS; i++)
        if (strcmp(name, thp_names[i]) == 0)
            return (enum wire_thp)i;
    return WIRE_THP_LEAVE;
}

enum wire_thp knobs_thp_parse(const char *text)
{
    const char *open = strchr(text, '[');
    const char *close = open ? strchr(open, ']') : NULL;
    char name[16];
    if (!close || (size_t)(close - open) > sizeof name)
        return WIRE_THP_LEAVE;
    snprintf(name, sizeof name, "%.*s", (int)(close - open - 1), open + 1);
    return thp_by_name(name);
}

static enum wire_thp thp_now(int sys_fd)
{
    char text[128];
    return io_read_file(sys_fd, THP_FILE, text, sizeof text) < 0 ? WIRE_THP_LEAVE
                                                                 : knobs_thp_parse(text);
}

static void boot_id_read(char *buf, size_t buf_size)
{
    if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", buf, buf_size) < 0)
        text_copy(buf, buf_size, "unknown");
}

int knobs_save(const struct knobs *knobs)
{
    if (knobs->thp_ours == WIRE_THP_LEAVE && knobs->pools_count == 0)
        return state_remove(knobs->state, STATE_FILE);
    char text[STATE_TEXT_MAX], boot[64];
    boot_id_read(boot, sizeof boot);
    size_t used = (size_t)snprintf(text, sizeof text, "boot %s\n", boot);
    if (knobs->thp_ours != WIRE_THP_LEAVE)
        used += (size_t)snprintf(text + used, sizeof text - used, "thp %s %s\n",
                                 thp_names[knobs->thp_original], thp_names[knobs->thp_ours]);
    for (unsigned i = 0; i < knobs->pools_count; i++) {
        const struct knob_pool *p = &knobs->pools[i];
        char node[16] = "any";
        if (p->node >= 0)
            snprintf(node, sizeof node, "%d", p->node);
        used += (size_t)snprintf(text + used, sizeof text - used, "pool %d %s %llu %llu %d\n",
                                 (int)p->size, node, (unsigned long long)p->before,
                                 (unsigned long long)p->added, p->done);
        if (used >= sizeof text)
            return -E2BIG;
    }
    return state_write(knobs->state, STATE_FILE, text);
}

/* "any" or a node's number. */
static bool node_parse(const char *text, int *ret_node)
{
    uint64_t node;
    if (strcmp(text, "any") == 0) {
        *ret_node = -1;
        return true;
    }
    if (text_parse_u64(text, &node) < 0 || node >= WIRE_MEMS_MAX)
        return false;
    *ret_node = (int)node;
    return true;
}

static bool pool_parse(char *const words[], struct knob_pool *ret)
{
    uint64_t size, done;
    if (text_parse_u64(words[1], &size) < 0 || size >= HUGEPAGE_SIZE_COUNT_ ||
        !node_parse(words[2], &ret->node) || text_parse_u64(words[3], &ret->before) < 0 ||
        text_parse_u64(words[4], &ret->added) < 0 || text_parse_u64(words[5], &done) < 0)
        return false;
    ret->size = (enum hugepage_size)size;
    ret->done = done != 0;
    return true;
}

/* One line of our own file; but the directory may have been in other hands, so only values the
 * writer could have written are taken. */
static bool line_parse(struct knobs *knobs, char *line)
{
    enum { WORDS_MAX = 6 };
    char *words[WORDS_MAX], *save;
    unsigned count = 0;
    for (char *word = strtok_r(line, " ", &save); word && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &save))
        words[count++] = word;
    if (count == 3 && strcmp(words[0], "thp") == 0) {
        knobs->thp_original = thp_by_name(words[1]);
        knobs->thp_ours = thp_by_name(words[2]);
        return knobs->thp_original != WIRE_THP_LEAVE && knobs->thp_ours != WIRE_THP_LEAVE;
    }
    if (count != WORDS_MAX || strcmp(words[0], "pool") != 0 ||
        knobs->pools_count == KNOBS_POOLS_MAX ||
        !pool_parse(words, &knobs->pools[knobs->pools_count]))
        return false;
    knobs->pools_count++;
    return true;
}

/* 1: something to restore was read; 0: nothing (any more). */
static int state_load(struct knobs *knobs)
{
    knobs->thp_original = knobs->thp_ours = WIRE_THP_LEAVE;
    knobs->pools_count = 0;
    char text[STATE_TEXT_MAX], boot[64], expected[80];
    ssize_t n = state_read(knobs->state, STATE_FILE, text, sizeof text);
    if (n == -ENOENT)
        return 0;
    if (n < 0)
        return (int)n;
    boot_id_read(boot, sizeof boot);
    snprintf(expected, sizeof expected, "boot %s", boot);
    char *save, *line = strtok_r(text, "\n", &save);
    if (!line || strcmp(line, expected) != 0) {
        log_info("host settings kept for an earlier boot are dropped");
        return 0;
    }
    while ((line = strtok_r(NULL, "\n", &save)))
        if (!line_parse(knobs, line))
            log_error("state file " STATE_FILE ": a line makes no sense, passed over: %s", line);
    return 1;
}

static int thp_restore(const struct knobs *knobs)
{
    if (knobs->thp_ours == WIRE_THP_LEAVE || knobs->thp_original == WIRE_THP_LEAVE ||
        knobs->thp_original == knobs->thp_ours)
        return 0;
    enum wire_thp now = thp_now(knobs->sys_fd);
    if (now != knobs->thp_ours) {
        if (now != knobs->thp_original)
            log_warning("transparent huge pages were set to \"%s\" by somebody else: left so",
                        thp_names[now]);
        return 0;
    }
    int r = io_write_file(knobs->sys_fd, THP_FILE, thp_names[knobs->thp_original]);
    return r < 0 ? r : 1;
}

int knobs_restore(struct knobs *knobs)
{
    int r = state_load(knobs), first = r < 0 ? r : 0, restored = 0;
    if (r > 0) {
        r = thp_restore(knobs);
        first = r < 0 ? r : first;
        restored += r > 0;
        for (unsigned i = 0; i < knobs->pools_count; i++) {
            r = knobs_pool_restore(knobs->sys_fd, &knobs->pools[i]);
            first = r < 0 ? r : first;
            restored += r > 0;
        }
    }
    if (knobs->thp_lock_fd >= 0)
        close(take_fd(&knobs->thp_lock_fd));
    if (first < 0) {
        log_error("host settings could not be restored: %s", strerror(-first));
        return first;
    }
    knobs->thp_original = knobs->thp_ours = WIRE_THP_LEAVE;
    knobs->pools_count = 0;
    r = knobs_save(knobs);
    return r < 0 ? r : restored;
}

bool knobs_can_set_thp(const struct knobs *knobs)
{
    return faccessat(knobs->sys_fd, THP_FILE, W_OK, AT_EACCESS) == 0;
}

static int thp_lock(struct knobs *knobs, struct err *e)
{
    cleanup_(close_p) int fd = openat(knobs->sys_fd, THP_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(e, ERR_UNAVAILABLE, errno,
                             "this kernel has no transparent huge pages");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_CONFLICT, "/thp",
                       "another supervisor on this host has set transparent huge pages");
    knobs->thp_lock_fd = take_fd(&fd);
    return 0;
}

int knobs_set_thp(struct knobs *knobs, enum wire_thp mode, struct err *e)
{
    if (mode == WIRE_THP_LEAVE)
        return 0;
    int r = thp_lock(knobs, e);
    if (r < 0)
        return r;
    enum wire_thp now = thp_now(knobs->sys_fd);
    if (now == mode)
        return 0;
    if (now == WIRE_THP_LEAVE || !knobs_can_set_thp(knobs))
        return err_set(e, ERR_UNAVAILABLE, "/thp",
                       "transparent huge pages are \"%s\", \"%s\" is needed and only root may set "
                       "it: write it to /sys/" THP_FILE,
                       thp_names[now], thp_names[mode]);
    knobs->thp_original = now;
    knobs->thp_ours = mode;
    r = knobs_save(knobs);
    if (r < 0)
        return err_set_errno(e, ERR_IO, -r, "cannot keep the original THP mode");
    r = io_write_file(knobs->sys_fd, THP_FILE, thp_names[mode]);
    if (r < 0)
        return err_set_errno(e, ERR_UNAVAILABLE, -r, "cannot set transparent huge pages");
    return 0;
}
