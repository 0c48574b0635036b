-- How the trials behind a summary ran: in rings, as planned trials of blocks, or alone because the
-- cell uses CPU outside its turns. '': made before this was told.
ALTER TABLE summary ADD COLUMN measured TEXT NOT NULL DEFAULT ''
    CHECK (measured IN ('', 'ring', 'trial', 'solo'));
