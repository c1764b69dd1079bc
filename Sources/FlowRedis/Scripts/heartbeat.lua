-- Says that an instance is alive.
-- KEYS: hub:alive:{i}, hub:instances
-- ARGV: boot, milliseconds to live, instance, milliseconds that the list lives
-- Returns the boot that the key had; nothing if it was gone.
local there = redis.call('GET', KEYS[1])
if there and there ~= ARGV[1] then return there end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return there
