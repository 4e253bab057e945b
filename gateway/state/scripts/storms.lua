-- List the windows that collect, and mend them on the way: one that is in no queue is queued, a name without a window
-- is forgotten.
--
-- KEYS  1 queue
-- ARGV  1, 2 see windows.lua   3 first   4 last, of the windows by their end
-- Reply MessagePack: {now ms, how many were mended, windows}
--         window: {id, group, storming, opened, last new member, ends, members, threshold, spilled chunks}

local now = now_ms()
local mended, found = 0, {}
sound(KEYS[1], 'zset')
sound(WINDOWS, 'zset')
for _, id in ipairs(redis.call('ZRANGE', WINDOWS, ARGV[3], ARGV[4])) do
  local win = window(id)
  if not win or win.closed then
    redis.call('ZREM', WINDOWS, id)
  else
    if not redis.call('ZSCORE', KEYS[1], 'w:' .. id) then
      win.leased, win.changed = 0, true
      mended = mended + 1
    end
    found[#found + 1] = {id, win.group, win.storming, win.opened, win.last, win.ends, win.members, win.threshold,
                         win.chunk}
  end
end
keep_windows(now)
return cmsgpack.pack({now, mended, found})
