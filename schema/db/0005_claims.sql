-- attempts counted claims since a step was last settled; it counts all of them from now on, and
-- those go here. harness_build: who measures the job, set at a claim until a step is settled; '':
-- claimed before this was told.
ALTER TABLE job ADD COLUMN claims_fruitless INTEGER NOT NULL DEFAULT 0;
UPDATE job SET claims_fruitless = attempts;
ALTER TABLE job ADD COLUMN harness_build TEXT NOT NULL DEFAULT '';
