-- outside a transaction: raw_import_records_in_order
-- An import's rows in their order, also those that have no number.

CREATE INDEX CONCURRENTLY IF NOT EXISTS raw_import_records_in_order
    ON raw_import_records (data_import_id, record_index, created_at, id);
