-- outside a transaction: data_imports_by_location
-- Which import an object belongs to.

CREATE INDEX CONCURRENTLY IF NOT EXISTS data_imports_by_location ON data_imports (storage_location)
WHERE storage_location IS NOT NULL;
