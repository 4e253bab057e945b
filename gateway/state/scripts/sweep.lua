-- Queue the records that have something to write and are in no queue: after an eviction, or a failover to the past.
--
-- KEYS  1 queue   2… records
-- ARGV  1, 2 see windows.lua   3… one fingerprint a record
-- Reply how many were queued
--
-- A member of a window goes back to those that its window writes; where the window is gone, it gets a request of its
-- own.

local now = now_ms()
sound(ROOT .. 'dead', 'zset')
sound(KEYS[1], 'zset')
local mended = 0
for i = 2, #KEYS do
  local key, fingerprint = KEYS[i], ARGV[i + 1]
  local rec = record(key)
  if not rec.d and (#unsettled(rec) > 0 or mark_pending(rec)) then
    local win = rec.W and window(rec.W)
    if win then
      local chunk = number(rec.K)
      local mends = pend(win, chunk, fingerprint, rec.f or '')
      if (win.closed or chunk < win.chunk) and not win.due and (mends or win.leased <= now) then
        win.due, win.changed, mends = now, true, true
      end
      if mends then mended = mended + 1 end
      win.changed = win.changed or not redis.call('ZSCORE', KEYS[1], 'w:' .. win.id)
    elseif rec.W then
      if release(fingerprint, 'recovery', now) then mended = mended + 1 end
    elseif not redis.call('ZSCORE', KEYS[1], fingerprint) then
      redis.call('ZADD', KEYS[1], now, fingerprint)
      redis.call('PEXPIRE', key, PENDING_LIFE)
      mended = mended + 1
    end
  end
end
keep_windows(now)
redis.call('PEXPIRE', KEYS[1], PENDING_LIFE)
return mended
