-- outside a transaction: idx_raw_import_sample
-- The table may be large and in use, so its index is built beside it.

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_raw_import_sample ON raw_import_records (data_import_id, is_sample);
