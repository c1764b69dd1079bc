-- Removes a mapping pattern of an account.
-- KEYS: pattern:mapping:{name}, hub:pattern:{name}, hub:patterns:{account}, hub:pattern-bytes:{account}
-- ARGV: pattern key
-- Returns 1 if the pattern was removed, 0 if there is none.
if redis.call('TYPE', KEYS[3]).ok == 'zset' then redis.call('ZREM', KEYS[3], ARGV[1]) end
if redis.call('TYPE', KEYS[4]).ok == 'hash' then
    local cost = tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or '')
    if cost then redis.call('HINCRBY', KEYS[4], '', string.format('%.0f', 0 - cost)) end
    redis.call('HDEL', KEYS[4], ARGV[1])
end
redis.call('DEL', KEYS[2])
return redis.call('DEL', KEYS[1])
