-- Publishes an instance's canary. It writes, too: a server that only reads refuses it, though it would publish to itself.
-- KEYS: hub:canary:{i}
-- ARGV: canary, milliseconds to live
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('PUBLISH', KEYS[1], ARGV[1])
