/* HMALLOC_* of the environment, read once, before the first block. Unknown or malformed values are
 * told on stderr and ignored. A program with more rights than its caller (AT_SECURE) reads none.
 *
 * The table in options.c is the one place where an option's name, bounds and meaning stand;
 * docs/hmalloc.md is tested against it. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_OPTIONS_H
#define HEAPMARK_ALLOCATORS_HMALLOC_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/hmalloc/config.h"

enum on_fault { ON_FAULT_ABORT, ON_FAULT_REPORT, ON_FAULT_IGNORE };

/* Each level does what the ones before do; see docs/hmalloc.md. */
enum harden { HARDEN_NONE, HARDEN_CHECK, HARDEN_FILL, HARDEN_GUARD };

#define OPTION_TEXT_SIZE 256

/* All values are 64 bits wide, so that the table can point at them. Those that can be changed at
 * run time are read as they are: a change reaches other threads soon. */
struct options {
    uint64_t on_fault;         /* enum on_fault */
    uint64_t hardened;         /* enum harden */
    uint64_t quarantine_bytes; /* of one heap's freed blocks that are held back */
    uint64_t guard_sample;     /* one in so many blocks lies before a page nobody may touch */
    uint64_t guard_slots;      /* at most so many at a time */
    uint64_t decay_ms;         /* how often half of what nobody needed goes back */
    uint64_t dirty_percent;    /* free memory kept, of what is in use */
    uint64_t dirty_min;        /* the same, at least so many bytes */
    uint64_t magazine_bytes;   /* of one class in one thread, at most */
    uint64_t thp;              /* transparent huge pages for densely used memory */
    char stats_at_exit[OPTION_TEXT_SIZE]; /* "": none, "1": stderr, else the file's name */
};
extern struct options options;

void options_init(void);

#endif
