-- Removes the liveness key of an instance, when it stops or replaces its incarnation.
-- KEYS: hub:alive:{instance}
-- ARGV: incarnation
-- Returns 1 if the key was removed, 0 if it is missing or has another incarnation.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
