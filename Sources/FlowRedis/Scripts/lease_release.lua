-- Gives a lease back, if the caller holds it.
-- KEYS: the lease's key, such as hub:apply
-- ARGV: holder
-- Returns 1 if the caller held the lease, otherwise 0.
-- MGET returns nothing for a key of another type.
if redis.call('MGET', KEYS[1])[1] ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
