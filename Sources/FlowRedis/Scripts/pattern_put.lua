-- Stores a mapping pattern, unless the key belongs to another account.
-- KEYS: pattern:mapping:{key}
-- ARGV: account, pattern as JSON with its account, TTL in milliseconds
-- Returns 1 if the key is new, 0 if a value was replaced, -1 if the key belongs to another account; then it is unchanged.
local stored = redis.call('GET', KEYS[1])
if stored then
    local isObject, pattern = pcall(cjson.decode, stored)
    if isObject and type(pattern) == 'table' and pattern.account and pattern.account ~= ARGV[1] then return -1 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return stored and 0 or 1
