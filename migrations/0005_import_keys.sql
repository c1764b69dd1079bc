-- outside a transaction: data_imports_by_key
-- One import for each idempotency key of an account.

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS data_imports_by_key ON data_imports (account, idempotency_key)
WHERE idempotency_key IS NOT NULL;
