-- Steps that a run passed over: their cell failed too often, or every attempt was thrown away.
-- Beside steps_done (settled ones); set anew by each run of the job.
ALTER TABLE job ADD COLUMN steps_given_up INTEGER NOT NULL DEFAULT 0;
