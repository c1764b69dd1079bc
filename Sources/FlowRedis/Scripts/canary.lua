-- Publishes an instance's canary, a message to itself. Also writes a key, so that a replica, which would accept PUBLISH
-- alone, rejects the script.
-- KEYS: hub:canary:{instance}
-- ARGV: canary, TTL in milliseconds
-- Returns the number of clients that received the canary.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('PUBLISH', KEYS[1], ARGV[1])
