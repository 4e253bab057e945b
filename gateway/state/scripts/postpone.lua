-- Put off a claimed item after a failure, or hand back its lease (attempts 0).
--
-- KEYS  1 queue   2 record
-- ARGV  1 fingerprint   2 delay ms   3 failed attempts so far
-- Reply 1 where it was put off, 0 where it is no longer queued

local now = now_ms()
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[2]), ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 't', ARGV[3]) end
return 1
