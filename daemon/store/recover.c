/* What a start does about what the last end interrupted. One transaction: either all of it holds
 * or the next start does it again. */
#include "daemon/store/internal.h"

#include <stdio.h>

#include "daemon/base/clock.h"

#define RECOVER_BATCH 256

/* One batch of running attempts becomes lost. Returns how many. */
static int recover_attempts(struct db *db, struct err *e)
{
    static const struct err why = {.code = ERR_CANCELLED,
                                   .message = "heapmarkd ended while this was running"};
    int64_t ids[RECOVER_BATCH];
    int n = 0, r;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT id FROM attempt WHERE state = 'running' LIMIT ?");
    stmt_int(&st, RECOVER_BATCH);
    while ((r = stmt_step(&st, e)) > 0 && n < RECOVER_BATCH)
        ids[n++] = stmt_col_int(&st, 0);
    stmt_end(&st);
    for (int i = 0; r >= 0 && i < n; i++)
        r = attempt_end_without_result(db, ids[i], true, &why, e);
    return r < 0 ? r : n;
}

static int recover_jobs(struct db *db, uint32_t attempts_max, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "UPDATE job SET finished_us = iif(cancel_requested OR claims_fruitless >= ?1, ?2, 0),"
            " error_code = iif(NOT cancel_requested AND claims_fruitless >= ?1, 'io', 'none'),"
            " error_message = iif(NOT cancel_requested AND claims_fruitless >= ?1,"
            " 'heapmarkd ended ' || claims_fruitless || ' times while this job ran and no step of "
            "it was done;'"
            " || ' it is not tried again',"
            " ''),"
            " state = CASE WHEN cancel_requested THEN 'cancelled' WHEN claims_fruitless >= ?1 THEN "
            "'lost'"
            " ELSE 'queued' END WHERE state IN ('claimed', 'running')");
    stmt_int(&st, attempts_max);
    stmt_int(&st, clock_realtime_us());
    return stmt_run(&st, e);
}

static int recover_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const uint32_t *attempts_max = arg;
    int lost = 0, n;
    do {
        n = recover_attempts(db, e);
        if (n < 0)
            return n;
        lost += n;
    } while (n > 0);
    int r = recover_jobs(db, *attempts_max, e);
    return r < 0 ? r : lost;
}

int store_recover(struct store *s, uint32_t attempts_max, struct err *e)
{
    return store_write(s, recover_task, &attempts_max, e);
}
