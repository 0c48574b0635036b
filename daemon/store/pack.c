#include "daemon/store/pack.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VARINT_BYTES_MAX    10
#define SLICE_NUMBERS_COUNT 5
#define TURN_NUMBERS_COUNT  5

static uint8_t *varint_put(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static const uint8_t *varint_get(const uint8_t *at, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; at && at < end && shift < 64; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1)
            return NULL;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return at;
        }
    }
    return NULL;
}

/* Differences wrap modulo 2^64 and are folded so that small ones of either sign stay short. */
static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t folded)
{
    return folded >> 1 ^ (folded & 1 ? UINT64_MAX : 0);
}

static int pack_buffer(uint32_t count, size_t item_bytes, uint8_t **ret)
{
    size_t size;
    if (__builtin_mul_overflow((size_t)count, item_bytes, &size))
        return -ENOMEM;
    *ret = malloc(size ? size : 1);
    return *ret ? 0 : -ENOMEM;
}

int pack_slices(const struct ring_slice *slices, uint32_t count, uint8_t **ret_data,
                size_t *ret_size)
{
    uint8_t *data;
    int r = pack_buffer(count, SLICE_NUMBERS_COUNT * VARINT_BYTES_MAX, &data);
    if (r < 0)
        return r;
    uint8_t *at = data;
    struct ring_slice last = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct ring_slice *s = &slices[i];
        at = varint_put(at, zigzag(s->start_ns - last.end_ns));
        at = varint_put(at, zigzag(s->end_ns - s->start_ns));
        at = varint_put(at, zigzag(s->ops - last.ops));
        at = varint_put(at, s->involuntary_switches);
        at = varint_put(at, s->migrations);
        last = *s;
    }
    *ret_data = data;
    *ret_size = (size_t)(at - data);
    return 0;
}

int unpack_slices(const uint8_t *data, size_t size, struct ring_slice *ret, uint32_t count)
{
    const uint8_t *at = data, *end = data + size;
    struct ring_slice last = {0};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n[SLICE_NUMBERS_COUNT];
        for (unsigned k = 0; k < SLICE_NUMBERS_COUNT; k++)
            at = varint_get(at, end, &n[k]);
        if (!at || n[3] > UINT32_MAX || n[4] > UINT32_MAX)
            return -EBADMSG;
        last.start_ns = last.end_ns + unzigzag(n[0]);
        last.end_ns = last.start_ns + unzigzag(n[1]);
        last.ops += unzigzag(n[2]);
        last.involuntary_switches = (uint32_t)n[3];
        last.migrations = (uint32_t)n[4];
        ret[i] = last;
    }
    return at == end ? 0 : -EBADMSG;
}

int pack_turns(const struct ring_turn *turns, uint32_t count, uint8_t **ret_data, size_t *ret_size)
{
    uint8_t *data;
    int r = pack_buffer(count, TURN_NUMBERS_COUNT * VARINT_BYTES_MAX, &data);
    if (r < 0)
        return r;
    uint8_t *at = data;
    for (uint32_t i = 0; i < count; i++) {
        at = varint_put(at, turns[i].runner);
        at = varint_put(at, turns[i].phase);
        at = varint_put(at, turns[i].part);
        at = varint_put(at, turns[i].parts);
        at = varint_put(at, turns[i].rotation);
    }
    *ret_data = data;
    *ret_size = (size_t)(at - data);
    return 0;
}

int unpack_turns(const uint8_t *data, size_t size, struct ring_turn *ret, uint32_t count)
{
    const uint8_t *at = data, *end = data + size;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n[TURN_NUMBERS_COUNT];
        for (unsigned k = 0; k < TURN_NUMBERS_COUNT; k++)
            at = varint_get(at, end, &n[k]);
        if (!at || n[0] > UINT8_MAX || n[1] > UINT8_MAX || n[2] > UINT16_MAX || n[3] > UINT16_MAX ||
            n[4] > UINT16_MAX)
            return -EBADMSG;
        ret[i] = (struct ring_turn){.runner = (uint8_t)n[0],
                                    .phase = (uint8_t)n[1],
                                    .part = (uint16_t)n[2],
                                    .parts = (uint16_t)n[3],
                                    .rotation = (uint16_t)n[4]};
    }
    return at == end ? 0 : -EBADMSG;
}

union double_bits {
    double real;
    uint64_t bits;
};

int pack_doubles(const double *values, uint32_t count, uint8_t **ret_data, size_t *ret_size)
{
    uint8_t *data;
    int r = pack_buffer(count, sizeof(uint64_t), &data);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < count; i++) {
        const union double_bits value = {.real = values[i]};
        uint64_t bits = htole64(value.bits);
        memcpy(data + i * sizeof bits, &bits, sizeof bits);
    }
    *ret_data = data;
    *ret_size = (size_t)count * sizeof(uint64_t);
    return 0;
}

int unpack_doubles(const uint8_t *data, size_t size, double *ret, uint32_t count)
{
    if (size / sizeof(uint64_t) != count || size % sizeof(uint64_t) != 0)
        return -EBADMSG;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bits = 0;
        memcpy(&bits, data + i * sizeof bits, sizeof bits);
        ret[i] = (union double_bits){.bits = le64toh(bits)}.real;
    }
    return 0;
}
