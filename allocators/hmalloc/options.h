/* HMALLOC_* of the environment, read once, before the first block. Unknown or malformed values are
 * told on stderr and ignored. A program with more rights than its caller (AT_SECURE) reads none. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_OPTIONS_H
#define HEAPMARK_ALLOCATORS_HMALLOC_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/hmalloc/config.h"

enum on_fault { ON_FAULT_ABORT, ON_FAULT_REPORT, ON_FAULT_IGNORE };

struct options {
    enum on_fault on_fault;
    unsigned hardened;      /* HMALLOC_HARDEN: 0..3, see docs/hmalloc.md */
    uint64_t decay_ms;      /* HMALLOC_DECAY_MS: how often half of what nobody needed goes back */
    unsigned dirty_percent; /* HMALLOC_DIRTY_PERCENT: free memory kept, of what is in use */
    size_t dirty_min;       /* HMALLOC_DIRTY_MIN: the same, at least so many bytes */
    size_t magazine_bytes;  /* HMALLOC_MAGAZINE_KIB: of one class in one thread, at most */
    bool thp;               /* HMALLOC_THP: transparent huge pages for densely used memory */
};
extern struct options options;

void options_init(void);

#endif
