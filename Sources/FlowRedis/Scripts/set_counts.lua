-- Puts an instance's counts right, if it is alive under this boot.
-- KEYS: hub:alive:{i}, hub:flows:{i}
-- ARGV: boot, milliseconds to live, 1 to begin at nothing, then flow and count for each
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '1' then redis.call('DEL', KEYS[2]) end
for index = 4, #ARGV - 1, 2 do redis.call('HSET', KEYS[2], ARGV[index], ARGV[index + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
