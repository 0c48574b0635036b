/* Typed reading of JSON fields, with the JSON Pointer of each in its error. Used by job parsing
 * only. A field that is absent leaves *ret unchanged and is no error. */
#ifndef HEAPMARK_DAEMON_JOB_JOB_FIELD_H
#define HEAPMARK_DAEMON_JOB_JOB_FIELD_H

#include <jansson.h>

#include "daemon/job/job.h"

/* An object with no other fields than `known` (NULL-terminated). */
int field_object(const json_t *json, const char *at, const char *const *known, struct err *e);
/* Text without control characters (below 0x20, and 0x7f). */
int field_text(const json_t *object, const char *at, const char *name, char *ret, size_t ret_size,
               struct err *e);
int field_u64(const json_t *object, const char *at, const char *name, uint64_t min, uint64_t max,
              uint64_t *ret, struct err *e);
int field_u32(const json_t *object, const char *at, const char *name, uint32_t min, uint32_t max,
              uint32_t *ret, struct err *e);
/* Bytes: a number or text such as "256MiB". */
int field_size(const json_t *object, const char *at, const char *name, uint64_t min, uint64_t max,
               uint64_t *ret, struct err *e);
/* "rotations": even, 2 to RING_ROTATIONS_MAX. */
int field_rotations(const json_t *object, const char *at, uint32_t *ret, struct err *e);
/* RFC 3339 UTC ("2026-01-31T12:00:00Z", fraction allowed) or microseconds since the epoch. */
int field_time(const json_t *object, const char *at, const char *name, int64_t *ret_us,
               struct err *e);

/* One entry of "workloads" (job_entry.c). */
int job_entry_parse(const json_t *json, const char *at, const struct job_limits *limits,
                    struct job_entry *entry, struct err *e);

#endif
