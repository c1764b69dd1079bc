-- Sets the fencing token of a lock that the caller holds, renews the lock, or releases it.
-- KEYS: lock:{name}, hub:locks:{account} (a sorted set: the account's locks by expiry), and the other key under which a lock of
-- the account may be held: earlier versions and instances with another legacy account use it
-- ARGV: lock id, account, current time in milliseconds, operation, value, text, TTL in milliseconds, maximum TTL of a
-- lock in milliseconds. The operation is
-- 'number' (value: the fencing token, text: its MAC), 'renew' (value: the new expiry in milliseconds, text: the same as
-- text), or 'release' (no value and text).
-- Returns the fencing token, the expiry in milliseconds and the MAC; 'none' if the lock is not held; 'other' if another
-- client holds it.
local now = tonumber(ARGV[3])
local key = KEYS[1]
local stored = redis.call('GET', key)
if not stored then
    key = KEYS[3]
    stored = redis.call('GET', key)
end
if not stored then return 'none' end
local isLock, lock = pcall(cjson.decode, stored)
if not isLock or type(lock) ~= 'table' then lock = {} end
if key ~= KEYS[1] and lock.account ~= ARGV[2] then return 'none' end
local expires, token = tonumber(lock.expires), lock.fencing_token
if not expires or not tonumber(token) then return 'other' end
-- A string, as this script stores it: not every token fits into Lua's numbers.
if type(token) == 'number' then token = string.format('%.0f', token) end
if expires <= now then return 'none' end
if lock.lock_id ~= ARGV[1] or lock.account ~= ARGV[2] then return 'other' end
if ARGV[4] == 'number' then
    token = ARGV[5]
    lock.mac = ARGV[6]
elseif token == '0' then
    -- The lock is still being acquired: no client knows its id yet.
    return 'other'
elseif ARGV[4] == 'renew' then
    expires = tonumber(ARGV[5])
    lock.expires_at = ARGV[6]
end
if redis.call('TYPE', KEYS[2]).ok ~= 'zset' then redis.call('DEL', KEYS[2]) end
if ARGV[4] == 'release' then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2], key)
else
    lock.expires, lock.fencing_token = expires, token
    redis.call('SET', key, cjson.encode(lock), 'PX', ARGV[7])
    redis.call('ZADD', KEYS[2], string.format('%.0f', expires), key)
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
end
return { token, string.format('%.0f', expires), type(lock.mac) == 'string' and lock.mac or '' }
