/* What `./dev bench hmalloc` measures: small programs that do nothing but call the malloc family,
 * run in a process of their own under LD_PRELOAD. Memory of the harness is mapped, not allocated.
 *
 * A steady case has state that lives for the whole process, and a slice of work that is repeated. A
 * one-shot case runs once and reports figures by name. */
#ifndef HEAPMARK_TESTS_BENCH_HMALLOC_CASES_H
#define HEAPMARK_TESTS_BENCH_HMALLOC_CASES_H

#include <stddef.h>
#include <stdint.h>

#define CASE_THREADS 2

struct bench_case {
    const char *name;
    unsigned threads;
    uint64_t operations; /* per thread and slice */
    uint64_t argument;   /* how many blocks are alive, or in a batch */
    /* Main thread. May be NULL. */
    void (*setup)(const struct bench_case *c);
    /* All threads of the case at once: so many operations. */
    void (*slice)(const struct bench_case *c, unsigned thread, uint64_t operations);
};

/* Ends with a NULL name. */
extern const struct bench_case steady_cases[];

struct once_figure {
    const char *name;
    double value;
};
#define ONCE_FIGURES 4

struct once_case {
    const char *name;
    /* Figures into ret[], unused names NULL. */
    void (*run)(struct once_figure ret[ONCE_FIGURES]);
};
extern const struct once_case once_cases[];

/* Zeroed, from mmap. */
void *case_map(size_t size);
/* "Anonymous" of smaps_rollup, or "VmHWM" and the like of status, in bytes. */
double case_memory(const char *file, const char *field);

#endif
