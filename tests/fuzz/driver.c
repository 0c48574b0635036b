/* Stands in for libFuzzer where the compiler has none: mutates the seeds of a fuzz target in a
 * fixed, seeded order, so that the smoke test in ctest is the same everywhere. Real fuzzing is the
 * clang build: `build/clang/tests/fuzz_job -max_total_time=600 corpus/`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 8192
#define RUNS      30000
#define EDITS_MAX 6

static uint64_t state = 88172645463325252u; /* xorshift64 (Marsaglia 2003) */

static size_t draw(size_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return bound ? (size_t)(state % bound) : 0;
}

static size_t edit(char *input, size_t size)
{
    static const char bytes[] = "\0\r\n\t \"\\{}[]:,%&?=/.-+0123456789eE\x7f\x80\xc3\xff";
    size_t at = draw(size + 1), n = draw(16);
    switch (draw(5)) {
    case 0: /* another byte */
        if (at < size)
            input[at] = (char)draw(256);
        return size;
    case 1: /* a byte that means something */
        if (at < size)
            input[at] = bytes[draw(sizeof bytes - 1)];
        return size;
    case 2: /* leave some out */
        n = n < size - at ? n : size - at;
        memmove(input + at, input + at + n, size - at - n);
        return size - n;
    case 3: /* put some in */
        if (size + n > INPUT_MAX)
            return size;
        memmove(input + at + n, input + at, size - at);
        for (size_t i = 0; i < n; i++)
            input[at + i] = bytes[draw(sizeof bytes - 1)];
        return size + n;
    default: /* say something twice */
        n = n < size - at ? n : size - at;
        if (size + n > INPUT_MAX)
            return size;
        memmove(input + at + n, input + at, size - at);
        return size + n;
    }
}

int main(void)
{
    size_t seeds_count = 0;
    while (fuzz_seeds[seeds_count])
        seeds_count++;
    for (unsigned run = 0; run < RUNS; run++) {
        char input[INPUT_MAX + 1];
        const char *seed = fuzz_seeds[run % seeds_count];
        size_t size = strlen(seed);
        memcpy(input, seed, size);
        for (size_t edits = run < seeds_count ? 0 : 1 + draw(EDITS_MAX); edits > 0; edits--)
            size = edit(input, size);
        /* A block of the exact size, so that a sanitizer sees the first byte beyond it. */
        uint8_t *exact = malloc(size ? size : 1);
        if (!exact)
            return 1;
        memcpy(exact, input, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    printf("%d inputs from %zu seeds\n", RUNS, seeds_count);
    return 0;
}
