-- Put a fingerprint among the dead letters: its request can never be written as it is. Nothing is forgotten.
--
-- KEYS  1 queue   2 record   3 dead letters (zset: fingerprint → since ms)
-- ARGV  1 fingerprint   2 reason
-- Reply 1 where it is newly dead

sound(KEYS[3], 'zset')
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('HSET', KEYS[2], 'd', ARGV[2])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], PENDING_LIFE * 4)
local added = redis.call('ZADD', KEYS[3], 'NX', now_ms(), ARGV[1])
redis.call('PEXPIRE', KEYS[3], PENDING_LIFE * 4)
return added
