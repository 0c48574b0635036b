#include "daemon/base/hash.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <unistd.h>

#include "daemon/base/text.h"

void hash_sha256(const void *data, size_t size, uint8_t ret_digest[SHA256_SIZE])
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, size, data);
    sha256_digest(&ctx, SHA256_SIZE, ret_digest);
}

void hash_sha256_hex(const void *data, size_t size, char ret_hex[SHA256_HEX_SIZE])
{
    uint8_t digest[SHA256_SIZE];
    hash_sha256(data, size, digest);
    text_hex(digest, SHA256_SIZE, ret_hex);
}

int hash_sha256_fd(int fd, uint8_t ret_digest[SHA256_SIZE])
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    uint8_t chunk[16384];
    off_t at = 0;
    for (;;) {
        ssize_t n = pread(fd, chunk, sizeof chunk, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        sha256_update(&ctx, (size_t)n, chunk);
        at += n;
    }
    sha256_digest(&ctx, SHA256_SIZE, ret_digest);
    return 0;
}
