-- Removes a mapping pattern of an account.
-- KEYS: pattern:mapping:{key}
-- ARGV: account
-- Returns 1 if the pattern was removed, 0 if there is none or it belongs to another account.
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local isObject, pattern = pcall(cjson.decode, stored)
if not isObject or type(pattern) ~= 'table' or pattern.account ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
