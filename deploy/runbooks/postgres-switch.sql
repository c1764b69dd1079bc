-- Lets the hub change over to the restored database while it runs. Run by an administrator in the database postgres.
\set ON_ERROR_STOP on

ALTER DATABASE hub ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hub';
ALTER DATABASE hub RENAME TO hub_old;
ALTER DATABASE hub_new RENAME TO hub;
