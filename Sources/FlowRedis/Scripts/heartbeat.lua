-- Writes or renews the liveness key of an instance, unless the key has another incarnation.
-- KEYS: hub:alive:{instance}, hub:instances, hub:name
-- ARGV: incarnation, TTL of hub:alive in milliseconds, which hub:name has at least, instance, TTL of hub:instances in milliseconds,
-- public name of the hub, TTL of the liveness key of an instance that is not idle in milliseconds, maximum TTL of hub:alive and
-- hub:name in milliseconds
-- Returns the incarnation that the key had before, or nil if there was none. Replies with the error OTHERHUB and changes
-- nothing while an instance of another hub is alive on this Redis.

-- Whether a live instance may have written the key: others last longer, or for ever, and are replaced.
local function isLive(key)
    local ttl = redis.call('PTTL', key)
    return ttl >= 0 and ttl <= tonumber(ARGV[7])
end
-- MGET returns nothing for a key of another type, which is then replaced.
local values = redis.call('MGET', KEYS[3], KEYS[1])
local name, stored = values[1], values[2]
if name and name ~= ARGV[5] and isLive(KEYS[3]) then return redis.error_reply('OTHERHUB') end
if stored and stored ~= ARGV[1] then
    if isLive(KEYS[1]) then
        -- It may be that of a previous process with this name, which was idle when it died: its key must not block this one for
        -- longer than any other.
        if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[6]) then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
        return string.sub(stored, 1, 64)
    end
    stored = false
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
-- An idle instance sends its next heartbeat late: one that is not idle must not let the common name expire before. Among idle ones
-- the last one decides, since commands are what they save.
local nameTTL = tonumber(ARGV[2])
if name == ARGV[5] and nameTTL <= tonumber(ARGV[6]) then
    nameTTL = math.max(nameTTL, math.min(redis.call('PTTL', KEYS[3]), tonumber(ARGV[7])))
end
redis.call('SET', KEYS[3], ARGV[5], 'PX', nameTTL)
-- An error reply: another program has written a key of another type.
local member = redis.pcall('SISMEMBER', KEYS[2], ARGV[3])
if type(member) == 'table' then redis.call('DEL', KEYS[2]) end
if member ~= 1 then redis.call('SADD', KEYS[2], ARGV[3]) end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return stored
