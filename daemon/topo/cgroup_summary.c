#include "daemon/topo/cgroup_summary.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/io.h"
#include "daemon/base/mountinfo.h"
#include "daemon/base/text.h"

#define NAMES_MAX 32

struct names {
    char items[NAMES_MAX][24];
    unsigned count;
    bool mounted;
};

static void names_add(struct names *n, const char *name)
{
    for (unsigned i = 0; i < n->count; i++)
        if (strcmp(n->items[i], name) == 0)
            return;
    if (n->count < NAMES_MAX && text_copy(n->items[n->count], sizeof n->items[0], name))
        n->count++;
}

/* Words of `text`, which is changed. */
static void names_add_words(struct names *n, char *text, const char *separators)
{
    char *rest;
    for (char *word = strtok_r(text, separators, &rest); word;
         word = strtok_r(NULL, separators, &rest))
        names_add(n, word);
}

/* Options of a v1 mount: controllers among words every mount has. "name=systemd" has none. */
static void names_add_v1(struct names *n, char *options)
{
    static const char *const words[] = {"rw", "ro", "xattr", "clone_children", "noprefix"};
    char *rest;
    for (char *word = strtok_r(options, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        bool controller = !strchr(word, '=');
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            controller &= strcmp(word, words[i]) != 0;
        if (controller)
            names_add(n, word);
    }
}

static void names_add_v2(struct names *n, int root, const char *mount_point)
{
    char path[512], text[512];
    snprintf(path, sizeof path, "%s/cgroup.controllers", mount_point + (*mount_point == '/'));
    if (io_read_file(root, path, text, sizeof text) >= 0)
        names_add_words(n, text, " ");
}

static void take_mount(int root, char *line, struct names *v1, struct names *v2)
{
    struct mountinfo_line m;
    if (!mountinfo_parse(line, &m))
        return;
    if (strcmp(m.type, "cgroup") == 0) {
        v1->mounted = true;
        names_add_v1(v1, m.super_options);
    } else if (strcmp(m.type, "cgroup2") == 0) {
        v2->mounted = true;
        names_add_v2(v2, root, m.point);
    }
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void append(char *buf, size_t buf_size, const char *separator, const char *word)
{
    size_t used = strlen(buf);
    if (used + strlen(separator) + strlen(word) < buf_size)
        snprintf(buf + used, buf_size - used, "%s%s", separator, word);
}

static void append_names(char *buf, size_t buf_size, const char *version, struct names *n)
{
    if (!n->mounted)
        return;
    append(buf, buf_size, buf[0] ? "; " : "", version);
    qsort(n->items, n->count, sizeof n->items[0], name_compare);
    for (unsigned i = 0; i < n->count; i++)
        append(buf, buf_size, " ", n->items[i]);
}

void cgroup_summary(int root, char *buf, size_t buf_size)
{
    static const size_t text_size = 256 * 1024; /* hosts of many containers have long lists */
    char *text = malloc(text_size), *rest;
    struct names v1 = {0}, v2 = {0};
    buf[0] = '\0';
    if (text && io_read_file(root, "proc/self/mountinfo", text, text_size) >= 0)
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            take_mount(root, line, &v1, &v2);
    free(text);
    append_names(buf, buf_size, "v1", &v1);
    append_names(buf, buf_size, "v2", &v2);
}
