-- Writes or renews the liveness key of an instance, unless the key has another incarnation.
-- KEYS: hub:alive:{instance}, hub:instances, hub:name
-- ARGV: incarnation, TTL of hub:alive and hub:name in milliseconds, instance, TTL of hub:instances in milliseconds,
-- public name of the hub
-- Returns the incarnation that the key had before, or nil if there was none. Replies with the error OTHERHUB and changes
-- nothing while an instance of another hub is alive on this Redis.
local name = redis.call('GET', KEYS[3])
if name and name ~= ARGV[5] then return redis.error_reply('OTHERHUB') end
local stored = redis.call('GET', KEYS[1])
if stored and stored ~= ARGV[1] then return stored end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return stored
