/* Cells that use CPU time outside their turns (background purgers) spend it in the turns of others,
 * and what they do there is missing in their own: their rings say too little of the work. Such a
 * cell is measured again alone, as blocks of trials: reference, reference again, and the cell,
 * every repetition once, at positions after the rings (job_group_rings). Its figures then come from
 * those trials, its ratio from trials of the same repetition, its noise from their A/A. A reference
 * that does it stands in all rings of its group: then every cell of the group is measured alone.
 * A subject's rings are left out of the reference's own figures when the subject is measured alone,
 * as long as the group has other rings (summarize.c).
 *
 * Decided from stored values only, when the rings are done, so a restart decides the same. */
#ifndef HEAPMARK_DAEMON_JOB_SOLO_H
#define HEAPMARK_DAEMON_JOB_SOLO_H

#include "daemon/job/job.h"

struct store;
struct store_value;

#define SOLO_CPU_OUTSIDE_MAX 0.005 /* median of a cell's rings: more is measured alone */
#define SOLO_RINGS_MIN       2     /* one ring may be a blip */

struct solo {
    const struct job_spec *spec;
    const struct job_plan *plan;
    struct solo_share {
        uint32_t cell;
        double value;
    } * shares; /* of every ring */
    uint32_t count, capacity;
    bool *begun; /* by cell: has values of trials alone */
};

/* Feed every value of a job, in any order, then decide. 0 or -ENOMEM. */
int solo_begin(struct solo *s, const struct job_spec *spec, const struct job_plan *plan);
int solo_value(void *solo, const struct store_value *value);
/* alone[cell]: true where it is to be measured alone, or was begun to be; all of a group when its
 * reference is. */
void solo_decide(struct solo *s, bool *alone);
void solo_done(struct solo *s);

/* The same from the store. */
int solo_cells(struct store *store, int64_t job_id, const struct job_spec *spec,
               const struct job_plan *plan, bool *alone, struct err *e);

/* Positions after the rings that a repetition of this group needs, into ret (cells_count + 1 of
 * them); none when no cell of it is alone. */
uint32_t solo_positions(const struct job_group *group, const bool *alone, uint32_t *ret);

#endif
