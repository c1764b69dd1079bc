-- Acquires a lock, unless another client of the account holds it or the account holds too many.
-- KEYS: lock:{name}, hub:locks:{account} (a sorted set: the account's locks by expiry), and the other key under which a lock of
-- the account may be held: earlier versions and instances with another legacy account use it
-- ARGV: lock as JSON, TTL in milliseconds, current time in milliseconds, account, maximum number of the account's locks, maximum
-- TTL of a lock in milliseconds
-- Returns nil if the lock was acquired; 'full' if the account holds too many; otherwise the time in milliseconds at which the
-- current holder's lock expires.
local now = tonumber(ARGV[3])
-- The time at which the lock under a key expires, if a client holds it.
local function heldUntil(key, account)
    local stored = redis.call('GET', key)
    if not stored then return nil end
    -- No program that takes locks writes one without a TTL. It ends with the longest lock.
    if redis.call('PTTL', key) == -1 then redis.call('PEXPIRE', key, ARGV[6]) end
    local isLock, lock = pcall(cjson.decode, stored)
    if not isLock or type(lock) ~= 'table' then lock = {} end
    if account and lock.account ~= account then return nil end
    local expires = tonumber(lock.expires)
    -- The legacy service stores a bare id instead of JSON: such a lock is held until its key expires.
    if not expires then return now + math.max(redis.call('PTTL', key), 1000) end
    return expires > now and expires or nil
end
local held = heldUntil(KEYS[1], nil) or heldUntil(KEYS[3], ARGV[4])
if held then return string.format('%.0f', held) end
-- ZADD fails on a key that is not a sorted set.
if redis.call('TYPE', KEYS[2]).ok ~= 'zset' then redis.call('DEL', KEYS[2]) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZREM', KEYS[2], KEYS[1])
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 'full' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), KEYS[1])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return false
