#include "daemon/job/resume.h"

#include <string.h>

#include "daemon/job/run.h"
#include "daemon/store/store.h"

int resume_check_build(const struct store_job *job, struct err *e)
{
    if (job->steps_done == 0 || strcmp(job->harness_build, ring_build_id()) == 0)
        return 0;
    return err_set(e, ERR_INCOMPATIBLE, NULL,
                   "%u of its %u steps were measured by harness build %s and this is %s: results "
                   "of two builds do not mix; what is stored stays, submit the job again",
                   job->steps_done, job->steps_total,
                   job->harness_build[0] ? job->harness_build : "of an earlier version",
                   ring_build_id());
}

struct resume {
    uint32_t cells_count;
    uint32_t *failures;
    bool *hopeless;
    /* The last runner seen of an attempt that failed as a whole: its step's subject. */
    int64_t ring_id;
    uint32_t cell;
    bool unavailable;
};

static void failed_attempt_end(struct resume *r)
{
    if (r->ring_id != 0 && r->cell < r->cells_count) {
        r->failures[r->cell] = RUN_FAILURES_MAX;
        r->hopeless[r->cell] = r->unavailable;
    }
    r->ring_id = 0;
}

static void accepted_trial(struct resume *r, const struct store_trial *trial)
{
    uint32_t *failures = &r->failures[trial->cell_idx];
    if (strcmp(trial->outcome, wire_outcome_name(OUTCOME_OK)) == 0) {
        *failures = 0;
        return;
    }
    bool hopeless = strcmp(trial->outcome, wire_outcome_name(OUTCOME_FAILED)) == 0 &&
                    (strcmp(trial->failure, runner_failure_name(FAIL_PAGES_UNAVAILABLE)) == 0 ||
                     strcmp(trial->failure, runner_failure_name(FAIL_PAGES_UNSUPPORTED)) == 0);
    r->hopeless[trial->cell_idx] = hopeless;
    *failures = hopeless ? RUN_FAILURES_MAX : *failures + 1;
}

/* In the order they were stored, the runners of one attempt together. */
static int trial_seen(void *ctx, const struct store_trial *trial)
{
    struct resume *r = ctx;
    if (trial->ring_id != r->ring_id)
        failed_attempt_end(r);
    if (trial->cell_idx >= r->cells_count)
        return 0;
    if (strcmp(trial->attempt_state, "accepted") == 0)
        accepted_trial(r, trial);
    if (strcmp(trial->attempt_state, "failed") == 0) { /* the ring's last attempt */
        r->ring_id = trial->ring_id;
        r->cell = trial->cell_idx;
        r->unavailable = strcmp(trial->failure, err_code_name(ERR_UNAVAILABLE)) == 0;
    }
    return 0;
}

int resume_failures(struct store_view *view, int64_t job_id, uint32_t cells_count,
                    uint32_t *failures, bool *hopeless, struct err *e)
{
    const struct store_trial_filter filter = {.job_id = job_id, .cell_idx = -1};
    struct resume resume = {.cells_count = cells_count, .failures = failures, .hopeless = hopeless};
    int r = store_view_trials(view, &filter, trial_seen, &resume, e);
    failed_attempt_end(&resume);
    return r;
}

struct settled {
    const struct store_ring_new *ring;
    bool yes;
};

static int step_seen(void *ctx, const struct store_step *step)
{
    struct settled *s = ctx;
    s->yes |= step->group_idx == s->ring->group_idx && step->repetition == s->ring->repetition &&
              step->position == s->ring->position && (step->accepted || step->failed);
    return 0;
}

bool resume_settled(struct store *store, const struct store_ring_new *ring)
{
    cleanup_(store_view_release_p) struct store_view *view = NULL;
    struct settled settled = {.ring = ring};
    return store_view_acquire(store, 10000, &view, NULL) == 0 &&
           store_view_steps(view, ring->job_id, step_seen, &settled, NULL) == 0 && settled.yes;
}
