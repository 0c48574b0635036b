#include "daemon/job/solo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/store.h"

int solo_begin(struct solo *s, const struct job_spec *spec, const struct job_plan *plan)
{
    *s = (struct solo){.spec = spec, .plan = plan};
    s->begun = calloc(plan->cells_count + 1, sizeof *s->begun);
    return s->begun ? 0 : -ENOMEM;
}

void solo_done(struct solo *s)
{
    free(s->shares);
    free(s->begun);
}

static int share_keep(struct solo *s, uint32_t cell, double value)
{
    if (s->count == s->capacity) {
        uint32_t capacity = s->capacity ? 2 * s->capacity : 256;
        struct solo_share *shares = realloc(s->shares, capacity * sizeof *shares);
        if (!shares)
            return -ENOMEM;
        s->shares = shares;
        s->capacity = capacity;
    }
    s->shares[s->count++] = (struct solo_share){.cell = cell, .value = value};
    return 0;
}

int solo_value(void *solo, const struct store_value *value)
{
    struct solo *s = solo;
    if (value->group_idx >= s->plan->groups_count || value->cell_idx >= s->plan->cells_count)
        return 0;
    uint32_t rings = job_group_rings(s->spec, &s->plan->groups[value->group_idx]);
    if (rings == 0)
        return 0;
    if (value->position >= rings) {
        s->begun[value->cell_idx] |= value->role == ROLE_SUBJECT;
        return 0;
    }
    if (value->metric != METRIC_CPU_OUTSIDE_RATIO || value->role == ROLE_CONTROL)
        return 0;
    return share_keep(s, value->cell_idx, value->value);
}

static int share_order(const void *a, const void *b)
{
    const struct solo_share *x = a, *y = b;
    if (x->cell != y->cell)
        return x->cell < y->cell ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

/* What a reference does outside its turns is in every ring of its group, and in every ratio. */
static void shares_exceed(const struct solo *s, uint32_t cell, bool *alone)
{
    const struct job_group *group = &s->plan->groups[s->plan->cells[cell].group];
    bool all = cell == group->cells_first;
    for (uint32_t i = 0; i < group->cells_count; i++)
        alone[group->cells_first + i] |= all || group->cells_first + i == cell;
}

void solo_decide(struct solo *s, bool *alone)
{
    memcpy(alone, s->begun, s->plan->cells_count * sizeof *alone);
    if (s->count)
        qsort(s->shares, s->count, sizeof *s->shares, share_order);
    for (uint32_t i = 0, n; i < s->count; i += n) {
        for (n = 1; i + n < s->count && s->shares[i + n].cell == s->shares[i].cell;)
            n++;
        double median = (s->shares[i + (n - 1) / 2].value + s->shares[i + n / 2].value) / 2;
        if (n >= SOLO_RINGS_MIN && median > SOLO_CPU_OUTSIDE_MAX)
            shares_exceed(s, s->shares[i].cell, alone);
    }
}

int solo_cells(struct store *store, int64_t job_id, const struct job_spec *spec,
               const struct job_plan *plan, bool *alone, struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *view = NULL;
    struct solo s;
    int r = solo_begin(&s, spec, plan);
    if (r < 0)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    r = store_view_acquire(store, 10000, &view, e);
    if (r == 0)
        r = store_view_values(view, job_id, 0, solo_value, &s, e);
    if (r == 0)
        solo_decide(&s, alone);
    solo_done(&s);
    return r == -ENOMEM ? err_set(e, ERR_INTERNAL, NULL, "out of memory") : r;
}

uint32_t solo_positions(const struct job_group *group, const bool *alone, uint32_t *ret)
{
    uint32_t count = 0;
    bool any = false;
    ret[count++] = 0; /* the reference */
    for (uint32_t i = 0; i < group->cells_count; i++) {
        any |= alone[group->cells_first + i];
        if (i > 0 && alone[group->cells_first + i])
            ret[count++] = i;
    }
    ret[count++] = group->cells_count; /* the reference again */
    return any ? count : 0;
}
