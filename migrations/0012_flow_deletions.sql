-- outside a transaction: flows_by_deletion
-- Tombstones by age, for their end.
CREATE INDEX CONCURRENTLY IF NOT EXISTS flows_by_deletion ON flows (deleted_at) WHERE deleted_at IS NOT NULL;
