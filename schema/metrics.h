/* Metric rows: every number heapmark stores has one. */
#ifndef HEAPMARK_SCHEMA_METRICS_H
#define HEAPMARK_SCHEMA_METRICS_H

enum metric_id {
#define METRIC(id, name, unit, direction, summary, help) id,
#include "schema/metrics.def"
#undef METRIC
    METRIC_COUNT_
};

enum metric_direction { METRIC_HIGHER, METRIC_LOWER, METRIC_NEUTRAL };
enum metric_summary { METRIC_MEDIAN, METRIC_MAX, METRIC_SUM };

struct metric {
    const char *name; /* id in the API and the database */
    const char *unit;
    enum metric_direction direction;
    enum metric_summary summary;
    const char *help;
};

extern const struct metric metrics[METRIC_COUNT_];

/* The id called `name`, or -ENOENT. */
int metric_find(const char *name);
const char *metric_direction_name(enum metric_direction direction);

#endif
