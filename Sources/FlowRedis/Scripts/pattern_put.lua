-- Keeps a pattern, unless the key is another account's.
-- KEYS: pattern:mapping:{key}
-- ARGV: account, pattern, milliseconds to live
-- Returns 1 if there was none, 0 if there was one, -1 if it is another account's.
local stored = redis.call('GET', KEYS[1])
if stored then
    local isObject, pattern = pcall(cjson.decode, stored)
    if isObject and type(pattern) == 'table' and pattern.account and pattern.account ~= ARGV[1] then return -1 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return stored and 0 or 1
