/* Field complaints: what people reported of allocators in use, as cases any malloc can be put
 * through. A case measures memory, counts or hangs (never time) and holds each figure to a bound.
 * Plain programs: the allocator is whatever LD_PRELOAD put in place (field.c). */
#ifndef HEAPMARK_TESTS_HMALLOC_FIELD_H
#define HEAPMARK_TESTS_HMALLOC_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIB(n) ((size_t)(n) << 20)

struct field_case {
    unsigned number;
    const char *title;
    const char *reports; /* where it was reported */
    void (*run)(void);
    int (*child)(int argc, char **argv); /* what field_spawn starts; NULL: nothing */
};

extern const struct field_case field_threads[], field_memory[], field_process[]; /* end: number 0 */

/* One figure of the running case: prints it with its bound; above the bound the case fails. */
void field_most(const char *what, size_t figure, size_t bound, const char *unit);
/* The same, for figures that must not be below their bound. */
void field_least(const char *what, size_t figure, size_t bound, const char *unit);
/* In MiB, rounded up; both arguments in bytes. */
void field_most_mib(const char *what, size_t bytes, size_t bound);
/* The case cannot go on: says so and exits. */
void field_die(const char *what) __attribute__((noreturn));

/* Resident bytes of the process now; exact (smaps_rollup). Allocates nothing. */
size_t field_rss(void);
/* Resident bytes beyond so many, 0 when less. */
size_t field_rss_over(size_t before);
/* A line of /proc/self/smaps_rollup in bytes, e.g. "LazyFree:". */
size_t field_rollup(const char *key);
/* Bytes that are not resident in mappings advised MADV_HUGEPAGE: what khugepaged may add, unasked.
 */
size_t field_huge_missing(void);
/* Lines of a file of /proc that hold this text; "" counts all. */
size_t field_lines_with(const char *path, const char *text);
size_t field_faults(void); /* minor page faults of the process so far */
void field_sleep_ms(unsigned ms);

/* Memory the allocator under test has no part in; zeroed, never given back. */
void *field_pages(size_t size);

/* xorshift64* */
static inline uint64_t field_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* A block whose every byte was written. */
void *field_block(size_t size);
/* Blocks of random sizes from smallest to largest, written, until so many bytes are out.
 * Returns how many; at most `room`. */
size_t field_fill(void **blocks, size_t room, size_t bytes, size_t smallest, size_t largest);
void field_free_all(void **blocks, size_t count);

/* This program again, as the child of case `number`, with or without LD_PRELOAD, with a limit on
 * its address space (0: none). Returns its exit status; 1000 + signal; 2000 when it hung. */
int field_spawn(unsigned number, const char *argument, bool preload, size_t address_space);
/* Wait so long for a child of ours; the same result. Kills what hangs. */
int field_wait(int pid, unsigned seconds);
/* The file the malloc in use comes from. */
const char *field_library(void);

#endif
