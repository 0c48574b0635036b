/* Memory that a workload maps itself, in the page mode its point asks for, with proof.
 *
 * Runner only. make in setup, touch in build, back once everything is touched (it collapses what
 * the kernel left small, then proves), check whenever the proof must still hold. None of them
 * ever settles for smaller pages: what was not obtained is FAIL_PAGES_UNAVAILABLE, with what the
 * administrator can do. */
#ifndef HEAPMARK_WORKLOADS_PAGES_MAPPING_H
#define HEAPMARK_WORKLOADS_PAGES_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/trial.h"

/* Transparent huge pages must back at least this share of a thp mapping. */
#define MAPPING_THP_PERCENT_MIN 95

struct mapping {
    char *base; /* aligned to the page size of its mode */
    uint64_t bytes;
    enum page_mode mode;
    void *reserve; /* the address space around it: the mapping is a VMA of its own */
    uint64_t reserve_bytes;
};

/* `bytes` rounded up to whole pages of the mode. */
uint64_t mapping_size(uint64_t bytes, enum page_mode mode);
/* hugetlb pages of a mapping of that many bytes; 0 for modes without. */
uint64_t mapping_hugetlb_pages(uint64_t bytes, enum page_mode mode);

/* True when the host's knob forbids transparent huge pages of 2 MiB even to who asks for them.
 * A knob that cannot be read decides nothing: the proof comes later anyway. */
bool mapping_thp_is_never(void);
/* Ask the kernel to put [at, at + bytes), multiples of 2 MiB, on huge pages now. It stops half-way
 * with EAGAIN when it meets a page in use, and then continues when asked again: up to a bound. */
void mapping_collapse(void *at, uint64_t bytes);

int mapping_make(struct trial *t, uint64_t bytes, struct mapping *ret);
/* First write to every 4 KiB of [from, to), multiples of the page size; adds its time to *ns. */
int mapping_touch(struct trial *t, const struct mapping *m, uint64_t from, uint64_t to,
                  uint64_t *ns);
int mapping_back(struct trial *t, const struct mapping *m);
/* The bytes really on huge pages into *ret_huge_bytes. */
int mapping_check(struct trial *t, const struct mapping *m, uint64_t *ret_huge_bytes);
void mapping_done(struct mapping *m);

#endif
