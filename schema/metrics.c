#include "schema/metrics.h"

#include <errno.h>
#include <string.h>

const struct metric metrics[METRIC_COUNT_] = {
#define METRIC(id, name_, unit_, direction_, summary_, help_) \
    [id] = {.name = name_,                                    \
            .unit = unit_,                                    \
            .direction = METRIC_##direction_,                 \
            .summary = METRIC_##summary_,                     \
            .help = help_},
#include "schema/metrics.def"
#undef METRIC
};

int metric_find(const char *name)
{
    for (int i = 0; i < METRIC_COUNT_; i++)
        if (strcmp(metrics[i].name, name) == 0)
            return i;
    return -ENOENT;
}

const char *metric_direction_name(enum metric_direction direction)
{
    static const char *const names[] = {"higher", "lower", "neutral"};
    return names[direction];
}
