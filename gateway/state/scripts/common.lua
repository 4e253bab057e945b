-- Shared by every script (prepended to each): time, records, and what "pending" means.
--
-- A record is a hash, one for each fingerprint:
--   g        generation of the open request, or of the one to be created
--   h        generation of the open request; absent while none is known
--   w        when it was last written to Kubernetes (ms)
--   t        failed attempts since then
--   f        latest startsAt of a firing occurrence
--   r, e     startsAt and end of the latest episode that ended
--   m        what the open request's resolved annotation says
--   p, q     the payload, and '1' where there is one (cheaper to ask for)
--   W, K     the window that it is held in, and the chunk of it (windows.lua)
--   c        highest generation that a member's sender knew as closed
--   o        what made the request that is to be created, where it is not a new alert
--   d        why the request cannot be written (it is among the dead letters)
--   n:SLOT   what the slot has reached         b:SLOT  up to where that is settled
--   z:SLOT   up to where it was settled by resolving, so that no request holds it
--
-- All times are Redis's own, so that replicas with wrong clocks agree. Keys of records are made of a prefix and the
-- fingerprint: they share the hash tag of the keys that are declared, and two hundred key arguments cost a client more
-- than the rest of a call.

local PENDING_LIFE = 691200000  -- 8 days: as long as anything is to be written
local SETTLED_LIFE = 3600000    -- 1 hour: as long as a late message may speak of it

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local MOST = 9007199254740992   -- 2^53: whatever is more is no number of ours

-- A whole number from 0 on; 0 for anything else.
local function number(text)
  local found = tonumber(text or '')
  if not found or found ~= found or found < 0 or found > MOST then return 0 end
  return math.floor(found)
end

-- The generation that a record names as open, nil where it names none.
local function generation_in(text)
  local found = number(text)
  return found > 0 and found or nil
end

-- Text that a reply can carry; empty for what is no UTF-8, and so not ours.
local function legible(text)
  if not text then return '' end
  if not string.find(text, '[\128-\255]') then return text end
  local rest = string.gsub(text, '[\194-\223][\128-\191]', '.')
  rest = string.gsub(rest, '[\224-\239][\128-\191][\128-\191]', '.')
  rest = string.gsub(rest, '[\240-\244][\128-\191][\128-\191][\128-\191]', '.')
  return string.find(rest, '[\128-\255]') and '' or text
end

-- One more key that is not of our making was found.
local function count_corrupt()
  local key = KEYS[1] .. ':corrupt'
  if redis.call('TYPE', key).ok ~= 'string' then redis.call('DEL', key) end
  if number(redis.call('GET', key)) == 0 then redis.call('SET', key, 0) end
  redis.call('INCR', key)
  redis.call('PEXPIRE', key, PENDING_LIFE)
end

-- Deletes a key of a type that is not ours.
local function sound(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
    count_corrupt()
  end
end

-- Reads fields of a record. A key of another type is set aside for a day, and read as absent.
local function fields(key, ...)
  local found = redis.pcall('HMGET', key, ...)
  if found.err then
    redis.call('RENAME', key, key .. ':corrupt')
    redis.call('PEXPIRE', key .. ':corrupt', 86400000)
    count_corrupt()
    return redis.call('HMGET', key, ...)
  end
  return found
end

local function record(key)
  local flat = redis.pcall('HGETALL', key)
  if flat.err then
    fields(key, 'g')
    return {}
  end
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end

-- The end of the latest episode, empty while a later one fires.
local function resolved_mark(r, e, f)
  if r and r ~= '' and r >= (f or '') then return e or '' end
  return ''
end

-- The slots with something to write: {slot, value, base} each.
local function unsettled(rec)
  local found = {}
  for field, text in pairs(rec) do
    if string.sub(field, 1, 2) == 'n:' then
      local slot = string.sub(field, 3)
      local value, base = number(text), number(rec['b:' .. slot])
      if value > base and legible(slot) == slot then found[#found + 1] = {slot, value, base} end
    end
  end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  return found
end

local function mark_pending(rec)
  return (rec.h or rec.W) and resolved_mark(rec.r, rec.e, rec.f) ~= (rec.m or '')
end

-- The moments at which counts are written: all requests of the shard take turns, `spread` ms apart, so that a thousand
-- hot problems do not take the API server's whole capacity (a new request never waits for a turn). Turns that nobody
-- took are saved up, for a burst of `BURST`; nobody waits longer than `LONGEST_TURN`. This is the generic cell rate
-- algorithm (ITU-T I.371), whose one number lives beside the queue.
local BURST = 50
local LONGEST_TURN = 60000
local STEP = 250

local function turns(queue, spread, now)
  local key = queue .. ':turn'
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then sound(key, 'string') end
  local at = type(found) == 'string' and number(found) or 0
  return {key = key, at = math.min(at, now + LONGEST_TURN), spread = spread, now = now, taken = false}
end

local function take_turn(turn)
  local at = math.max(turn.at, turn.now - BURST * turn.spread)
  turn.at = at + turn.spread
  turn.taken = true
  return math.max(turn.now, math.min(at, turn.now + LONGEST_TURN))
end

-- What has to wait waits for a full quarter of a second, so that one claim takes all that are due by then.
local function in_step(due, now)
  if due <= now then return now end
  return math.ceil(due / STEP) * STEP
end

local function keep_turns(turn)
  if turn.taken then redis.call('SET', turn.key, string.format('%d', turn.at), 'PX', PENDING_LIFE) end
end

-- Milliseconds until the next item is due, -1 where the queue is empty.
local function next_due(queue, now)
  local head = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  if #head == 0 then return -1 end
  return math.max(0, math.ceil(tonumber(head[2]) - now))
end
