-- outside a transaction: flows_by_end
-- Finished flows by the time of their last change, for their retention. changed_minute, and not updated_at: see 0001_flows.
CREATE INDEX CONCURRENTLY IF NOT EXISTS flows_by_end ON flows (changed_minute)
WHERE status IN ('completed', 'failed', 'cancelled');
