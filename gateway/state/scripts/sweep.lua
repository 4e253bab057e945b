-- Queue the records that have something to write and are in no queue: after an eviction, or a failover to the past.
--
-- KEYS  1 queue   2… records
-- ARGV  one fingerprint a record
-- Reply how many were queued

local now = now_ms()
local mended = 0
for i = 2, #KEYS do
  local rec = record(KEYS[i])
  local fingerprint = ARGV[i - 1]
  if not rec.d and (#unsettled(rec) > 0 or mark_pending(rec)) and not redis.call('ZSCORE', KEYS[1], fingerprint) then
    redis.call('ZADD', KEYS[1], now, fingerprint)
    redis.call('PEXPIRE', KEYS[i], PENDING_LIFE)
    mended = mended + 1
  end
end
redis.call('PEXPIRE', KEYS[1], PENDING_LIFE)
return mended
