-- What each account stores, for its limits. A server process has rows of its own, so that writers never wait for each other;
-- an account's usage is the sum of its rows. Pruning adds the rows of ended processes to the row of writer 0.
CREATE TABLE IF NOT EXISTS account_usage (
    account text COLLATE "C" NOT NULL,
    writer integer NOT NULL,
    flows bigint NOT NULL DEFAULT 0,
    ids bigint NOT NULL DEFAULT 0,
    state_bytes bigint NOT NULL DEFAULT 0,
    history_bytes bigint NOT NULL DEFAULT 0,
    revocations bigint NOT NULL DEFAULT 0,
    imports bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account, writer)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- Groups of flow ids with the highest version of a tombstone in the group that has ended. 65,536 groups at most.
CREATE TABLE IF NOT EXISTS ended_versions (bucket integer PRIMARY KEY, version bigint NOT NULL);

-- What is counted of a flow and of an event. A row without it was written by an earlier release and is not counted; a flow is
-- counted from its next change on.
ALTER TABLE flows
    ADD COLUMN IF NOT EXISTS stored_bytes bigint,
    ADD COLUMN IF NOT EXISTS counted_live boolean;
ALTER TABLE flow_events ADD COLUMN IF NOT EXISTS stored_bytes bigint;

-- Events are also deleted by instances of an earlier release, and revocations and imports changed by them.
CREATE OR REPLACE FUNCTION hub_events_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_usage AS u (account, writer, history_bytes)
    SELECT f.client_account_id, pg_backend_pid(), -sum(g.stored_bytes)
    FROM gone g JOIN flows f ON f.id = g.flow_id WHERE g.stored_bytes IS NOT NULL GROUP BY 1 ORDER BY 1
    ON CONFLICT (account, writer) DO UPDATE SET history_bytes = u.history_bytes + excluded.history_bytes;
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS hub_events_deleted ON flow_events;
CREATE TRIGGER hub_events_deleted AFTER DELETE ON flow_events
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hub_events_deleted();

CREATE OR REPLACE FUNCTION hub_revocations_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_usage AS u (account, writer, revocations)
    SELECT account, pg_backend_pid(), CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed GROUP BY 1 ORDER BY 1
    ON CONFLICT (account, writer) DO UPDATE SET revocations = u.revocations + excluded.revocations;
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS hub_revocations_inserted ON revocations;
DROP TRIGGER IF EXISTS hub_revocations_deleted ON revocations;
CREATE TRIGGER hub_revocations_inserted AFTER INSERT ON revocations
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION hub_revocations_changed();
CREATE TRIGGER hub_revocations_deleted AFTER DELETE ON revocations
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION hub_revocations_changed();
CREATE INDEX IF NOT EXISTS revocations_by_time ON revocations (not_before);

CREATE OR REPLACE FUNCTION hub_imports_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_usage AS u (account, writer, imports)
    SELECT coalesce(account, client_account_id::text), pg_backend_pid(),
        CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed WHERE coalesce(account, client_account_id::text) IS NOT NULL GROUP BY 1 ORDER BY 1
    ON CONFLICT (account, writer) DO UPDATE SET imports = u.imports + excluded.imports;
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS hub_imports_inserted ON data_imports;
DROP TRIGGER IF EXISTS hub_imports_deleted ON data_imports;
CREATE TRIGGER hub_imports_inserted AFTER INSERT ON data_imports
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION hub_imports_changed();
CREATE TRIGGER hub_imports_deleted AFTER DELETE ON data_imports
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION hub_imports_changed();

-- The triggers' locks keep these tables from changing until the end of this transaction.
INSERT INTO account_usage (account, writer, revocations, imports)
SELECT account, 0, sum(revocations), sum(imports) FROM (
    SELECT account, count(*) AS revocations, 0 AS imports FROM revocations GROUP BY 1
    UNION ALL
    SELECT coalesce(account, client_account_id::text), 0, count(*) FROM data_imports
    WHERE coalesce(account, client_account_id::text) IS NOT NULL GROUP BY 1
) counted GROUP BY 1
ON CONFLICT (account, writer) DO NOTHING;
