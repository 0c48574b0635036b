/* What a fuzz target provides: libFuzzer's entry, and seeds for the driver without libFuzzer. */
#ifndef HEAPMARK_TESTS_FUZZ_FUZZ_H
#define HEAPMARK_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const char *const fuzz_seeds[]; /* NULL-terminated */

/* An assertion that holds in every build. */
#define fuzz_require(condition) \
    do {                        \
        if (!(condition))       \
            abort();            \
    } while (0)

#endif
