#include "daemon/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"

ssize_t io_read_file(int dirfd, const char *path, char *buf, size_t buf_size)
{
    cleanup_(close_p) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    size_t used = 0;
    for (;;) {
        ssize_t n = read(fd, buf + used, buf_size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
        if (used == buf_size)
            return -EFBIG;
    }
    if (used > 0 && buf[used - 1] == '\n')
        used--;
    buf[used] = '\0';
    return (ssize_t)used;
}

int io_read_u64(int dirfd, const char *path, uint64_t *ret_value)
{
    char buf[64];
    ssize_t n = io_read_file(dirfd, path, buf, sizeof buf);
    if (n < 0)
        return (int)n;
    if (strcmp(buf, "max") == 0) {
        *ret_value = UINT64_MAX;
        return 0;
    }
    return text_parse_u64(buf, ret_value);
}

int io_write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int io_write_file(int dirfd, const char *path, const char *text)
{
    cleanup_(close_p) int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    if (n < 0)
        return -errno;
    return (size_t)n == strlen(text) ? 0 : -EIO;
}

int io_write_u64(int dirfd, const char *path, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return io_write_file(dirfd, path, text);
}
