-- Updates or releases a lock that the caller holds.
-- KEYS: lock:{resource}
-- ARGV: lock id, account, current time in milliseconds, operation (number, renew, release), fencing token or new expiry
-- in milliseconds, new expiry as text, TTL in milliseconds
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
    return 'other'
elseif ARGV[4] == 'renew' then
    lock.expires = tonumber(ARGV[5])
    lock.expires_at = ARGV[6]
    redis.call('SET', KEYS[1], cjson.encode(lock), 'PX', ARGV[7])
else
    redis.call('DEL', KEYS[1])
end
return { string.format('%.0f', lock.fencing_token), string.format('%.0f', lock.expires) }
