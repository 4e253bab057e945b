-- Confirm what was seen in Kubernetes of a window's members: settle what is covered, and no more.
--
-- KEYS  1 queue
-- ARGV  1, 2 see windows.lua   3 MessagePack: {write interval ms, spread ms, window id, gone, wrote, members}
--         member: {fingerprint, {slot → settled}, open generation, closed generation, released, marked}
-- Reply MessagePack: milliseconds until the next item is due, -1 where the queue is empty
--
-- A member that has an open request of its own, or that the aggregated request cannot take (`released`), leaves the
-- window. With `gone` the aggregated request is closed, deleted or impossible: all that is left leaves.

local interval, spread, id, gone, wrote, members = unpack(cmsgpack.unpack(ARGV[3]))
local now = now_ms()
local turn = turns(KEYS[1], spread, now)
local win = window(id)

for _, member in ipairs(members) do
  local fingerprint, covered, open, closed, released, marked = unpack(member)
  local key = RECORDS .. fingerprint
  local rec = record(key)
  if next(rec) then
    local set = {}
    local function put(field, value)
      set[#set + 1] = field
      set[#set + 1] = value
      rec[field] = tostring(value)
    end
    for slot, settled in pairs(covered) do
      local value, base = number(rec['n:' .. slot]), number(rec['b:' .. slot])
      local reached = math.min(value, settled)
      if reached > base then put('b:' .. slot, string.format('%d', reached)) end
    end
    if closed > number(rec.c) then put('c', string.format('%d', closed)) end
    local here = rec.W == id
    if here then put('m', marked) end
    if here and open > 0 and open > closed then
      put('h', string.format('%d', open))
      if open > number(rec.g) then put('g', string.format('%d', open)) end
    end
    if #set > 0 then redis.call('HSET', key, unpack(set)) end
    if here then
      local chunk = number(rec.K)
      if (open > 0 and open > closed) or released or not win then
        if win then redis.call('HDEL', chunk_key(win, chunk), fingerprint) end
        release(fingerprint, released and '' or (rec.o or ''), now)
      elseif #unsettled(rec) == 0 and not mark_pending(rec) then
        redis.call('HDEL', chunk_key(win, chunk), fingerprint)
        redis.call('PEXPIRE', key, SETTLED_LIFE)
      end
    end
  end
end

if win then
  win.leased, win.attempts, win.due, win.changed = 0, 0, nil, true
  if wrote then win.wrote = now end
  if gone then
    dissolve(win, '', now)
  else
    local last = (win.closed or (win.early and win.storming)) and win.chunk or win.chunk - 1
    for chunk = 0, last do
      if redis.call('EXISTS', chunk_key(win, chunk)) == 1 then
        want_write(win, now, interval, turn)
        break
      end
    end
  end
end
keep_windows(now)
keep_turns(turn)
redis.call('PEXPIRE', KEYS[1], PENDING_LIFE)
return cmsgpack.pack(next_due(KEYS[1], now))
