-- Says that an instance is alive.
-- KEYS: hub:alive:{i}, hub:instances, hub:name
-- ARGV: boot, milliseconds to live, instance, milliseconds that the list lives, name of the hub
-- Returns the boot that the key had; nothing if it was gone. An instance of another hub is refused while this one lives.
local name = redis.call('GET', KEYS[3])
if name and name ~= ARGV[5] then return redis.error_reply('OTHERHUB') end
local stored = redis.call('GET', KEYS[1])
if stored and stored ~= ARGV[1] then return stored end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return stored
