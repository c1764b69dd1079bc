-- Stores a transient event as the latest one of its type in a flow. If the flow then has events of more types than
-- allowed, removes the oldest of the other events.
-- KEYS: flow:last:{flow}
-- ARGV: event type, event (a MAC of 32 bytes, then JSON), TTL in milliseconds, maximum number of types
-- Returns 1.

-- HSET fails on a key that is not a hash.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
if redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 1 and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
    local fields = redis.call('HGETALL', KEYS[1])
    local oldest, at
    for index = 1, #fields, 2 do
        local isJSON, event = pcall(cjson.decode, string.sub(fields[index + 1], 33))
        local moment = isJSON and type(event) == 'table' and tonumber(event.at) or 0
        if fields[index] ~= ARGV[1] and (not at or moment < at) then oldest, at = fields[index], moment end
    end
    if oldest then redis.call('HDEL', KEYS[1], oldest) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
