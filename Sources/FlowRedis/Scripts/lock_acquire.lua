-- Takes a lock that nobody holds.
-- KEYS: lock:{resource}
-- ARGV: the lock as JSON, milliseconds to live, now in milliseconds
-- Returns nothing, or when the holder's time is over.
local stored = redis.call('GET', KEYS[1])
if stored then
    local isLock, lock = pcall(cjson.decode, stored)
    local expires = isLock and type(lock) == 'table' and tonumber(lock.expires)
    -- What the seed's service wrote is a bare id: it holds for as long as its key lives.
    if not expires then
        local remaining = redis.call('PTTL', KEYS[1])
        return string.format('%.0f', tonumber(ARGV[3]) + math.max(remaining, 1000))
    end
    if expires > tonumber(ARGV[3]) then return string.format('%.0f', expires) end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
