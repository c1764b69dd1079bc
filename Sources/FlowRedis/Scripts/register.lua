-- Adds and removes registry entries of an instance's streams, if the instance is alive under this incarnation.
-- KEYS: hub:alive:{instance}, hub:flows:{instance}, then hub:connections:{flow} for each change
-- ARGV: incarnation, TTL in milliseconds, then for each change: + to add or - to remove, flow, stream id, entry as JSON,
-- number of the instance's streams that watch the flow, field and number of those of the entry's account
-- Returns 1 if the changes were made, 0 if Redis does not have this incarnation.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
-- HSET fails on a key of another type.
local function deleteOther(key)
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
end
deleteOther(KEYS[2])
local argIndex = 3
for index = 3, #KEYS do
    local key, flow, id = KEYS[index], ARGV[argIndex + 1], ARGV[argIndex + 2]
    deleteOther(key)
    if ARGV[argIndex] == '+' then
        redis.call('HSET', key, id, ARGV[argIndex + 3])
        redis.call('PEXPIRE', key, ARGV[2])
    else
        redis.call('HDEL', key, id)
    end
    -- The number is set, not incremented: if another program changes the key, the next write corrects it.
    if ARGV[argIndex + 4] == '0' then
        redis.call('HDEL', KEYS[2], flow)
    else
        redis.call('HSET', KEYS[2], flow, ARGV[argIndex + 4])
    end
    if ARGV[argIndex + 6] == '0' then
        redis.call('HDEL', KEYS[2], ARGV[argIndex + 5])
    else
        redis.call('HSET', KEYS[2], ARGV[argIndex + 5], ARGV[argIndex + 6])
    end
    argIndex = argIndex + 7
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
