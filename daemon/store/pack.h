/* Slices, turns and vectors as bytes in the database: LEB128 numbers of differences, and doubles
 * as little-endian binary64. Pure. What is read back is checked like any input: a damaged blob is
 * an error, never a crash. */
#ifndef HEAPMARK_DAEMON_STORE_PACK_H
#define HEAPMARK_DAEMON_STORE_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "workloads/ring/ring.h"

/* Each writer allocates *ret_data (free() it) and returns 0 or -ENOMEM. */
int pack_slices(const struct ring_slice *slices, uint32_t count, uint8_t **ret_data,
                size_t *ret_size);
int pack_turns(const struct ring_turn *turns, uint32_t count, uint8_t **ret_data, size_t *ret_size);
int pack_doubles(const double *values, uint32_t count, uint8_t **ret_data, size_t *ret_size);

/* Each reader fills `count` items: 0, or -EBADMSG when the bytes are not exactly those. */
int unpack_slices(const uint8_t *data, size_t size, struct ring_slice *ret, uint32_t count);
int unpack_turns(const uint8_t *data, size_t size, struct ring_turn *ret, uint32_t count);
int unpack_doubles(const uint8_t *data, size_t size, double *ret, uint32_t count);

#endif
