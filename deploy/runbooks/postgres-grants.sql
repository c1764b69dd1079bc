-- Gives the hub's user what it needs if another user owns the schema. Run by that user in the hub's database, after a
-- migration and after each further one.
\set ON_ERROR_STOP on

GRANT SELECT, UPDATE ON hub_meta TO hub;
GRANT SELECT, INSERT, UPDATE, DELETE ON account_usage, ended_versions, flows, flow_events, flow_outbox, idempotency,
    revocations, hub_locks, hub_tasks, data_imports, raw_import_records TO hub;
GRANT SELECT ON schema_migrations TO hub;
GRANT USAGE, UPDATE ON SEQUENCE hub_fencing TO hub;
-- Tables of the legacy service have a sequence.
SELECT format('GRANT USAGE ON SEQUENCE %s TO hub', s) FROM pg_get_serial_sequence('raw_import_records', 'id') s
    WHERE s IS NOT NULL \gexec
