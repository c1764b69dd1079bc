-- Writes or renews the liveness key of an instance, unless the key has another incarnation.
-- KEYS: hub:alive:{instance}, hub:instances, hub:name
-- ARGV: incarnation, TTL of hub:alive and hub:name in milliseconds, instance, TTL of hub:instances in milliseconds,
-- public name of the hub, TTL of the liveness key of an instance that is not idle in milliseconds
-- Returns the incarnation that the key had before, or nil if there was none. Replies with the error OTHERHUB and changes
-- nothing while an instance of another hub is alive on this Redis.
-- MGET returns nothing for a key of another type, which is then replaced.
local values = redis.call('MGET', KEYS[3], KEYS[1])
local name, stored = values[1], values[2]
if name and name ~= ARGV[5] then return redis.error_reply('OTHERHUB') end
if stored and stored ~= ARGV[1] then
    -- It may be that of a previous process with this name, which was idle when it died: its key must not block this one for
    -- longer than any other.
    if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[6]) then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
    return stored
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[2])
-- The instance is in the set since its first heartbeat: others remove it only when its liveness key is gone.
if redis.call('PEXPIRE', KEYS[2], ARGV[4]) == 0 or not stored then
    redis.call('SADD', KEYS[2], ARGV[3])
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return stored
