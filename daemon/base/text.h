/* Strings and numbers as text. Nothing here allocates except where it says so. */
#ifndef HEAPMARK_BASE_TEXT_H
#define HEAPMARK_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copy with truncation; true if all of it fitted. */
bool text_copy(char *dst, size_t dst_size, const char *src);

/* Decimal u64 without sign, spaces or rest. 0, -EINVAL or -ERANGE. */
int text_parse_u64(const char *text, uint64_t *ret_value);

/* "262144", "256KiB", "256MiB", "2GiB" (also K, M, G as binary). 0, -EINVAL or -ERANGE. */
int text_parse_size(const char *text, uint64_t *ret_bytes);

/* Bytes of the first line "key:  123 kB" of a text as /proc/meminfo, smaps or status. 0, -ENOENT
 * without such a line, -EPROTO when it says anything else. */
int text_kib_field(const char *text, const char *key, uint64_t *ret_bytes);

/* "1.5 GiB", "64 KiB", "12 B" into buf[24]. */
void text_format_size(uint64_t bytes, char buf[24]);

/* A name made for URLs and cgroup directories: [a-z0-9][a-z0-9._-]*, at most max_length. */
bool text_is_name(const char *text, size_t max_length);

void text_hex(const uint8_t *bytes, size_t bytes_count, char *ret_hex /* 2*count+1 */);
int text_unhex(const char *hex, uint8_t *ret_bytes, size_t bytes_count);

#endif
