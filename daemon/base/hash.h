/* SHA-256 (through nettle, the only user of it) and stable 64-bit mixing for seeds. */
#ifndef HEAPMARK_BASE_HASH_H
#define HEAPMARK_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE     32
#define SHA256_HEX_SIZE 65 /* with NUL */

void hash_sha256(const void *data, size_t size, uint8_t ret_digest[SHA256_SIZE]);
void hash_sha256_hex(const void *data, size_t size, char ret_hex[SHA256_HEX_SIZE]);

/* Hash the whole file behind fd from offset 0 (pread: the fd's offset is untouched). */
int hash_sha256_fd(int fd, uint8_t ret_digest[SHA256_SIZE]);

/* splitmix64's finaliser (Steele, Lea, Flood 2014): mixes seed parts into a new seed. */
static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + UINT64_C(0x9e3779b97f4a7c15) * (b + 1);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
