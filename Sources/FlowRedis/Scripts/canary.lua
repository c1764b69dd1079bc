-- Publishes an instance's canary. It also writes a key, so that a read-only server rejects it: a replica would accept
-- PUBLISH.
-- KEYS: hub:canary:{instance}
-- ARGV: canary, TTL in milliseconds
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('PUBLISH', KEYS[1], ARGV[1])
