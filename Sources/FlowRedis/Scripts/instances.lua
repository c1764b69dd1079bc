-- Reads the names of instances. Another program may have written any number of them, of any length.
-- KEYS: hub:instances
-- ARGV: maximum number, maximum length in bytes
-- Returns the names; if there are more than the maximum, a random selection of them.
local names = {}
if redis.call('TYPE', KEYS[1]).ok ~= 'set' then return names end
for _, name in ipairs(redis.call('SRANDMEMBER', KEYS[1], ARGV[1])) do
    if #name <= tonumber(ARGV[2]) then names[#names + 1] = name end
end
return names
