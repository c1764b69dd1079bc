-- outside a transaction: data_imports_open
-- What somebody has still to look after.

CREATE INDEX CONCURRENTLY IF NOT EXISTS data_imports_open ON data_imports (updated_at)
WHERE status IN ('pending', 'deleting') OR (account IS NOT NULL AND announced_at IS NULL);
