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

#define HMALLOC_VERSION "1.0.0"
/* Of the library that was loaded: HMALLOC_VERSION when it was built. */
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
    size_t quarantined;    /* freed, held back (HMALLOC_HARDEN=2) */
    size_t guarded;        /* of allocated, in guarded slots (HMALLOC_HARDEN=3) */
    uint64_t heaps_count;  /* ever made: threads alive at once, and a few shared ones */
    uint64_t faults_count; /* misuses survived (HMALLOC_ON_FAULT=report or ignore) */
};
void hmalloc_stats_get(struct hmalloc_stats *ret);

/* The same and much more, of the process, every size class and every heap, as one JSON object on
 * one line, NUL-terminated. Like snprintf: at most `size` bytes are written, and the length is
 * returned that there would be with enough room, without the NUL. Allocates nothing; all heaps may
 * change meanwhile, so a second call may need more room. */
size_t hmalloc_stats_json(char *buffer, size_t size);

/* Give everything that is free back to the kernel. Returns the bytes. */
size_t hmalloc_purge(void);

/* Walk all slabs of all heaps and compare figures, bitmaps and tags. 0, or -1 after one line on
 * stderr. */
int hmalloc_check(void);

/* Options: what HMALLOC_* of the environment say. Values are numbers in the unit the name ends in;
 * a switch is 0 or 1, a choice the index of its name, a text 0 or 1 for whether it is set. */
enum hmalloc_option_kind { HMALLOC_NUMBER, HMALLOC_SWITCH, HMALLOC_CHOICE, HMALLOC_TEXT };
struct hmalloc_option {
    const char *name;           /* "HMALLOC_DECAY_MS" */
    const char *help;           /* a phrase */
    const char *const *choices; /* of a choice: its names by value, ended by NULL */
    enum hmalloc_option_kind kind;
    int at_run_time; /* hmalloc_option_set can change it; else only the environment */
    uint64_t minimum, maximum, standard, value;
};
/* The index-th option, from 0. ENOENT: there are not so many. */
int hmalloc_option_at(size_t index, struct hmalloc_option *ret);
/* By name. ENOENT: no such option. */
int hmalloc_option_get(const char *name, uint64_t *ret);
/* ENOENT; EPERM: only the environment can set it; EINVAL: out of bounds. */
int hmalloc_option_set(const char *name, uint64_t value);

#ifdef __cplusplus
}
#endif

#endif
