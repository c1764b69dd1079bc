-- Flows, their events, and what belongs to them. Times are UTC. Ids sort by their bytes, as the hub sorts them.

CREATE TABLE hub_meta (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    -- Made with the schema; it survives a restore.
    hub_id text NOT NULL,
    -- The name of this history: <counter>.<random>.
    epoch text NOT NULL,
    -- The server's timeline when the epoch was given: a promoted standby has another one.
    timeline text NOT NULL
);

INSERT INTO hub_meta (hub_id, epoch, timeline)
VALUES (
    replace(gen_random_uuid()::text, '-', ''),
    -- The hub names its histories in base 36; the first one is raised to such a name when a hub first opens the store.
    '1.' || substr(md5(gen_random_uuid()::text), 1, 6),
    left(pg_walfile_name(pg_current_wal_lsn()), 8)
);

CREATE SEQUENCE hub_fencing;

CREATE TABLE flows (
    id text COLLATE "C" PRIMARY KEY,
    client_account_id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    version bigint NOT NULL,
    reset_version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- Of updated_at, minutes since 1970. Indexed in its place: an update that changes no indexed column touches no index.
    changed_minute bigint NOT NULL,
    deleted_at timestamptz,
    -- json, not jsonb: the text comes back as it was written.
    fence json NOT NULL,
    state json NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX flows_by_account ON flows (client_account_id, id);
CREATE INDEX flows_by_change ON flows (client_account_id, changed_minute);

CREATE TABLE flow_events (
    flow_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    created_at timestamptz NOT NULL,
    payload json NOT NULL,
    PRIMARY KEY (flow_id, version)
);

CREATE INDEX flow_events_by_age ON flow_events (created_at);

-- What was committed and may not have been published yet. Empty while no bus reaches other instances.
CREATE TABLE flow_outbox (
    flow_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (flow_id, version)
) WITH (autovacuum_vacuum_scale_factor = 0.01);

CREATE INDEX flow_outbox_by_age ON flow_outbox (created_at);

-- Answers to idempotency keys.
CREATE TABLE idempotency (
    account text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    status bigint NOT NULL,
    flow_id text NOT NULL,
    versions text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account, key)
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE revocations (
    account text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    not_before bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account, subject)
);

-- Locks of a hub without Redis. The fencing number is from hub_fencing.
CREATE TABLE hub_locks (
    resource text COLLATE "C" PRIMARY KEY,
    account text NOT NULL,
    lock_id text NOT NULL,
    fencing_token bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX hub_locks_by_expiry ON hub_locks (expires_at);
