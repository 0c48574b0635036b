-- The first schema. Times are microseconds since the epoch; unsigned 64-bit numbers (seeds) are
-- kept as the signed integer of the same bits; NaN ("unknown") is NULL; names of enums are the
-- names the API uses. Files of this folder are never edited after a release: a change is the next
-- number.

-- Metric names to small numbers. The numbers belong to this file alone: they are mapped to the
-- program's rows by name at every start, so rows may be reordered in the source.
CREATE TABLE metric (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- The three keys that decide what may be compared: host, protocol, subject.
CREATE TABLE host (
    id            INTEGER PRIMARY KEY,
    key           TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL DEFAULT '',
    facts         TEXT NOT NULL DEFAULT '{}',
    first_seen_us INTEGER NOT NULL,
    last_seen_us  INTEGER NOT NULL
) STRICT;

CREATE TABLE protocol (
    id            INTEGER PRIMARY KEY,
    key           TEXT NOT NULL UNIQUE,
    first_seen_us INTEGER NOT NULL
) STRICT;

-- One allocator binary, known by what was hashed, never by its name alone.
CREATE TABLE build (
    id            INTEGER PRIMARY KEY,
    allocator     TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    version       TEXT NOT NULL,
    path          TEXT NOT NULL,
    first_seen_us INTEGER NOT NULL,
    last_seen_us  INTEGER NOT NULL,
    UNIQUE (allocator, sha256)
) STRICT;

CREATE TABLE subject (
    id          INTEGER PRIMARY KEY,
    build_id    INTEGER NOT NULL REFERENCES build (id),
    options_key TEXT NOT NULL,
    UNIQUE (build_id, options_key)
) STRICT;

-- AUTOINCREMENT: an id is a list cursor and must never come back after a deletion.
CREATE TABLE job (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid             TEXT NOT NULL UNIQUE,
    state            TEXT NOT NULL CHECK (state IN ('queued', 'claimed', 'running', 'succeeded',
                                                    'failed', 'cancelled', 'lost')),
    name             TEXT NOT NULL,
    preset           TEXT NOT NULL,
    profile          TEXT NOT NULL,
    spec             TEXT NOT NULL,
    principal        TEXT NOT NULL,
    label_project    TEXT NOT NULL,
    label_commit     TEXT NOT NULL,
    label_parent     TEXT NOT NULL,
    label_sequence   INTEGER NOT NULL,
    label_branch     TEXT NOT NULL,
    label_tag        TEXT NOT NULL,
    label_time_us    INTEGER NOT NULL,
    host_id          INTEGER REFERENCES host (id),
    created_us       INTEGER NOT NULL,
    started_us       INTEGER NOT NULL DEFAULT 0,
    finished_us      INTEGER NOT NULL DEFAULT 0,
    cells_count      INTEGER NOT NULL,
    steps_total      INTEGER NOT NULL,
    steps_done       INTEGER NOT NULL DEFAULT 0,
    steps_failed     INTEGER NOT NULL DEFAULT 0,
    steps_discarded  INTEGER NOT NULL DEFAULT 0,
    attempts         INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    error_code       TEXT NOT NULL DEFAULT 'none',
    error_field      TEXT NOT NULL DEFAULT '',
    error_message    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX job_state ON job (state, id);
CREATE INDEX job_project ON job (label_project, label_branch, id) WHERE label_project <> '';
CREATE INDEX job_commit ON job (label_commit, id) WHERE label_commit <> '';
CREATE INDEX job_preset ON job (preset, id) WHERE preset <> '';

CREATE TABLE cell (
    id               INTEGER PRIMARY KEY,
    job_id           INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    idx              INTEGER NOT NULL,
    group_idx        INTEGER NOT NULL,
    workload         TEXT NOT NULL,
    params_key       TEXT NOT NULL,
    threads          INTEGER NOT NULL,
    pages            TEXT NOT NULL,
    allocator        TEXT NOT NULL,
    options_key      TEXT NOT NULL,
    role             TEXT NOT NULL CHECK (role IN ('reference', 'control', 'subject')),
    trials_ok        INTEGER NOT NULL DEFAULT 0,
    trials_failed    INTEGER NOT NULL DEFAULT 0,
    trials_discarded INTEGER NOT NULL DEFAULT 0,
    last_failure     TEXT NOT NULL DEFAULT '',
    UNIQUE (job_id, idx)
) STRICT;
CREATE INDEX cell_subject ON cell (allocator, workload);

-- A planned step: a ring of runners, or one fresh trial of a block.
CREATE TABLE ring (
    id            INTEGER PRIMARY KEY,
    job_id        INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    group_idx     INTEGER NOT NULL,
    repetition    INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    oneshot       INTEGER NOT NULL CHECK (oneshot IN (0, 1)),
    runners_count INTEGER NOT NULL,
    UNIQUE (job_id, group_idx, repetition, position)
) STRICT;

CREATE TABLE ring_runner (
    ring_id    INTEGER NOT NULL REFERENCES ring (id) ON DELETE CASCADE,
    runner_idx INTEGER NOT NULL,
    cell_idx   INTEGER NOT NULL, -- of the ring's job; checked when inserted
    role       TEXT NOT NULL CHECK (role IN ('reference', 'control', 'subject')),
    PRIMARY KEY (ring_id, runner_idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid           TEXT NOT NULL UNIQUE,
    ring_id        INTEGER NOT NULL REFERENCES ring (id) ON DELETE CASCADE,
    number         INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('running', 'accepted', 'discarded', 'lost',
                                                  'failed')),
    nonce_hash     TEXT, -- of the secret a remote node answers with; NULL for the local executor
    executor       TEXT NOT NULL,
    seed           INTEGER NOT NULL, -- of schedule and layout: another one each time
    tape_seed      INTEGER NOT NULL,
    started_us     INTEGER NOT NULL,
    finished_us    INTEGER NOT NULL DEFAULT 0,
    rotations      INTEGER NOT NULL DEFAULT 0,
    slice_ops      INTEGER NOT NULL DEFAULT 0,
    replay_ops     INTEGER NOT NULL DEFAULT 0,
    warm_ops       INTEGER NOT NULL DEFAULT 0,
    cpus           TEXT NOT NULL DEFAULT '', -- CPU of each thread, "0,2,4"
    housekeeping   INTEGER NOT NULL DEFAULT 0 CHECK (housekeeping IN (0, 1)),
    steal_ratio    REAL,
    psi_cpu_ratio  REAL,
    migrations     INTEGER NOT NULL DEFAULT 0,
    discard_reason TEXT NOT NULL DEFAULT '',
    turns_count    INTEGER NOT NULL DEFAULT 0,
    turns          BLOB, -- the order really used, packed
    error_code     TEXT NOT NULL DEFAULT 'none',
    error_message  TEXT NOT NULL DEFAULT '',
    UNIQUE (ring_id, number)
) STRICT;
-- Attempts never merge: at most one runs, and at most one is the ring's last word.
CREATE UNIQUE INDEX attempt_running ON attempt (ring_id) WHERE state = 'running';
CREATE UNIQUE INDEX attempt_final ON attempt (ring_id) WHERE state IN ('accepted', 'failed');

CREATE TABLE trial (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id      INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    attempt_id  INTEGER NOT NULL REFERENCES attempt (id) ON DELETE CASCADE,
    runner_idx  INTEGER NOT NULL,
    cell_id     INTEGER NOT NULL REFERENCES cell (id) ON DELETE CASCADE,
    role        TEXT NOT NULL CHECK (role IN ('reference', 'control', 'subject')),
    subject_id  INTEGER REFERENCES subject (id), -- NULL: identity was never proved
    outcome     TEXT NOT NULL,
    failure     TEXT NOT NULL,
    exit_status INTEGER NOT NULL,
    signal      INTEGER NOT NULL,
    turns_done  INTEGER NOT NULL,
    turns_total INTEGER NOT NULL,
    isolation   INTEGER NOT NULL,
    message     TEXT NOT NULL,
    log         TEXT NOT NULL,
    UNIQUE (attempt_id, runner_idx)
) STRICT;
CREATE INDEX trial_job ON trial (job_id);
CREATE INDEX trial_cell ON trial (cell_id);

CREATE TABLE slices (
    trial_id INTEGER PRIMARY KEY REFERENCES trial (id) ON DELETE CASCADE,
    count    INTEGER NOT NULL,
    data     BLOB NOT NULL -- packed, daemon/store/pack.h
) STRICT;

CREATE TABLE value (
    trial_id  INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    metric_id INTEGER NOT NULL REFERENCES metric (id),
    value     REAL NOT NULL,
    PRIMARY KEY (trial_id, metric_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE vector (
    trial_id  INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    metric_id INTEGER NOT NULL REFERENCES metric (id),
    count     INTEGER NOT NULL,
    data      BLOB NOT NULL, -- little-endian binary64
    PRIMARY KEY (trial_id, metric_id)
) STRICT;

-- Content-addressed: one copy of the same bytes whatever the number of jobs that made them.
CREATE TABLE artefact (
    id         INTEGER PRIMARY KEY,
    sha256     TEXT NOT NULL UNIQUE,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL,
    data       BLOB, -- NULL: kept as a file named by its hash
    created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE job_artefact (
    job_id      INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    trial_id    INTEGER REFERENCES trial (id) ON DELETE CASCADE,
    artefact_id INTEGER NOT NULL REFERENCES artefact (id),
    PRIMARY KEY (job_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_artefact_artefact ON job_artefact (artefact_id);
CREATE INDEX job_artefact_trial ON job_artefact (trial_id) WHERE trial_id IS NOT NULL;

-- One line of history: a cell's metric on one class of host, whatever the build.
CREATE TABLE series (
    id          INTEGER PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE, -- canonical, defaults omitted
    host_id     INTEGER NOT NULL REFERENCES host (id),
    protocol_id INTEGER NOT NULL REFERENCES protocol (id),
    workload    TEXT NOT NULL,
    params_key  TEXT NOT NULL,
    threads     INTEGER NOT NULL,
    pages       TEXT NOT NULL,
    allocator   TEXT NOT NULL,
    options_key TEXT NOT NULL,
    metric_id   INTEGER NOT NULL REFERENCES metric (id)
) STRICT;
CREATE INDEX series_subject ON series (allocator, workload);

-- Clustered: a chart reads one range of one tree.
CREATE TABLE point (
    series_id  INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    time_us    INTEGER NOT NULL,
    job_id     INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    build_id   INTEGER REFERENCES build (id),
    value      REAL NOT NULL,
    low        REAL,
    high       REAL,
    ratio      REAL,
    ratio_low  REAL,
    ratio_high REAL,
    PRIMARY KEY (series_id, time_us, job_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX point_job ON point (job_id);

CREATE TABLE summary (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id        INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    cell_id       INTEGER NOT NULL REFERENCES cell (id) ON DELETE CASCADE,
    metric_id     INTEGER NOT NULL REFERENCES metric (id),
    host_id       INTEGER NOT NULL REFERENCES host (id),
    protocol_id   INTEGER NOT NULL REFERENCES protocol (id),
    build_id      INTEGER REFERENCES build (id),
    count         INTEGER NOT NULL,
    value         REAL,
    low           REAL,
    high          REAL,
    confidence    REAL,
    ratio         REAL,
    ratio_low     REAL,
    ratio_high    REAL,
    noise         REAL,
    null_share    REAL,
    harness_bound INTEGER NOT NULL CHECK (harness_bound IN (0, 1)),
    created_us    INTEGER NOT NULL,
    UNIQUE (cell_id, metric_id)
) STRICT;
CREATE INDEX summary_job ON summary (job_id);

CREATE TABLE token (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    secret_sha256 TEXT NOT NULL UNIQUE,
    scopes        INTEGER NOT NULL,
    created_us    INTEGER NOT NULL,
    expires_us    INTEGER NOT NULL, -- 0: never
    last_used_us  INTEGER NOT NULL DEFAULT 0,
    revoked_us    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE idempotency (
    principal   TEXT NOT NULL,
    key         TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    job_id      INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    created_us  INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_us);
CREATE INDEX idempotency_job ON idempotency (job_id);
