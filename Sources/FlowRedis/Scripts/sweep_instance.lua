-- Removes an instance's entries from the given flows, unless the instance is alive.
-- KEYS: hub:alive:{instance}, hub:flows:{instance}, hub:instances, then hub:connections:{flow} and sse:connections:{flow} for each
-- flow; the latter has the hash of an instance with an earlier version
-- ARGV: instance, then for each flow the field of hub:flows:{instance} to remove
-- Returns 0 if the instance is alive, otherwise 1.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
-- Another program may have written keys of another type.
local function hasType(key, expected)
    local kind = redis.call('TYPE', key).ok
    if kind ~= expected and kind ~= 'none' then redis.call('DEL', key) end
    return kind == expected
end
local prefix = ARGV[1] .. '.'
for index = 4, #KEYS do
    if redis.call('TYPE', KEYS[index]).ok == 'hash' then
        local ids = {}
        for _, id in ipairs(redis.call('HKEYS', KEYS[index])) do
            -- An id is instance.number. The instance may contain dots, the number does not.
            if string.sub(id, 1, #prefix) == prefix and not string.find(id, '.', #prefix + 1, true) then ids[#ids + 1] = id end
            -- In batches, because Lua limits the number of arguments of a call.
            if #ids == 1000 then
                redis.call('HDEL', KEYS[index], unpack(ids))
                ids = {}
            end
        end
        if #ids > 0 then redis.call('HDEL', KEYS[index], unpack(ids)) end
    end
end
if hasType(KEYS[2], 'hash') then
    for index = 2, #ARGV do redis.call('HDEL', KEYS[2], ARGV[index]) end
end
if redis.call('EXISTS', KEYS[2]) == 0 and hasType(KEYS[3], 'set') then redis.call('SREM', KEYS[3], ARGV[1]) end
return 1
