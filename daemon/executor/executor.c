#include "daemon/executor/executor.h"

#include <stdlib.h>

void exec_result_done(struct exec_result *result)
{
    for (uint32_t i = 0; i < RING_RUNNERS_MAX; i++) {
        struct exec_runner_result *r = &result->runners[i];
        for (uint32_t k = 0; k < r->metrics_count; k++)
            free(r->metrics[k].vector);
        free(r->slices);
        r->slices = NULL;
        r->metrics_count = r->slices_count = 0;
    }
    free(result->turns);
    result->turns = NULL;
    result->turns_count = 0;
}
