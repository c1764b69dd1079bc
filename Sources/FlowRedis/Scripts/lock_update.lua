-- Sets the fencing token of a lock that the caller holds, renews the lock, or releases it.
-- KEYS: lock:{resource}
-- ARGV: lock id, account, current time in milliseconds, operation, value, text, TTL in milliseconds. The operation is
-- 'number' (value: the fencing token), 'renew' (value: the new expiry in milliseconds, text: the same as text), or
-- 'release' (no value and text).
-- Returns the fencing token and the expiry in milliseconds; 'none' if the lock is not held; 'other' if another client
-- holds it.
local stored = redis.call('GET', KEYS[1])
if not stored then return 'none' end
local isLock, lock = pcall(cjson.decode, stored)
if not isLock or type(lock) ~= 'table' or not tonumber(lock.expires) then return 'other' end
if lock.expires <= tonumber(ARGV[3]) then return 'none' end
if lock.lock_id ~= ARGV[1] or lock.account ~= ARGV[2] then return 'other' end
if ARGV[4] == 'number' then
    lock.fencing_token = tonumber(ARGV[5])
    redis.call('SET', KEYS[1], cjson.encode(lock), 'PX', ARGV[7])
elseif lock.fencing_token == 0 then
    -- The lock is still being acquired: no client knows its id yet.
    return 'other'
elseif ARGV[4] == 'renew' then
    lock.expires = tonumber(ARGV[5])
    lock.expires_at = ARGV[6]
    redis.call('SET', KEYS[1], cjson.encode(lock), 'PX', ARGV[7])
else
    redis.call('DEL', KEYS[1])
end
return { string.format('%.0f', lock.fencing_token), string.format('%.0f', lock.expires) }
