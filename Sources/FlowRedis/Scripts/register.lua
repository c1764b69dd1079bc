-- Writes what became of an instance's connections, if the instance is alive under this boot.
-- KEYS: hub:alive:{i}, hub:flows:{i}, then sse:connections:{flow} for each change
-- ARGV: boot, milliseconds to live, then for each change: + or -, flow, connection, entry
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local place = 3
for index = 3, #KEYS do
    local key, flow, id = KEYS[index], ARGV[place + 1], ARGV[place + 2]
    -- The seed kept one JSON string for all connections of a flow.
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
    if ARGV[place] == '+' then
        if redis.call('HSET', key, id, ARGV[place + 3]) == 1 then redis.call('HINCRBY', KEYS[2], flow, 1) end
        redis.call('PEXPIRE', key, ARGV[2])
    elseif redis.call('HDEL', key, id) == 1 then
        if redis.call('HINCRBY', KEYS[2], flow, -1) <= 0 then redis.call('HDEL', KEYS[2], flow) end
    end
    place = place + 4
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
