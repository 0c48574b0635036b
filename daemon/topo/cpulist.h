/* Sets of CPU numbers and their text form, the kernel's list format ("0-3,8,10-11").
 * Pure; any thread. */
#ifndef HEAPMARK_DAEMON_TOPO_CPULIST_H
#define HEAPMARK_DAEMON_TOPO_CPULIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/err.h"

#define CPULIST_MAX 4096 /* CPU numbers 0..4095 */

struct cpulist {
    uint64_t words[CPULIST_MAX / 64];
};

void cpulist_add(struct cpulist *list, unsigned cpu);
void cpulist_remove(struct cpulist *list, unsigned cpu);
bool cpulist_has(const struct cpulist *list, unsigned cpu); /* false above the bound */
unsigned cpulist_count(const struct cpulist *list);
/* Smallest member >= from, or -1. */
int cpulist_next(const struct cpulist *list, unsigned from);

/* Parse into a set. MALFORMED for anything but numbers, ranges and commas, OUT_OF_RANGE above the
 * bound, INVALID for a number listed twice or a range that runs backwards. `field` (a JSON Pointer
 * or NULL) goes into *e. An empty text is an empty set. */
int cpulist_parse(const char *text, const char *field, struct cpulist *ret, struct err *e);

/* As cpulist_parse, but keeps the order written. Returns the count, TOO_LARGE over capacity. */
int cpulist_parse_order(const char *text, const char *field, uint16_t *ret_cpus, size_t capacity,
                        struct err *e);

/* Ascending, ranges joined. Returns length or -ENOSPC (then buf ends after whole items). */
int cpulist_format(const struct cpulist *list, char *buf, size_t buf_size);

#endif
