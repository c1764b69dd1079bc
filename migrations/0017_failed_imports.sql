-- outside a transaction: data_imports_failed
-- Failed imports by the time of their failure, for their retention.
CREATE INDEX CONCURRENTLY IF NOT EXISTS data_imports_failed ON data_imports (updated_at) WHERE status = 'failed';
