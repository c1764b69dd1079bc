-- Tasks that run at intervals, on one instance at a time. An instance that runs one has a lease, which it extends.
CREATE TABLE IF NOT EXISTS hub_tasks (
    name text COLLATE "C" PRIMARY KEY,
    -- Number of the last run that was begun. A run whose number is lower has lost its lease.
    run bigint NOT NULL,
    instance text NOT NULL,
    begun_at timestamptz NOT NULL,
    -- NULL: the run has ended. In the past: it was interrupted.
    leased_until timestamptz,
    -- Of the last run that ended.
    ended_at timestamptz,
    milliseconds bigint,
    problems bigint,
    failure text
);
