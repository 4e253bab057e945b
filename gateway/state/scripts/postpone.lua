-- Put off a claimed item after a failure, or hand back its lease (attempts 0).
--
-- KEYS  1 queue   2 record or window
-- ARGV  1 fingerprint or w:ID   2 delay ms   3 failed attempts so far
-- Reply 1 where it was put off, 0 where it is no longer queued

local at = now_ms() + tonumber(ARGV[2])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], 'XX', at, ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HSET', KEYS[2], 't', ARGV[3])
  if string.sub(ARGV[1], 1, 2) == 'w:' then
    redis.call('HSET', KEYS[2], 'y', string.format('%d', at), 'd', string.format('%d', at))
  end
end
return 1
