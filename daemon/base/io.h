/* Whole small files and whole writes. */
#ifndef HEAPMARK_BASE_IO_H
#define HEAPMARK_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Read a whole text file (or /proc, /sys file) relative to dirfd (AT_FDCWD allowed) into buf,
 * always NUL-terminated, one trailing newline cut. Returns length, -EFBIG if it did not fit,
 * -errno otherwise. */
ssize_t io_read_file(int dirfd, const char *path, char *buf, size_t buf_size);

/* As io_read_file for one decimal number; "max" reads as UINT64_MAX. */
int io_read_u64(int dirfd, const char *path, uint64_t *ret_value);

/* One write() of the whole text to an existing file (a kernel knob). 0 or -errno. */
int io_write_file(int dirfd, const char *path, const char *text);
int io_write_u64(int dirfd, const char *path, uint64_t value);

/* All bytes or -errno; retries EINTR and short writes. */
int io_write_all(int fd, const void *data, size_t size);

#endif
