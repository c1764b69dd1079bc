-- Acquires or renews a lease that at most one instance holds at a time.
-- KEYS: the lease's key, such as hub:apply
-- ARGV: holder, TTL in milliseconds, a holder that is dead (or an empty string)
-- Returns the holder.
-- MGET returns nothing for a key of another type, which is then replaced.
local holder = redis.call('MGET', KEYS[1])[1]
if holder and holder ~= ARGV[1] and holder ~= ARGV[3] then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
