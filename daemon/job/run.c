#include "daemon/job/run.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/job/lenient.h"
#include "daemon/job/resume.h"
#include "daemon/job/solo.h"
#include "daemon/job/step.h"
#include "daemon/job/summarize.h"
#include "daemon/store/store.h"

/* Figures of a running job are renewed at most so often. */
#define SUMMARY_EVERY_NS (5 * NS_PER_S)

struct step {
    uint32_t group, repetition, position;
    bool done;
    uint32_t attempts;
    uint64_t order; /* random key within its repetition */
};

struct run {
    const struct run_config *config;
    const struct store_job *job;
    struct job_spec *spec;
    struct job_plan *plan;
    struct step *steps; /* the plan's, then those of cells measured alone */
    uint32_t steps_count;
    uint32_t steps_done, steps_failed, steps_discarded;
    uint32_t steps_given_up; /* of steps_done: passed over, not settled in the store */
    bool given_up_told;      /* the store knows that number */
    uint32_t *failures;      /* by cell: in a row */
    uint32_t *oks;           /* by cell */
    bool *hopeless;          /* by cell: not available here, will not be tried again */
    char (*reasons)[160];    /* by cell: last failure */
    double seconds_total, seconds_done;
    double seconds_before; /* of seconds_done: from before a restart */
    uint64_t started_ns, summarized_ns;
};

/* ---- the list of steps ---- */

static int step_order(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    if (x->repetition != y->repetition)
        return x->repetition < y->repetition ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static uint64_t step_key(const struct run *run, const struct step *s, uint64_t salt)
{
    uint64_t key = hash_mix(run->spec->seed, salt);
    key = hash_mix(key, s->group);
    key = hash_mix(key, s->repetition);
    return hash_mix(key, s->position);
}

/* A trial beside rings is one runner of their three. */
static double step_seconds(const struct run *run, const struct step *s)
{
    const struct job_group *group = &run->plan->groups[s->group];
    uint32_t rings = job_group_rings(run->spec, group);
    return rings && s->position >= rings ? group->step_seconds / 3 : group->step_seconds;
}

static void step_add(struct run *run, uint32_t group, uint32_t repetition, uint32_t position)
{
    struct step *s = &run->steps[run->steps_count++];
    *s = (struct step){.group = group, .repetition = repetition, .position = position};
    /* Groups keep together within a repetition, so the tape is made once for them. */
    struct step whole = {.group = group, .repetition = repetition};
    s->order =
        (step_key(run, &whole, 1) & ~UINT64_C(0xffff)) | (step_key(run, s, 2) & UINT64_C(0xffff));
    run->seconds_total += step_seconds(run, s);
}

static void steps_fill(struct run *run)
{
    for (uint32_t g = 0; g < run->plan->groups_count; g++) {
        const struct job_group *group = &run->plan->groups[g];
        uint32_t repeats = job_group_repeats(run->spec, group);
        uint32_t positions = job_group_steps(run->spec, group);
        for (uint32_t i = 0; i < repeats * positions; i++)
            step_add(run, g, i / positions, i % positions);
    }
    qsort(run->steps, run->steps_count, sizeof *run->steps, step_order);
}

static int step_known(void *ctx, const struct store_step *known)
{
    struct run *run = ctx;
    for (uint32_t i = 0; i < run->steps_count; i++) {
        struct step *s = &run->steps[i];
        if (s->group != known->group_idx || s->repetition != known->repetition ||
            s->position != known->position || s->done)
            continue;
        s->done = known->accepted || known->failed;
        s->attempts = known->attempts;
        double seconds = s->done ? step_seconds(run, s) : 0;
        run->seconds_before += seconds;
        run->seconds_done += seconds;
    }
    return 0;
}

static int cell_known(void *ctx, const struct store_cell *cell)
{
    struct run *run = ctx;
    if (cell->idx < run->plan->cells_count) {
        run->oks[cell->idx] = cell->trials_ok;
        snprintf(run->reasons[cell->idx], sizeof run->reasons[0], "%s", cell->last_failure);
    }
    return 0;
}

static int run_load(struct run *run, struct err *why)
{
    cleanup_(store_view_release_p) struct store_view *view = NULL;
    int r = store_view_acquire(run->config->store, 10000, &view, why);
    if (r == 0)
        r = store_view_steps(view, run->job->id, step_known, run, why);
    if (r == 0)
        r = store_view_cells(view, run->job->id, cell_known, run, why);
    if (r == 0)
        r = resume_failures(view, run->job->id, run->plan->cells_count, run->failures,
                            run->hopeless, why);
    return r;
}

/* ---- one step ---- */

static void subject_set(const struct run *run, struct exec_request *q, uint32_t cell_idx,
                        enum exec_role role)
{
    const struct job_cell *cell = &run->plan->cells[cell_idx];
    const struct job_subject *subject = &run->spec->subjects[cell->subject];
    struct exec_subject *to = &q->subjects[q->subjects_count++];
    to->role = role;
    memcpy(to->allocator, subject->allocator, sizeof to->allocator);
    memcpy(to->options, subject->options, sizeof to->options);
    to->point = cell->point;
}

static void step_request(const struct run *run, const struct step *s,
                         const struct store_ring_new *ring, struct exec_request *q)
{
    const struct job_group *group = &run->plan->groups[s->group];
    const struct workload *w = group->entry->workload;
    *q = (struct exec_request){
        .workload = w,
        .seed = hash_mix(step_key(run, s, 3), s->attempts),
        .tape_seed = hash_mix(hash_mix(run->spec->seed, 4), s->repetition),
        .rotations = job_group_rotations(run->spec, group),
        .slice_ops = job_group_slice_ops(run->spec, group),
        .warm_ops = job_group_warm_ops(run->spec, group),
        .memory_limit_bytes = run->spec->memory_limit_bytes,
        .memory_require = run->spec->memory_limit_bytes != 0,
        .placement = run->spec->placement,
        .turn_ms_max = run->spec->turn_ms_max,
        .wall_ms_max = run->spec->wall_s_max * 1000,
    };
    q->replay_ops = job_replay_ops(w, &group->point, q->slice_ops);
    memcpy(q->cpuset, run->spec->cpuset, sizeof q->cpuset);
    for (uint32_t i = 0; i < ring->cells_count; i++)
        subject_set(run, q, ring->cells[i], ring->roles[i]);
    uint32_t pages = q->subjects[0].point.pages; /* reserved huge ones are backed already */
    if (w->kind == WORKLOAD_ONESHOT && pages != PAGES_HUGETLB_2M && pages != PAGES_HUGETLB_1G)
        q->prefault_bytes = group->step_bytes;
}

static void step_count(struct run *run, const struct store_ring_new *ring,
                       const struct exec_result *result)
{
    bool failed = false;
    for (uint32_t i = 0; i < ring->cells_count; i++) {
        const struct exec_runner_result *r = &result->runners[i];
        uint32_t cell = ring->cells[i];
        if (r->outcome == OUTCOME_OK) {
            run->oks[cell]++;
            run->failures[cell] = 0;
            continue;
        }
        failed = true;
        /* Pages this host or allocator does not give will not be there next time either. */
        run->hopeless[cell] =
            r->outcome == OUTCOME_FAILED &&
            (r->failure == FAIL_PAGES_UNAVAILABLE || r->failure == FAIL_PAGES_UNSUPPORTED);
        run->failures[cell] = run->hopeless[cell] ? RUN_FAILURES_MAX : run->failures[cell] + 1;
        step_failure_text(r, run->reasons[cell], sizeof run->reasons[cell]);
    }
    run->steps_failed += failed;
}

/* The result is in hand and cannot be stored: wait for room rather than measure again. */
static int step_store(struct run *run, int64_t attempt_id, const struct exec_request *q,
                      const struct exec_result *result, struct err *e)
{
    for (;;) {
        int r = store_attempt_finish(run->config->store, attempt_id, q, result, e);
        if (r >= 0 || !e || e->code != ERR_NO_SPACE)
            return r;
        log_error("no room for results: %s; waiting", e->message);
        if (scheduler_should_end(run->config->scheduler))
            return r;
        nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    }
}

/* Said durably or not at all: an attempt left running would block its step, so wait for room. */
static void attempt_abandon(struct run *run, int64_t attempt_id, bool lost, const struct err *why)
{
    struct err e = {0};
    while (store_attempt_abandon(run->config->store, attempt_id, lost, why, &e) < 0) {
        log_error("job %s: cannot store a lost attempt: %s", run->job->uuid, e.message);
        if (e.code != ERR_NO_SPACE || scheduler_should_end(run->config->scheduler))
            return; /* the next start finds it running and calls it lost */
        nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    }
}

enum step_end { STEP_DONE, STEP_GIVEN_UP, STEP_AGAIN, STEP_UNFINISHED };

static void step_reason(struct run *run, const struct store_ring_new *ring, const struct err *why)
{
    for (uint32_t i = 0; i < ring->cells_count; i++)
        snprintf(run->reasons[ring->cells[i]], sizeof run->reasons[0], "%s: %.130s",
                 err_code_name(why->code), why->message);
}

/* The subject is what made this step differ from others, so it is the one not tried again; the
 * control of the ring gets the reason too, in case it never has a result of its own. */
static void step_hopeless(struct run *run, const struct store_ring_new *ring, const struct err *why)
{
    uint32_t subject = ring->cells[ring->cells_count - 1];
    run->hopeless[subject] = why->code == ERR_UNAVAILABLE;
    run->failures[subject] = RUN_FAILURES_MAX;
    run->steps_failed++;
    step_reason(run, ring, why);
}

/* What to do when an attempt brought nothing. */
static enum step_end step_broken(struct run *run, struct step *s, const struct store_ring_new *ring,
                                 int64_t attempt_id, struct err *why)
{
    bool ending = scheduler_should_end(run->config->scheduler);
    bool lost =
        ending || why->code == ERR_IO || why->code == ERR_LIMIT || why->code == ERR_CANCELLED;
    attempt_abandon(run, attempt_id, lost, why);
    log_warning("job %s: step %u.%u.%u: %s", run->job->uuid, s->group, s->repetition, s->position,
                why->message);
    if (ending)
        return STEP_UNFINISHED;
    if (lost && s->attempts < run->config->attempts_max)
        return STEP_AGAIN;
    step_hopeless(run, ring, why);
    return lost ? STEP_GIVEN_UP : STEP_DONE;
}

/* What to do when no attempt could begin. A conflict is about this step alone: settled already, or
 * it cannot be. Room and reading may come back; any other answer would be the same for ever. */
static enum step_end step_refused(struct run *run, const struct step *s,
                                  const struct store_ring_new *ring, const struct err *why)
{
    log_error("job %s: step %u.%u.%u: cannot begin an attempt: %s", run->job->uuid, s->group,
              s->repetition, s->position, why->message);
    if (why->code == ERR_CONFLICT) {
        bool settled = resume_settled(run->config->store, ring);
        if (!settled)
            step_reason(run, ring, why);
        return settled ? STEP_DONE : STEP_GIVEN_UP;
    }
    if (why->code != ERR_IO && why->code != ERR_NO_SPACE && why->code != ERR_LIMIT) {
        step_hopeless(run, ring, why);
        return STEP_GIVEN_UP;
    }
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    return scheduler_should_end(run->config->scheduler) ? STEP_UNFINISHED : STEP_AGAIN;
}

/* Why a cell has no result, should every attempt at it have been thrown away. */
static void step_discarded(struct run *run, const struct store_ring_new *ring,
                           const struct exec_result *result)
{
    for (uint32_t i = 0; i < ring->cells_count; i++)
        snprintf(run->reasons[ring->cells[i]], sizeof run->reasons[0], "discarded as noisy: %s",
                 result->discard_reason);
}

static enum step_end step_try(struct run *run, struct step *s, struct store_ring_new *ring,
                              struct exec_result *result, uint32_t *discards)
{
    struct exec_request q;
    struct err e = {0};
    int64_t attempt_id;
    step_request(run, s, ring, &q);
    ring->seed = q.seed;
    ring->tape_seed = q.tape_seed;
    int r = store_attempt_begin(run->config->store, ring, run->config->executor->name, q.attempt,
                                &attempt_id, &e);
    if (r < 0)
        return step_refused(run, s, ring, &e);
    s->attempts++;
    r = run->config->executor->run(run->config->executor, &q, run->config->interrupt, result, &e);
    if (r < 0)
        return step_broken(run, s, ring, attempt_id, &e);
    bool discard = result->discard, again = discard && ++*discards < RUN_DISCARDS_MAX;
    r = step_store(run, attempt_id, &q, result, &e);
    if (r == 0 && !result->discard)
        step_count(run, ring, result);
    run->steps_discarded += result->discard;
    if (result->discard)
        step_discarded(run, ring, result);
    exec_result_done(result);
    if (r < 0) /* not stored: else it would count as running, and no other attempt could begin */
        return step_broken(run, s, ring, attempt_id, &e);
    return again ? STEP_AGAIN : discard ? STEP_GIVEN_UP : STEP_DONE;
}

static bool step_pointless(const struct run *run, const struct store_ring_new *ring)
{
    for (uint32_t i = 0; i < ring->cells_count; i++)
        if (run->failures[ring->cells[i]] >= RUN_FAILURES_MAX)
            return true;
    return false;
}

static double seconds_left(const struct run *run)
{
    double done = run->seconds_done - run->seconds_before;
    double spent = (double)(clock_monotonic_ns() - run->started_ns) / (double)NS_PER_S;
    return done > 0 ? spent / done * (run->seconds_total - run->seconds_done) : 0;
}

static void step_publish(struct run *run, const struct step *s, const struct store_ring_new *ring)
{
    const struct job_group *group = &run->plan->groups[s->group];
    char cells[64] = "", data[512];
    size_t used = 0;
    for (uint32_t i = 0; i < ring->cells_count; i++)
        if (ring->roles[i] != ROLE_CONTROL || ring->cells_count == 1)
            used += (size_t)snprintf(cells + used, sizeof cells - used, "%s%u", used ? "," : "",
                                     ring->cells[i]);
    snprintf(data, sizeof data,
             "{\"steps_done\":%u,\"steps_total\":%u,\"steps_failed\":%u,\"steps_discarded\":%u,"
             "\"steps_given_up\":%u,\"seconds_left\":%.1f,\"group\":%u,\"workload\":\"%s\","
             "\"threads\":%u,"
             "\"cells\":[%s]}",
             run->steps_done, run->steps_count, run->steps_failed, run->steps_discarded,
             run->steps_given_up, seconds_left(run), s->group, group->entry->workload->name,
             group->point.threads, cells);
    events_publish(run->config->events, run->job->uuid, "step", data);
}

/* Before something slow and at the end: passing over many steps costs one commit, not many. A
 * number that cannot be stored is no reason to stop measuring. */
static void given_up_tell(struct run *run)
{
    struct err e = {0};
    if (run->given_up_told)
        return;
    run->given_up_told = store_job_steps(run->config->store, run->job->id, run->steps_count,
                                         run->steps_given_up, &e) == 0;
    if (!run->given_up_told)
        log_warning("job %s: steps given up not stored: %s", run->job->uuid, e.message);
}

static enum step_end run_step(struct run *run, struct step *s, struct exec_result *result)
{
    struct store_ring_new ring = {
        .job_id = run->job->id,
        .group_idx = s->group,
        .repetition = s->repetition,
        .position = s->position,
    };
    uint32_t discards = 0;
    enum step_end end = STEP_DONE;
    step_cells(run->spec, run->plan, &ring);
    if (step_pointless(run, &ring)) {
        end = STEP_GIVEN_UP;
    } else {
        given_up_tell(run);
        do {
            if (scheduler_should_end(run->config->scheduler))
                return STEP_UNFINISHED;
            end = step_try(run, s, &ring, result, &discards);
        } while (end == STEP_AGAIN);
        if (end == STEP_UNFINISHED)
            return end;
    }
    s->done = true;
    run->steps_done++;
    run->steps_given_up += end == STEP_GIVEN_UP;
    run->given_up_told &= end != STEP_GIVEN_UP;
    run->seconds_done += step_seconds(run, s);
    step_publish(run, s, &ring);
    return STEP_DONE;
}

/* ---- the whole job ---- */

static int run_summarize(struct run *run, struct err *e)
{
    run->summarized_ns = clock_monotonic_ns();
    return summarize_job(run->config->store, run->job->id, run->config->host_key, run->spec,
                         run->plan, e);
}

/* Results without their summary are no results: wait for room, fail for anything else. */
static int run_conclude(struct run *run, struct err *why)
{
    struct err e = {0};
    while (run_summarize(run, &e) < 0) {
        log_error("job %s: cannot summarise: %s", run->job->uuid, e.message);
        if (e.code != ERR_NO_SPACE)
            return err_set(why, e.code, e.field, "its results cannot be summarised: %.400s",
                           e.message);
        if (scheduler_should_end(run->config->scheduler))
            return -EINTR;
        nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    }
    return 0;
}

static int run_steps(struct run *run, uint32_t first, struct err *why)
{
    cleanup_(free_p) struct exec_result *result = calloc(1, sizeof *result);
    if (!result)
        return err_set(why, ERR_INTERNAL, NULL, "out of memory");
    for (uint32_t i = first; i < run->steps_count; i++) {
        if (run->steps[i].done) {
            run->steps_done++;
            continue;
        }
        if (run_step(run, &run->steps[i], result) == STEP_UNFINISHED)
            return -EINTR;
        bool repetition_ends =
            i + 1 == run->steps_count || run->steps[i + 1].repetition != run->steps[i].repetition;
        struct err e = {0};
        if (repetition_ends && clock_monotonic_ns() - run->summarized_ns > SUMMARY_EVERY_NS &&
            run_summarize(run, &e) < 0)
            log_warning("job %s: figures so far not stored: %s", run->job->uuid, e.message);
    }
    return 0;
}

/* Steps of cells that use CPU outside their turns, after all others. */
static int steps_add_alone(struct run *run, const bool *alone, struct err *why)
{
    cleanup_(free_p) uint32_t *positions = calloc(run->plan->cells_count + 2, sizeof *positions);
    uint32_t first = run->steps_count;
    for (uint32_t g = 0; positions && g < run->plan->groups_count; g++) {
        const struct job_group *group = &run->plan->groups[g];
        uint32_t count = solo_positions(group, alone, positions);
        uint32_t repeats = job_group_repeats(run->spec, group);
        if (count == 0)
            continue;
        struct step *steps =
            realloc(run->steps, (run->steps_count + repeats * count) * sizeof *steps);
        if (!steps)
            return err_set(why, ERR_INTERNAL, NULL, "out of memory");
        run->steps = steps;
        for (uint32_t i = 0; i < repeats * count; i++)
            step_add(run, g, i / count, job_group_rings(run->spec, group) + positions[i % count]);
    }
    if (!positions)
        return err_set(why, ERR_INTERNAL, NULL, "out of memory");
    if (run->steps_count > first)
        qsort(run->steps + first, run->steps_count - first, sizeof *run->steps, step_order);
    return 0;
}

/* The steps of cells measured alone, from what the rings stored. */
static int alone_load(struct run *run, struct err *why)
{
    cleanup_(store_view_release_p) struct store_view *view = NULL;
    cleanup_(free_p) bool *alone = calloc(run->plan->cells_count + 1, sizeof *alone);
    int r = alone ? solo_cells(run->config->store, run->job->id, run->spec, run->plan, alone, why)
                  : err_set(why, ERR_INTERNAL, NULL, "out of memory");
    if (r == 0)
        r = steps_add_alone(run, alone, why);
    if (r == 0)
        r = store_view_acquire(run->config->store, 10000, &view, why);
    return r == 0 ? store_view_steps(view, run->job->id, step_known, run, why) : r;
}

/* The rings are stored: a read that fails is tried again, and in the end costs the trials alone,
 * not the job. Summaries of the cells then say that they were not measured alone. */
static int run_alone(struct run *run, struct err *why)
{
    const struct run before = *run;
    for (uint32_t tries = 1;; tries++) {
        struct err e = {0};
        if (alone_load(run, &e) >= 0)
            break;
        run->steps_count = before.steps_count;
        run->seconds_total = before.seconds_total;
        run->seconds_done = before.seconds_done;
        run->seconds_before = before.seconds_before;
        bool last = tries == RUN_READS_MAX;
        log_warning("job %s: cannot tell which cells to measure alone: %s; %s", run->job->uuid,
                    e.message, last ? "going on without" : "trying again");
        if (scheduler_should_end(run->config->scheduler))
            return -EINTR;
        if (last)
            return 0;
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    if (run->steps_count == before.steps_count)
        return 0;
    log_info("job %s: %u steps more, of cells that use CPU outside their turns", run->job->uuid,
             run->steps_count - before.steps_count);
    run->given_up_told = false; /* steps_total is told with it */
    given_up_tell(run);
    return run_steps(run, before.steps_count, why);
}

/* A cell that could not be measured here is reported, not a failure; one that broke is. */
static int run_verdict(const struct run *run, struct err *why)
{
    uint32_t broken = 0, without = 0, first = 0;
    for (uint32_t i = 0; i < run->plan->cells_count; i++) {
        if (run->oks[i] > 0)
            continue;
        without++;
        if (run->hopeless[i])
            continue;
        if (broken++ == 0)
            first = i;
    }
    if (broken == 0 && without < run->plan->cells_count)
        return 0;
    const struct job_cell *cell = &run->plan->cells[first];
    return err_set(why, ERR_UNAVAILABLE, NULL,
                   "%u of %u cells have no result; %s on %s, %u threads: %s", without,
                   run->plan->cells_count, run->spec->subjects[cell->subject].allocator,
                   run->plan->groups[cell->group].entry->workload->name, cell->point.threads,
                   run->reasons[first][0] ? run->reasons[first] : "never ran");
}

static int run_prepare(struct run *run, struct err *why)
{
    const struct job_limits lenient = lenient_limits(run->config->limits);
    int r = job_parse(run->job->spec_json, strlen(run->job->spec_json), &lenient, &run->spec, why);
    if (r == 0)
        r = job_expand(run->spec, &lenient, &run->plan, why);
    if (r < 0)
        return r;
    run->steps = calloc(run->plan->steps + 1, sizeof *run->steps);
    run->failures = calloc(run->plan->cells_count + 1, sizeof *run->failures);
    run->oks = calloc(run->plan->cells_count + 1, sizeof *run->oks);
    run->hopeless = calloc(run->plan->cells_count + 1, sizeof *run->hopeless);
    run->reasons = calloc(run->plan->cells_count + 1, sizeof *run->reasons);
    if (!run->steps || !run->failures || !run->oks || !run->hopeless || !run->reasons)
        return err_set(why, ERR_INTERNAL, NULL, "out of memory");
    run->steps_failed = run->job->steps_failed;
    run->steps_discarded = run->job->steps_discarded;
    steps_fill(run);
    return run_load(run, why);
}

int run_job(const struct run_config *config, const struct store_job *job, struct err *why)
{
    struct run run = {.config = config, .job = job, .given_up_told = true};
    int r = resume_check_build(job, why);
    if (r == 0)
        r = run_prepare(&run, why);
    if (r == 0) {
        run.started_ns = run.summarized_ns = clock_monotonic_ns();
        r = run_steps(&run, 0, why);
        if (r == 0)
            r = run_alone(&run, why);
        given_up_tell(&run);
        if (r == 0)
            r = run_conclude(&run, why);
        else
            (void)run_summarize(&run, NULL); /* what there is, for who looks meanwhile */
        if (r == 0)
            r = run_verdict(&run, why);
    }
    free(run.steps);
    free(run.failures);
    free(run.oks);
    free(run.hopeless);
    free(run.reasons);
    job_plan_free(run.plan);
    job_spec_free(run.spec);
    return r;
}
