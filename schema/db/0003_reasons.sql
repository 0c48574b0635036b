-- Why there is no value. A trial says it for each metric its workload lists and it could not have
-- (a counter this processor lacks, a figure the allocator does not tell); a summary says it of
-- its cell, or why its value is not of the steady state.
CREATE TABLE absence (
    trial_id  INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    metric_id INTEGER NOT NULL REFERENCES metric (id),
    reason    TEXT NOT NULL,
    PRIMARY KEY (trial_id, metric_id)
) STRICT, WITHOUT ROWID;

ALTER TABLE summary ADD COLUMN unsteady INTEGER NOT NULL DEFAULT 0 CHECK (unsteady IN (0, 1));
ALTER TABLE summary ADD COLUMN reason TEXT NOT NULL DEFAULT '';
