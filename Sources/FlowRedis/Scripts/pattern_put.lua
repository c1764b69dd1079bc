-- Stores a mapping pattern, and evicts others of the account's patterns if it then exceeds its limits: first those that
-- expire first.
-- KEYS: pattern:mapping:{name}, hub:pattern:{name}, hub:patterns:{account} (a sorted set: the account's pattern keys by
-- expiry), hub:pattern-bytes:{account} (a hash: the cost of each in bytes, and under an empty name the total)
-- ARGV: pattern key, mapping pattern as JSON, its companion, its cost, TTL in milliseconds, maximum number of the account's
-- patterns, maximum total cost, beginning of the names of the account's patterns
-- Returns the two values that were replaced, if there were some, and the number of evicted patterns.
local index, costs = KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(key)
    local cost = tonumber(redis.call('HGET', costs, key) or '')
    redis.call('ZREM', index, key)
    redis.call('HDEL', costs, key)
    if cost then redis.call('HINCRBY', costs, '', string.format('%.0f', 0 - cost)) end
end
-- The commands below fail on a key of another type.
if redis.call('TYPE', index).ok ~= 'zset' then redis.call('DEL', index) end
if redis.call('TYPE', costs).ok ~= 'hash' then redis.call('DEL', costs) end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', string.format('%.0f', now))) do forget(key) end
forget(ARGV[1])
local evicted = 0
while true do
    local count = redis.call('ZCARD', index)
    -- Without patterns the total is 0. It may differ if Redis has evicted one of the two keys.
    if count == 0 then
        redis.call('DEL', costs)
        break
    end
    local total = tonumber(redis.call('HGET', costs, '') or '0') or 0
    if count < tonumber(ARGV[6]) and total + tonumber(ARGV[4]) <= tonumber(ARGV[7]) then break end
    local oldest = redis.call('ZRANGE', index, 0, 0)[1]
    redis.call('DEL', 'pattern:mapping:' .. ARGV[8] .. oldest, 'hub:pattern:' .. ARGV[8] .. oldest)
    forget(oldest)
    evicted = evicted + 1
end
-- MGET returns nothing for a key of another type.
local replaced = redis.call('MGET', KEYS[1], KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[5])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[5])
redis.call('ZADD', index, string.format('%.0f', now + tonumber(ARGV[5])), ARGV[1])
redis.call('HSET', costs, ARGV[1], ARGV[4])
redis.call('HINCRBY', costs, '', ARGV[4])
for _, key in ipairs({ index, costs }) do
    if redis.call('PTTL', key) < tonumber(ARGV[5]) then redis.call('PEXPIRE', key, ARGV[5]) end
end
return { replaced[1], replaced[2], evicted }
