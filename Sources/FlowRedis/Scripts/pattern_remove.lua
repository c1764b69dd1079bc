-- Removes a mapping pattern of an account.
-- KEYS: pattern:mapping:{name}, hub:patterns:{account}, hub:pattern-bytes:{account}
-- ARGV: pattern key
-- Returns 1 if the pattern was removed, 0 if there is none.
if redis.call('TYPE', KEYS[2]).ok == 'zset' then redis.call('ZREM', KEYS[2], ARGV[1]) end
if redis.call('TYPE', KEYS[3]).ok == 'hash' then
    local cost = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '')
    if cost then redis.call('HINCRBY', KEYS[3], '', string.format('%.0f', 0 - cost)) end
    redis.call('HDEL', KEYS[3], ARGV[1])
end
return redis.call('DEL', KEYS[1])
