-- Writes what became of an instance's connections, if the instance is alive under this boot.
-- KEYS: hub:alive:{i}, hub:flows:{i}, then sse:connections:{flow} for each change
-- ARGV: boot, milliseconds to live, then for each change: + or -, flow, connection, entry, how many the instance has of the flow
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local argIndex = 3
for index = 3, #KEYS do
    local key, flow, id = KEYS[index], ARGV[argIndex + 1], ARGV[argIndex + 2]
    -- The seed kept one JSON string for all connections of a flow.
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
    if ARGV[argIndex] == '+' then
        redis.call('HSET', key, id, ARGV[argIndex + 3])
        redis.call('PEXPIRE', key, ARGV[2])
    else
        redis.call('HDEL', key, id)
    end
    -- Told, not counted up: whoever else writes the key would make it wrong for good.
    if ARGV[argIndex + 4] == '0' then
        redis.call('HDEL', KEYS[2], flow)
    else
        redis.call('HSET', KEYS[2], flow, ARGV[argIndex + 4])
    end
    argIndex = argIndex + 5
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
