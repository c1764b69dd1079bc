-- Checks that the registry has an instance's streams.
-- KEYS: hub:connections:{flow} for each flow
-- ARGV: for each flow the id of one of the instance's streams
-- Returns 1 if each flow's hash has the stream, otherwise 0.
for index, key in ipairs(KEYS) do
    if redis.call('TYPE', key).ok ~= 'hash' or redis.call('HEXISTS', key, ARGV[index]) == 0 then return 0 end
end
return 1
