-- Acquires a lock, unless another client holds it.
-- KEYS: lock:{resource}
-- ARGV: lock as JSON, TTL in milliseconds, current time in milliseconds
-- Returns nil if the lock was acquired, otherwise the time in milliseconds at which the current holder's lock expires.
local stored = redis.call('GET', KEYS[1])
if stored then
    local isLock, lock = pcall(cjson.decode, stored)
    local expires = isLock and type(lock) == 'table' and tonumber(lock.expires)
    -- The legacy service stores a bare id instead of JSON: such a lock is held until its key expires.
    if not expires then
        local remaining = redis.call('PTTL', KEYS[1])
        return string.format('%.0f', tonumber(ARGV[3]) + math.max(remaining, 1000))
    end
    if expires > tonumber(ARGV[3]) then return string.format('%.0f', expires) end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
