-- Takes or keeps a lease that one instance has at a time.
-- KEYS: the lease
-- ARGV: instance, milliseconds to live
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
