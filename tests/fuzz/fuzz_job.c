/* Fuzzes the only reader of job JSON: what it accepts has a canonical form that is accepted again
 * and says the same, and an expansion within its bounds. */
#include <string.h>

#include "daemon/job/job.h"
#include "tests/fuzz/fuzz.h"

const char *const fuzz_seeds[] = {
    "{\"preset\":\"reference\",\"profile\":\"demo\"}",
    "{\"allocators\":[\"glibc\",{\"name\":\"jemalloc\",\"options\":[\"thp-off\"]}],"
    "\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"live\":[1000,2000]},"
    "\"threads\":[1,\"max\"]}]}",
    "{\"name\":\"x\",\"labels\":{\"project\":\"p\",\"sequence\":1,\"time\":"
    "\"2026-01-01T00:00:00Z\"},\"allocators\":[\"glibc\"],\"workloads\":[{\"workload\":\"chase\","
    "\"params\":{\"bytes\":\"256MiB\"},\"pages\":[\"4k\",\"thp\"]}],\"seed\":7,\"mode\":\"solo\"}",
    "{\"preset\":\"fits\",\"repeat\":{\"rings\":2,\"rotations\":4},\"limits\":{\"wall_s\":10},"
    "\"placement\":\"explicit\",\"cpuset\":\"0-1\"}",
    "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    NULL,
};

static int any_subject(void *ctx, struct job_subject *subject, const char *field, struct err *e)
{
    (void)ctx, (void)subject, (void)field, (void)e;
    return 0;
}

static int any_pages(void *ctx, enum page_mode mode, const char *field, struct err *e)
{
    (void)ctx, (void)mode, (void)field, (void)e;
    return 0;
}

static char *canonical(const struct job_spec *spec)
{
    json_t *json = job_spec_json(spec);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    fuzz_require(text);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct job_limits limits = {.cpus_max = 4,
                                      .cores_max = 2,
                                      .memory_bytes = UINT64_C(16) << 30,
                                      .subject_check = any_subject,
                                      .pages_check = any_pages};
    struct job_spec *spec = NULL, *again = NULL;
    struct job_plan *plan = NULL;
    struct err e = {0};
    if (job_parse((const char *)data, size, &limits, &spec, &e) < 0) {
        fuzz_require(e.code != ERR_NONE && e.message[0]);
        return 0;
    }
    char *text = canonical(spec);
    if (job_expand(spec, &limits, &plan, &e) == 0) {
        fuzz_require(plan->cells_count > 0 && plan->cells_count <= JOB_CELLS_MAX);
        fuzz_require(job_parse(text, strlen(text), &limits, &again, &e) == 0);
        char *same = canonical(again);
        fuzz_require(strcmp(text, same) == 0);
        free(same);
    } else {
        fuzz_require(e.message[0]);
    }
    free(text);
    job_plan_free(plan);
    job_spec_free(spec);
    job_spec_free(again);
    return 0;
}
