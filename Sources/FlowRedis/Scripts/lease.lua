-- Acquires or renews a lease that at most one instance holds at a time.
-- KEYS: the lease's key, such as hub:apply
-- ARGV: instance, TTL in milliseconds
-- Returns 1 if the instance holds the lease, otherwise 0.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
