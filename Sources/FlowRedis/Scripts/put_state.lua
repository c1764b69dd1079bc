-- Caches a flow's state, unless the cached one has a higher epoch, or the same epoch and a higher version.
-- KEYS: flow:state:{flow}, flow:meta:{flow}
-- ARGV: epoch, version, TTL in milliseconds, state, rest of the stored flow (a MAC, then JSON)
-- Returns 1 if the state was cached, otherwise 0.

-- The number of digits and the digits of an epoch's counter, which has no leading zeros: of two counters, the one with
-- more digits is higher.
local function counter(epoch)
    local digits = string.match(epoch, '^(%w+)%.') or ''
    return #digits, digits
end
-- Whether the epoch left is lower than the epoch right.
local function older(left, right)
    local length, digits = counter(left)
    local otherLength, otherDigits = counter(right)
    if length ~= otherLength then return length < otherLength end
    if digits ~= otherDigits then return digits < otherDigits end
    return left < right
end

-- HMGET fails on a key that is not a hash.
if redis.call('TYPE', KEYS[2]).ok ~= 'hash' then redis.call('DEL', KEYS[2]) end
-- What lasts longer than this was written by another program, or with a longer TTL: what it says must not hold for ever.
local ttl = redis.call('PTTL', KEYS[2])
if ttl == -1 or ttl > tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
local stored = redis.call('HMGET', KEYS[2], 'epoch', 'version')
if stored[1] and stored[2] then
    if older(ARGV[1], stored[1]) then return 0 end
    if ARGV[1] == stored[1] and tonumber(ARGV[2]) < tonumber(stored[2]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'version', ARGV[2], 'record', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
