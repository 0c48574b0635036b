/* A worker of `./dev bench hmalloc`: started under an allocator, proved to run on it, asked for
 * slices one by one. */
#ifndef HEAPMARK_TESTS_BENCH_HMALLOC_PROCESS_H
#define HEAPMARK_TESTS_BENCH_HMALLOC_PROCESS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct contender {
    const char *name;
    const char *library; /* for LD_PRELOAD; "" is the C library's own malloc */
    const char *setting; /* NULL, or "NAME=VALUE" for the environment */
};

struct process {
    pid_t pid;
    int to, from;
};

/* Can this library be loaded here? */
bool contender_exists(const struct contender *c);
/* kind: "steady" or "once". Returns when the worker has loaded everything. False: it could not
 * start, or runs on another allocator than it was told to. */
bool process_start(const struct contender *c, const char *kind, unsigned index,
                   struct process *ret);
/* A number from the worker; false when it died. */
bool process_read(const struct process *p, double *ret);
/* One slice; nanoseconds per operation. */
bool process_slice(const struct process *p, double *ret_ns);
/* End of input; waits. */
bool process_end(struct process *p, double *ret_peak_bytes);

#endif
