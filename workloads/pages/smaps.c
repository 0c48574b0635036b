#include "workloads/pages/smaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"

/* Lines through a buffer on the stack: stdio would take memory from malloc. */
struct line_reader {
    int fd;
    size_t used, count;
    char buf[4096];
};

/* Next line without its end, cut to `size`. 1, 0 at the end, -errno. */
static int line_next(struct line_reader *l, char *line, size_t size)
{
    size_t n = 0;
    for (;;) {
        if (l->used == l->count) {
            ssize_t got = read(l->fd, l->buf, sizeof l->buf);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return -errno;
            l->used = 0;
            l->count = (size_t)got;
            if (got == 0) {
                line[n] = '\0';
                return n > 0;
            }
        }
        char c = l->buf[l->used++];
        if (c == '\n') {
            line[n] = '\0';
            return 1;
        }
        if (n + 1 < size)
            line[n++] = c;
    }
}

/* "Field:   123 kB" of one mapping. */
static void take_field(const char *line, struct smaps_sum *sum)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"Rss:", offsetof(struct smaps_sum, rss_bytes)},
        {"Private_Dirty:", offsetof(struct smaps_sum, private_dirty_bytes)},
        {"AnonHugePages:", offsetof(struct smaps_sum, anon_huge_bytes)},
        {"Private_Hugetlb:", offsetof(struct smaps_sum, hugetlb_bytes)},
        {"Shared_Hugetlb:", offsetof(struct smaps_sum, hugetlb_bytes)},
    };
    const size_t length = strcspn(line, " ");
    char *end;
    const uint64_t bytes = strtoull(line + length, &end, 10) * 1024;
    if (strcmp(end, " kB") != 0)
        return;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strlen(fields[i].name) == length && strncmp(line, fields[i].name, length) == 0)
            *(uint64_t *)((char *)sum + fields[i].offset) += bytes;
    if (strncmp(line, "KernelPageSize:", length) == 0 &&
        (sum->kernel_page_bytes == 0 || bytes < sum->kernel_page_bytes))
        sum->kernel_page_bytes = bytes;
}

struct smaps_filter {
    uint64_t base, bytes; /* whole address space: 0 and UINT64_MAX */
    bool private_only;
};

/* "7f00-7f10 rw-p ...": a mapping's first line. No field's name has a '-' after hex digits. */
struct smaps_header {
    uint64_t start, end;
    bool shared;
};

static bool header_parse(const char *line, struct smaps_header *ret)
{
    char *at;
    ret->start = strtoull(line, &at, 16);
    if (at == line || *at != '-')
        return false;
    const char *end = at + 1;
    ret->end = strtoull(end, &at, 16);
    if (at == end || *at != ' ' || strnlen(at, 5) < 5)
        return false;
    ret->shared = at[4] == 's';
    return true;
}

static bool filter_takes(const struct smaps_filter *f, const struct smaps_header *h)
{
    if (f->private_only && h->shared)
        return false;
    return h->start < f->base + f->bytes && h->end > f->base;
}

static int smaps_sum_fd(int fd, const struct smaps_filter *filter, struct smaps_sum *ret)
{
    struct line_reader reader = {.fd = fd};
    struct smaps_sum sum = {0};
    bool inside = false, any = false;
    char line[256];
    int r;
    while ((r = line_next(&reader, line, sizeof line)) > 0) {
        struct smaps_header header;
        if (header_parse(line, &header)) {
            any = true;
            inside = filter_takes(filter, &header);
            sum.mapped_bytes += inside ? header.end - header.start : 0;
        } else if (inside) {
            take_field(line, &sum);
        }
    }
    if (r < 0)
        return r;
    if (!any)
        return -EPROTO;
    if (sum.mapped_bytes == 0)
        return -ENOENT;
    *ret = sum;
    return 0;
}

int smaps_range_fd(int fd, uint64_t base, uint64_t bytes, struct smaps_sum *ret)
{
    return smaps_sum_fd(fd, &(struct smaps_filter){.base = base, .bytes = bytes}, ret);
}

int smaps_private_fd(int fd, struct smaps_sum *ret)
{
    return smaps_sum_fd(fd, &(struct smaps_filter){.bytes = UINT64_MAX, .private_only = true}, ret);
}

int smaps_range(const void *base, uint64_t bytes, struct smaps_sum *ret)
{
    cleanup_(close_p) int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : smaps_range_fd(fd, (uintptr_t)base, bytes, ret);
}

int smaps_private(struct smaps_sum *ret)
{
    cleanup_(close_p) int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : smaps_private_fd(fd, ret);
}
