#include "daemon/node/collect.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/base/text.h"

int collect_copy(int fd, uint32_t rotations, struct collected *ret)
{
    struct stat st;
    uint64_t size = ring_page_size(rotations);
    if (fstat(fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size < size)
        return -EPROTO;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    struct ring_page *page = malloc(size);
    if (page) {
        memcpy(page, map, size);
        page->version[sizeof page->version - 1] = '\0';
        page->message[sizeof page->message - 1] = '\0';
        ret->page = page;
        ret->slices_count = page->slices_count < rotations ? page->slices_count : rotations;
    }
    munmap(map, size);
    return page ? 0 : -ENOMEM;
}

/* The slice a measured turn claims, or NULL where the runner did not come that far. */
static const struct ring_slice *turn_slice(const struct ring_turn *turn,
                                           const struct collected *runners)
{
    const struct collected *c = &runners[turn->runner];
    if (turn->phase != RING_MEASURE || !c->page || turn->rotation >= c->slices_count)
        return NULL;
    return &c->page->slices[turn->rotation];
}

unsigned collect_forgers(const struct ring_turn *turns, uint32_t turns_count,
                         const struct collected *runners, uint32_t runners_count,
                         uint64_t started_ns, uint64_t finished_ns)
{
    unsigned conflicts[RING_RUNNERS_MAX] = {0}, worst = 0, mask = 0;
    const struct ring_slice *before = NULL;
    unsigned before_runner = 0;
    for (uint32_t i = 0; i < turns_count; i++) {
        const struct ring_slice *s = turn_slice(&turns[i], runners);
        unsigned runner = turns[i].runner;
        if (!s)
            continue;
        if (s->start_ns >= s->end_ns || s->ops == 0 || s->start_ns < started_ns ||
            s->end_ns > finished_ns)
            conflicts[runner] += 3; /* wrong all by itself: nobody else can be to blame */
        if (before && s->start_ns < before->end_ns) {
            conflicts[runner]++;
            conflicts[before_runner] += runner != before_runner;
        }
        before = s;
        before_runner = runner;
    }
    for (unsigned i = 0; i < runners_count; i++)
        worst = conflicts[i] > worst ? conflicts[i] : worst;
    for (unsigned i = 0; worst > 0 && i < runners_count; i++)
        if (conflicts[i] == worst)
            mask |= 1u << i;
    return mask;
}

void collect_text(const char *from, size_t from_size, char *to, size_t to_size)
{
    size_t n = 0;
    for (size_t i = 0; i < from_size && from[i] && n + 5 < to_size; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c == '\n' && to_size > 1024) /* logs keep their lines, messages are one line */
            to[n++] = '\n';
        else if (c < 0x20 || c >= 0x7f)
            n += (size_t)snprintf(to + n, to_size - n, "\\x%02x", c);
        else
            to[n++] = (char)c;
    }
    to[n] = '\0';
}

/* Whether a runner may say this at all: its workload lists it, and it is not what we derive from
 * slices or the supervisor saw, which a runner's word must not stand in for where that is absent.
 */
static bool metric_is_runners(const struct exec_request *request, uint32_t metric)
{
    const struct workload *w = request->workload;
    bool listed = false;
    for (unsigned i = 0; i < w->metrics_count; i++)
        listed = listed || w->metrics[i] == (enum metric_id)metric;
    switch (listed ? (enum metric_id)metric : METRIC_COUNT_) {
    case METRIC_COUNT_: /* not listed */
    case METRIC_CGROUP_PEAK_BYTES:
    case METRIC_CPU_USER_US:
    case METRIC_CPU_SYSTEM_US:
    case METRIC_PREFAULT_BYTES:
    case METRIC_PREFAULT_SHARE:
    case METRIC_RING_LOG_RATIO:
    case METRIC_RING_DRIFT:
    case METRIC_RING_QUADRUPLES:
        return false;
    case METRIC_NS_PER_PAIR:
    case METRIC_INVOLUNTARY_SWITCHES:
    case METRIC_MIGRATIONS:
        return request->rotations == 0;
    default: /* the headline of a ring follows from its slices */
        return request->rotations == 0 || metric != (uint32_t)w->metrics[0];
    }
}

/* The values of a vector metric, unless it claims some out of bounds. */
static void vector_copy(const struct ring_page *page, const struct ring_metric *m,
                        struct exec_metric *ret)
{
    if (m->vector_count == 0 || m->vector_count > RING_VECTOR_MAX ||
        m->vector_offset > RING_VECTOR_MAX - m->vector_count)
        return;
    double *vector = malloc(m->vector_count * sizeof *vector);
    if (!vector)
        return;
    memcpy(vector, page->vectors + m->vector_offset, m->vector_count * sizeof *vector);
    ret->vector = vector;
    ret->vector_count = m->vector_count;
}

/* gcc's analyzer loses sight of a pointer stored in the element of an array whose index it does not
 * know, and calls it leaked; exec_result_done frees the vectors. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
static void result_absent(enum metric_id metric, const char *reason, size_t size,
                          struct exec_runner_result *ret)
{
    for (uint32_t i = 0; i < ret->absent_count; i++)
        if (ret->absent[i].metric == metric)
            return;
    if (ret->absent_count == RING_ABSENT_MAX)
        return;
    struct exec_absent *to = &ret->absent[ret->absent_count++];
    to->metric = metric;
    collect_text(reason, size, to->reason, sizeof to->reason);
}

static void result_metrics(const struct exec_request *request, const struct ring_page *page,
                           struct exec_runner_result *ret)
{
    static const char no_number[] = "not believed: what the trial reported is no number";
    uint32_t count =
        page->metrics_count < RING_METRICS_MAX ? page->metrics_count : RING_METRICS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const struct ring_metric *m = &page->metrics[i];
        if (!metric_is_runners(request, m->metric))
            continue;
        if (!isfinite(m->value)) {
            result_absent((enum metric_id)m->metric, no_number, sizeof no_number, ret);
            continue;
        }
        struct exec_metric *to = &ret->metrics[ret->metrics_count++];
        *to = (struct exec_metric){.metric = m->metric, .value = m->value};
        vector_copy(page, m, to);
    }
    count = page->absent_count < RING_ABSENT_MAX ? page->absent_count : RING_ABSENT_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const struct ring_absent *a = &page->absent[i];
        if (metric_is_runners(request, a->metric) && a->reason[0])
            result_absent((enum metric_id)a->metric, a->reason, sizeof a->reason, ret);
    }
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

void collect_result(const struct exec_request *request, const struct collected *from,
                    const struct wire_runner_done *done, uint32_t turns_total, uint32_t isolation,
                    bool forged, struct exec_runner_result *ret)
{
    ret->outcome = done->outcome < OUTCOME_COUNT_ ? done->outcome : OUTCOME_PROTOCOL;
    ret->exit_status = done->exit_status;
    ret->signal = done->signal;
    ret->turns_done = done->turns_done < turns_total ? done->turns_done : turns_total;
    ret->turns_total = turns_total;
    ret->isolation = isolation | done->isolation;
    text_hex(done->sha256, sizeof done->sha256, ret->sha256);
    collect_text(done->library_path, sizeof done->library_path, ret->library_path,
                 sizeof ret->library_path);
    if (!from->page)
        return;
    const struct ring_page *page = from->page;
    collect_text(page->version, sizeof page->version, ret->version, sizeof ret->version);
    collect_text(page->message, sizeof page->message, ret->message, sizeof ret->message);
    ret->failure = page->failure < FAIL_COUNT_ ? page->failure : FAIL_PROTOCOL;
    if (forged) {
        ret->outcome = OUTCOME_PROTOCOL;
        snprintf(ret->message, sizeof ret->message,
                 "its slices do not fit between its neighbours' stamps: not believed");
        return;
    }
    /* The proof: what the runner found mapped must be the file the supervisor hashed. */
    if (ret->outcome == OUTCOME_OK &&
        (page->device != done->device || page->inode != done->inode)) {
        ret->outcome = OUTCOME_FAILED;
        ret->failure = FAIL_IDENTITY;
        snprintf(ret->message, sizeof ret->message,
                 "the mapped library is not the file that was hashed");
        return;
    }
    /* Slices show how far it came; figures of a trial that was not completed are none. */
    if (ret->outcome == OUTCOME_OK)
        result_metrics(request, page, ret);
    ret->slices = calloc(from->slices_count + 1, sizeof *ret->slices);
    if (ret->slices) {
        memcpy(ret->slices, page->slices, from->slices_count * sizeof *ret->slices);
        ret->slices_count = from->slices_count;
    }
}
