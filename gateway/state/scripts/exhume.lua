-- Try a dead letter again.
--
-- KEYS  1 queue   2 record   3 dead letters
-- ARGV  1 fingerprint
-- Reply 1 where it is queued again

sound(KEYS[3], 'zset')
redis.call('ZREM', KEYS[3], ARGV[1])
local rec = record(KEYS[2])
if not rec.d then return 0 end
redis.call('HDEL', KEYS[2], 'd', 't')
rec.d = nil
if #unsettled(rec) == 0 and not mark_pending(rec) then return 0 end
redis.call('ZADD', KEYS[1], now_ms(), ARGV[1])
redis.call('PEXPIRE', KEYS[1], PENDING_LIFE)
redis.call('PEXPIRE', KEYS[2], PENDING_LIFE)
return 1
