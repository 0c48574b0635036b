/* From descriptors to mappings. Nothing is believed: every descriptor must be the memfd, of the
 * size and with the seals, that ring.h promises. Main thread, before the allocator is loaded. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "workloads/runner/runner.h"

/* Map all of fd. NULL after a log line. */
static void *join_map(int fd, int protection, uint64_t size_min, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
        (uint64_t)st.st_size < size_min) {
        log_error("descriptor %d is not the shared memory it must be", fd);
        return NULL;
    }
    /* Unsealed, it could be cut under us: every read would be a possible SIGBUS. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
        log_error("descriptor %d is not sealed against shrinking", fd);
        return NULL;
    }
    void *map = mmap(NULL, (size_t)st.st_size, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED) {
        log_error("descriptor %d cannot be mapped: errno %d", fd, errno);
        return NULL;
    }
    *ret_size = (uint64_t)st.st_size;
    return map;
}

static int join_plan(struct runner *r, uint64_t plan_size)
{
    int seals = fcntl(RING_FD_PLAN, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_WRITE))
        return runner_fail(r, FAIL_PROTOCOL, "the plan is not sealed against writing");
    if (ring_plan_check(r->plan, plan_size) < 0)
        return runner_fail(r, FAIL_PROTOCOL, "the plan is malformed, or of another build");
    if (r->index >= r->plan->runners_count)
        return runner_fail(r, FAIL_PROTOCOL, "runner %u of %u", r->index, r->plan->runners_count);
    r->subject = &r->plan->subjects[r->index];
    return 0;
}

static int join_others(struct runner *r)
{
    const uint64_t size_min = ring_page_size(r->plan->rotations);
    uint64_t size;
    for (uint32_t i = 0; i < r->plan->runners_count; i++) {
        r->pages[i] = join_map(RING_FD_OTHERS + (int)i, PROT_READ, size_min, &size);
        (void)close(RING_FD_OTHERS + (int)i);
        if (!r->pages[i])
            return runner_fail(r, FAIL_PROTOCOL, "page of runner %u cannot be mapped", i);
    }
    return 0;
}

/* The tape must fit what this runner will do with it: a larger ring may share it. */
static int join_tape(struct runner *r)
{
    const struct workload *w = r->trial.workload;
    struct tape_spec spec;
    struct err e = {0};
    if ((w->tape == TAPE_NONE) != (r->plan->tape_bytes == 0))
        return runner_fail(r, FAIL_PROTOCOL, "%s: tape %s", w->name,
                           w->tape == TAPE_NONE ? "not wanted" : "missing");
    if (w->tape == TAPE_NONE)
        return 0;
    if (tape_map(RING_FD_TAPE, r->plan->tape_bytes, &r->tape, &e) < 0 ||
        tape_spec_for(w, r->trial.point, 0, &spec, &e) < 0)
        return runner_fail(r, FAIL_PROTOCOL, "%s", e.message);
    const struct tape_header *h = r->tape.header;
    if (h->kind != (uint32_t)spec.kind || h->threads < spec.threads || h->live != spec.live ||
        h->size_min != spec.size_min || h->size_max != spec.size_max ||
        h->remote_pct != spec.remote_pct || h->touch != spec.touch)
        return runner_fail(r, FAIL_PROTOCOL, "the tape was made for another point");
    r->trial.tape = &r->tape;
    (void)close(RING_FD_TAPE);
    return 0;
}

static int join_trial(struct runner *r)
{
    const struct workload *w = workloads[r->plan->workload];
    const struct workload_point *point = &r->subject->point;
    r->trial.workload = w;
    r->trial.point = point;
    r->trial.seed = r->plan->seed;
    r->trial.part = 0;
    r->trial.parts = 1;
    r->trial.owner = r;
    if (point->threads > w->threads_max)
        return runner_fail(r, FAIL_PROTOCOL, "%s takes at most %u threads", w->name,
                           w->threads_max);
    if (!(w->pages_mask & PAGES_BIT(point->pages)))
        return runner_fail(r, FAIL_PAGES_UNSUPPORTED, "%s does not take pages %s", w->name,
                           page_mode_name((enum page_mode)point->pages));
    for (unsigned i = 0; i < w->params_count; i++)
        if (param_check(&w->params[i], point->params[i], NULL, NULL) < 0)
            return runner_fail(r, FAIL_PROTOCOL, "%s: %s is out of range", w->name,
                               w->params[i].name);
    return join_tape(r);
}

int join_ring(struct runner *r)
{
    uint64_t plan_size, page_size, gate_size;
    r->page = join_map(RING_FD_PAGE, PROT_READ | PROT_WRITE, sizeof *r->page, &page_size);
    if (!r->page)
        return -EPROTO;
    (void)close(RING_FD_PAGE);
    r->slices_max = (uint32_t)((page_size - sizeof *r->page) / sizeof r->page->slices[0]);
    r->plan = join_map(RING_FD_PLAN, PROT_READ, sizeof *r->plan, &plan_size);
    if (!r->plan)
        return runner_fail(r, FAIL_PROTOCOL, "the plan cannot be mapped");
    r->gate = join_map(RING_FD_GATE, PROT_READ, sizeof *r->gate, &gate_size);
    if (!r->gate)
        return runner_fail(r, FAIL_PROTOCOL, "the gate cannot be mapped");
    int e = join_plan(r, plan_size);
    (void)close(RING_FD_PLAN);
    (void)close(RING_FD_GATE);
    if (e == 0 && r->slices_max < r->plan->rotations)
        e = runner_fail(r, FAIL_PROTOCOL, "the page has room for %u slices, the plan has %u",
                        r->slices_max, r->plan->rotations);
    if (e == 0)
        e = join_others(r);
    if (e == 0)
        e = join_trial(r);
    return e;
}

void join_report(struct runner *r, enum runner_state state)
{
    /* Release: everything else in the page was written before; the supervisor acquires. */
    atomic_store_explicit(&r->page->state, (uint32_t)state, memory_order_release);
    futex_wake(&r->page->state, FUTEX_ALL);
}

int join_wait_gate(struct runner *r)
{
    uint32_t start;
    /* Acquire: partner of the supervisor's release. */
    while ((start = atomic_load_explicit(&r->gate->start, memory_order_acquire)) == 0)
        futex_wait(&r->gate->start, 0, FUTEX_ALL);
    if (start != 1 && start != 2)
        return runner_fail(r, FAIL_PROTOCOL, "the gate says %u", start);
    return (int)start;
}
