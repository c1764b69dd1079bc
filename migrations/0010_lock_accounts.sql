-- outside a transaction: hub_locks_by_account
-- The locks that an account holds, to count them.

CREATE INDEX CONCURRENTLY IF NOT EXISTS hub_locks_by_account ON hub_locks (account, expires_at);
