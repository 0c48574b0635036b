/* hmalloc: what it offers beside the malloc family. For programs linked with libhmalloc.
 *
 * Any thread, any time after main has begun. Functions that fail return -1 and set errno. */
#ifndef HMALLOC_H
#define HMALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "1.0.0" */
const char *hmalloc_version(void);

/* Bytes, unless the name says otherwise. Exact while no other thread allocates; otherwise what
 * other threads' magazines hold is a moment old. */
struct hmalloc_stats {
    size_t allocated;      /* in blocks the program holds, rounded up to their classes */
    size_t large;          /* of that, blocks above 32 KiB */
    size_t magazines;      /* free, ready to be handed out, in threads' magazines */
    size_t slabs_free;     /* free, in slabs; whole free pages of it may have been given back */
    size_t dirty;          /* free units whose pages may be resident */
    size_t kept;           /* freed mappings of large blocks, kept for the next one */
    size_t committed;      /* what may be resident: slabs, runs, mappings, dirty, kept, metadata */
    size_t metadata;       /* hmalloc's own data, without the tag map and descriptors */
    size_t mapped;         /* address space taken from the kernel, without the tag map */
    uint64_t heaps_count;  /* ever made: threads alive at once, and a few shared ones */
    uint64_t faults_count; /* misuses survived (HMALLOC_ON_FAULT=report or ignore) */
};
void hmalloc_stats_get(struct hmalloc_stats *ret);

/* Give everything that is free back to the kernel. Returns the bytes. */
size_t hmalloc_purge(void);

/* Walk all slabs of all heaps and compare figures, bitmaps and tags. 0, or -1 after one line on
 * stderr. */
int hmalloc_check(void);

#ifdef __cplusplus
}
#endif

#endif
