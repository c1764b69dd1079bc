-- Removes the liveness key of an instance that stops.
-- KEYS: hub:alive:{instance}
-- ARGV: incarnation
-- Returns 1 if the key was removed, or 0 if there is none of this incarnation.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
