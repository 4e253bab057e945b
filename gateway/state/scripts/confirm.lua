-- Confirm what was seen in Kubernetes: settle the slots that are covered, and no others.
--
-- KEYS  1 queue
-- ARGV  1 root of the shard's keys   2 MessagePack: {write interval ms, spread ms, confirmations}
--         confirmation: {fingerprint, {slot → settled}, open generation, closed generation, wrote, marked}
-- Reply MessagePack: milliseconds until the next item is due, -1 where the queue is empty
--
-- What was admitted after the write stays pending and is due again. Settled slots that no message can speak of any
-- more leave with the record, an hour after its last change.

local interval, spread, confirmations = unpack(cmsgpack.unpack(ARGV[2]))
local queue = KEYS[1]
local now = now_ms()
local turn = turns(queue, spread, now)

for i, confirmation in ipairs(confirmations) do
  local fingerprint, covered, open, closed, wrote, marked = unpack(confirmation)
  local key = ARGV[1] .. 'r:' .. fingerprint
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
    local h = generation_in(rec.h)
    if open > 0 and open >= (h or 0) and open > closed then
      put('h', string.format('%d', open))
      put('m', marked)
      if open > number(rec.g) then put('g', string.format('%d', open)) end
    elseif h and h <= closed then
      redis.call('HDEL', key, 'h', 'm')
      rec.h = nil
    end
    if wrote then put('w', string.format('%d', now)) end
    if rec.t or rec.o then redis.call('HDEL', key, 't', 'o') end
    if #set > 0 then redis.call('HSET', key, unpack(set)) end
    if rec.d or rec.W then
      redis.call('ZREM', queue, fingerprint)
    elseif #unsettled(rec) > 0 or mark_pending(rec) then
      local due = now
      if rec.h then due = in_step(math.max(number(rec.w) + interval, take_turn(turn)), now) end
      redis.call('ZADD', queue, due, fingerprint)
      redis.call('PEXPIRE', key, PENDING_LIFE)
    else
      redis.call('ZREM', queue, fingerprint)
      redis.call('PEXPIRE', key, SETTLED_LIFE)
    end
  end
end
keep_turns(turn)
redis.call('PEXPIRE', queue, PENDING_LIFE)
return cmsgpack.pack(next_due(queue, now))
