/* A program that loads one allocator as the runner does and puts it to one kind of test.
 *
 *   hm_allocator_probe MODE PATH|libc ADAPTER FLAGS MALLOC FREE CALLOC REALLOC ALIGNED USABLE [ARG]
 *
 * ("" for what the allocator lacks; FLAGS: sum of RING_SUBJECT_* and PROBE_IN_TREE.) Exit status
 * 0: passed; 1: failed, stderr says where; 2: could not load. Not sanitized: RTLD_DEEPBIND. */
#ifndef HEAPMARK_TESTS_ALLOCATOR_PROBE_H
#define HEAPMARK_TESTS_ALLOCATOR_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workloads/ring/ring.h"

#define PROBE_IN_TREE (1u << 16)

struct probe {
    void *dl;
    const char *adapter;
    uint32_t flags;
    void *(*malloc)(size_t size);
    void (*free)(void *block);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void *(*aligned_alloc)(size_t alignment, size_t size);
    size_t (*usable_size)(void *block);
};

/* Every mode returns NULL or what was expected and not so. */
#define EXPECT(condition)      \
    do {                       \
        if (!(condition))      \
            return #condition; \
    } while (0)

const char *probe_api(struct probe *p, const char *arg);    /* arg "quick": not the slow ones */
const char *probe_stream(struct probe *p, const char *arg); /* arg: threads */
const char *probe_fork(struct probe *p, const char *arg);
const char *probe_threads(struct probe *p, const char *arg);
const char *probe_enomem(struct probe *p, const char *arg);
const char *probe_adapter(struct probe *p, const char *arg);
const char *probe_misuse(struct probe *p, const char *arg);   /* arg: name of the misuse */
const char *probe_pages(struct probe *p, const char *arg);    /* arg: field of smaps_rollup */
const char *probe_identity(struct probe *p, const char *arg); /* arg: device:inode */

/* Address of a call of the full API, for in-tree allocators; ends the program if there is none. */
void *probe_symbol(struct probe *p, const char *name);

#endif
