/* What the kernel says of the pages behind addresses of this process (/proc/self/smaps).
 * Runner only; no allocation; any thread. Costs time per page: never in a slice. */
#ifndef HEAPMARK_WORKLOADS_PAGES_SMAPS_H
#define HEAPMARK_WORKLOADS_PAGES_SMAPS_H

#include <stdint.h>

struct smaps_sum {
    uint64_t mapped_bytes;        /* of the mappings that overlap the range */
    uint64_t rss_bytes;           /* without hugetlb, as the kernel counts it */
    uint64_t private_dirty_bytes; /* mapped by this process alone, and changed */
    uint64_t anon_huge_bytes;     /* transparent huge pages, mapped as such */
    uint64_t hugetlb_bytes;       /* private and shared */
    uint64_t kernel_page_bytes;   /* the smallest of the mappings */
};

/* Sums over the mappings that overlap [base, base + bytes). 0, -ENOENT when there is none,
 * -EPROTO for a text that is not smaps, -errno. */
int smaps_range(const void *base, uint64_t bytes, struct smaps_sum *ret);

/* Sums over all private mappings. smaps_rollup would count the harness's shared memory along,
 * whose pages change sides between private and shared when another process touches them. */
int smaps_private(struct smaps_sum *ret);

/* The same from an open descriptor (for tests). */
int smaps_range_fd(int fd, uint64_t base, uint64_t bytes, struct smaps_sum *ret);
int smaps_private_fd(int fd, struct smaps_sum *ret);

#endif
