#include "daemon/supervisor/cgroup_layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/mountinfo.h"
#include "daemon/base/text.h"

#define LIST_VALUES_MAX 4096

static int controller_parse(const char *name, size_t length)
{
    for (int i = 0; i < CONTROLLER_COUNT_; i++) {
        const char *known = wire_controller_name((enum wire_controller)i);
        if (strlen(known) == length && memcmp(known, name, length) == 0)
            return i;
    }
    return -ENOENT;
}

/* Bits of a list of controllers separated by any of `separators`. */
static uint32_t controllers_parse(const char *text, const char *separators)
{
    uint32_t bits = 0;
    while (*text) {
        size_t length = strcspn(text, separators);
        int controller = controller_parse(text, length);
        if (controller >= 0)
            bits |= 1u << controller;
        text += length;
        text += strspn(text, separators);
    }
    return bits;
}

/* One line of mountinfo that is a cgroup mount. */
struct mount_line {
    unsigned version;
    uint32_t controllers;
    bool read_only;
    const char *root, *point;
};

/* Cuts `line` into fields in place. False if it is no cgroup mount. */
static bool mount_line_parse(char *line, struct mount_line *ret)
{
    struct mountinfo_line m;
    if (!mountinfo_parse(line, &m))
        return false;
    if (strcmp(m.type, "cgroup") == 0)
        ret->version = 1;
    else if (strcmp(m.type, "cgroup2") == 0)
        ret->version = 2;
    else
        return false;
    ret->controllers = ret->version == 1 ? controllers_parse(m.super_options, ",") : 0;
    ret->read_only = strcmp(m.options, "ro") == 0 || strncmp(m.options, "ro,", 3) == 0;
    ret->root = m.root;
    ret->point = m.point;
    return true;
}

/* Our path in the hierarchy of `m`, from /proc/self/cgroup. False if there is none. */
static bool own_path_find(const char *self_cgroup, const struct mount_line *m, char *path,
                          size_t path_size)
{
    for (const char *line = self_cgroup; *line;) {
        size_t length = strcspn(line, "\n");
        const char *names = memchr(line, ':', length);
        const char *at = names ? memchr(names + 1, ':', length - (size_t)(names + 1 - line)) : NULL;
        if (at) {
            char list[256];
            snprintf(list, sizeof list, "%.*s", (int)(at - names - 1), names + 1);
            bool is_v2 = line[0] == '0' && names == line + 1 && list[0] == '\0';
            bool match = m->version == 2 ? is_v2 : (controllers_parse(list, ",") & m->controllers);
            size_t n = length - (size_t)(at + 1 - line);
            if (match && n < path_size) {
                memcpy(path, at + 1, n);
                path[n] = '\0';
                return true;
            }
        }
        line += length;
        line += *line == '\n';
    }
    return false;
}

static void reasons_set(struct cgroup_layout *layout, uint32_t controllers, const char *reason)
{
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++)
        if (controllers & 1u << i)
            text_copy(layout->reason[i], sizeof layout->reason[i], reason);
}

static bool is_outside(const char *path)
{
    return path[0] != '/' || strncmp(path, "/..", 3) == 0 || strstr(path, "/../") ||
           strstr(path, " (deleted)");
}

/* The directory of our own cgroup below this mount; NULL or why it cannot be used. */
static const char *own_directory(const struct mount_line *m, const char *path, char *own,
                                 size_t own_size)
{
    if (m->read_only)
        return "mounted read-only";
    if (is_outside(path))
        return "our own cgroup lies outside of what is mounted";
    size_t root_length = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);
    if (strncmp(path, m->root, root_length) != 0 ||
        (path[root_length] != '/' && path[root_length] != '\0'))
        return "our own cgroup lies outside of what is mounted";
    const char *below = path + root_length;
    int n = snprintf(own, own_size, "%s%s", m->point, strcmp(below, "/") == 0 ? "" : below);
    return n >= 0 && (size_t)n < own_size ? NULL : "its path is too long";
}

static bool layout_has(const struct cgroup_layout *layout, const struct mount_line *m)
{
    for (unsigned i = 0; i < layout->hierarchies_count; i++) {
        const struct cgroup_hierarchy *h = &layout->hierarchies[i];
        if (h->version == m->version && (m->version == 2 || h->offers & m->controllers))
            return true;
    }
    return false;
}

static void layout_add(struct cgroup_layout *layout, const struct mount_line *m,
                       const char *self_cgroup)
{
    if ((m->version == 1 && m->controllers == 0) || layout_has(layout, m) ||
        layout->hierarchies_count == CGROUP_HIERARCHIES_MAX)
        return;
    uint32_t all = m->version == 2 ? (1u << CONTROLLER_COUNT_) - 1 : m->controllers;
    char path[CGROUP_PATH_MAX];
    if (!own_path_find(self_cgroup, m, path, sizeof path)) {
        reasons_set(layout, all, "/proc/self/cgroup does not name our own cgroup");
        return;
    }
    struct cgroup_hierarchy *h = &layout->hierarchies[layout->hierarchies_count];
    const char *reason = own_directory(m, path, h->own, sizeof h->own);
    if (reason) {
        reasons_set(layout, all, reason);
        return;
    }
    h->version = m->version;
    h->offers = m->controllers;
    h->serves = 0;
    layout->hierarchies_count++;
}

void cgroup_layout_parse(const char *mountinfo, const char *self_cgroup,
                         struct cgroup_layout *ret_layout)
{
    *ret_layout = (struct cgroup_layout){0};
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++)
        ret_layout->where[i] = -1;
    reasons_set(ret_layout, (1u << CONTROLLER_COUNT_) - 1, "no cgroup hierarchy is mounted");
    for (const char *line = mountinfo; *line;) {
        size_t length = strcspn(line, "\n");
        char copy[2 * CGROUP_PATH_MAX];
        struct mount_line m;
        if (length < sizeof copy) {
            memcpy(copy, line, length);
            copy[length] = '\0';
            if (mount_line_parse(copy, &m))
                layout_add(ret_layout, &m, self_cgroup);
        }
        line += length;
        line += *line == '\n';
    }
}

int cgroup_layout_v2(const struct cgroup_layout *layout)
{
    for (unsigned i = 0; i < layout->hierarchies_count; i++)
        if (layout->hierarchies[i].version == 2)
            return (int)i;
    return -1;
}

void cgroup_layout_remove(struct cgroup_layout *layout, unsigned index, const char *reason)
{
    struct cgroup_hierarchy *h = &layout->hierarchies[index];
    reasons_set(layout, h->version == 2 ? (1u << CONTROLLER_COUNT_) - 1 : h->offers, reason);
    layout->hierarchies_count--;
    memmove(h, h + 1, (layout->hierarchies_count - index) * sizeof *h);
}

static int hierarchy_offering(const struct cgroup_layout *layout, unsigned controller,
                              unsigned version)
{
    for (unsigned i = 0; i < layout->hierarchies_count; i++)
        if (layout->hierarchies[i].version == version &&
            layout->hierarchies[i].offers & 1u << controller)
            return (int)i;
    return -1;
}

void cgroup_layout_choose(struct cgroup_layout *layout, const char *v2_controllers,
                          bool v2_can_kill)
{
    int v2 = cgroup_layout_v2(layout);
    if (v2 >= 0) {
        layout->hierarchies[v2].offers = controllers_parse(v2_controllers, " \n");
        layout->hierarchies[v2].offers &= ~(1u << CONTROLLER_FREEZER);
        if (v2_can_kill)
            layout->hierarchies[v2].offers |= 1u << CONTROLLER_FREEZER;
    }
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++) {
        int at = hierarchy_offering(layout, i, 2);
        if (at < 0)
            at = hierarchy_offering(layout, i, 1);
        layout->where[i] = at;
        if (at >= 0) {
            layout->hierarchies[at].serves |= 1u << i;
            layout->reason[i][0] = '\0';
        } else if (layout->hierarchies_count > 0 &&
                   strcmp(layout->reason[i], "no cgroup hierarchy is mounted") == 0) {
            reasons_set(layout, 1u << i, "not offered by any mounted hierarchy");
        }
    }
}

static int compare_u16(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

int cgroup_format_list(const uint16_t *values, unsigned count, char *buf, size_t buf_size)
{
    uint16_t sorted[LIST_VALUES_MAX];
    if (count > LIST_VALUES_MAX || buf_size == 0)
        return -ENOSPC;
    memcpy(sorted, values, count * sizeof *values);
    qsort(sorted, count, sizeof *sorted, compare_u16);
    size_t used = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < count;) {
        unsigned last = i;
        while (last + 1 < count && sorted[last + 1] <= sorted[last] + 1)
            last++;
        char range[24];
        int n = sorted[last] == sorted[i]
                    ? snprintf(range, sizeof range, "%u", sorted[i])
                    : snprintf(range, sizeof range, "%u-%u", sorted[i], sorted[last]);
        if (used + (size_t)n + 2 > buf_size)
            return -ENOSPC;
        used += (size_t)sprintf(buf + used, "%s%s", used ? "," : "", range);
        i = last + 1;
    }
    return (int)used;
}

bool cgroup_list_equal(const char *text, const uint16_t *values, unsigned count)
{
    uint8_t state[LIST_VALUES_MAX] = {0}; /* 1 wanted, 2 listed */
    for (unsigned i = 0; i < count; i++)
        if (values[i] < LIST_VALUES_MAX)
            state[values[i]] = 1;
        else
            return false;
    while (*text && *text != '\n') {
        char *end;
        unsigned long first = strtoul(text, &end, 10);
        if (end == text)
            return false;
        unsigned long last = first;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text)
                return false;
        }
        for (unsigned long i = first; i <= last; i++) {
            if (i >= LIST_VALUES_MAX || state[i] == 0)
                return false;
            state[i] = 2;
        }
        text = *end == ',' ? end + 1 : end;
        if (text == end && *end && *end != '\n')
            return false;
    }
    return memchr(state, 1, sizeof state) == NULL;
}
