-- An instance says goodbye.
-- KEYS: hub:alive:{i}
-- ARGV: boot
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
