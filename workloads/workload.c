#include "workloads/workload.h"

#include <errno.h>
#include <string.h>

#define WORKLOAD(symbol) extern const struct workload symbol;
#include "workloads/workloads.def"
#undef WORKLOAD

const struct workload *const workloads[] = {
#define WORKLOAD(symbol) &symbol,
#include "workloads/workloads.def"
#undef WORKLOAD
    NULL,
};

static const struct {
    const char *name;
    uint64_t bytes;
} page_modes[PAGES_COUNT_] = {
    [PAGES_4K] = {"4k", UINT64_C(1) << 12},
    [PAGES_THP] = {"thp", UINT64_C(1) << 21},
    [PAGES_HUGETLB_2M] = {"hugetlb-2m", UINT64_C(1) << 21},
    [PAGES_HUGETLB_1G] = {"hugetlb-1g", UINT64_C(1) << 30},
};

const char *page_mode_name(enum page_mode mode)
{
    return (unsigned)mode < PAGES_COUNT_ ? page_modes[mode].name : "unknown";
}

int page_mode_parse(const char *name)
{
    for (int i = 0; i < PAGES_COUNT_; i++)
        if (strcmp(page_modes[i].name, name) == 0)
            return i;
    return -ENOENT;
}

uint64_t page_mode_bytes(enum page_mode mode)
{
    return page_modes[mode].bytes;
}

int workload_index(const char *name)
{
    for (int i = 0; workloads[i]; i++)
        if (strcmp(workloads[i]->name, name) == 0)
            return i;
    return -ENOENT;
}

const struct workload *workload_find(const char *name)
{
    int i = workload_index(name);
    return i < 0 ? NULL : workloads[i];
}

void workload_defaults(const struct workload *w, struct workload_point *ret_point)
{
    *ret_point = (struct workload_point){.threads = 1, .pages = PAGES_4K};
    for (unsigned i = 0; i < w->params_count; i++)
        ret_point->params[i] = w->params[i].def;
}
