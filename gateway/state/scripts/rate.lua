-- Take from windows that all replicas share: at most `most` within any `window` ms, by the clock of Redis.
--
-- KEYS  1 queue   2… the windows: a hash each, replica → MessagePack {time, count, time, count …}
-- ARGV  1 the replica   2 MessagePack {window, most, {{age, count …} for each key}, {{numbers of keys} for each check}}
-- Reply MessagePack {sound, {taken for each check}, {{age, count …} of the other replicas for each key}}
--
-- A replica says each time all that it took within the window, and its field is replaced by that: so a call may be
-- repeated, its answer may be lost, and what Redis forgot comes back. A check takes one from each of its windows, or
-- from none where one has no room. `sound` is false where something was no window of ours: it was thrown away and
-- nothing was taken, since nobody knows what had been there.

local LONGEST = 1000  -- numbers in one field
local AHEAD = 1000    -- ms by which a time may be ahead: the clock of another server, before a failover

local replica, asked = ARGV[1], cmsgpack.unpack(ARGV[2])
local window, most, logs, checks = asked[1], asked[2], asked[3], asked[4]
local now = now_ms()
local used, mine, others, intact = {}, {}, {}, true

-- What is left of a field within the window, as {age, count …} and its sum; nil for what is not ours.
local function read(text)
  local fine, log = pcall(cmsgpack.unpack, text)
  if not fine or type(log) ~= 'table' or #log > LONGEST then return nil end
  local kept, sum = {}, 0
  for i = 1, #log, 2 do
    local at, count = number(log[i]), number(log[i + 1])
    if at == 0 or count == 0 or at > now + AHEAD then return nil end
    if now - at < window then
      kept[#kept + 1] = math.max(0, now - at)
      kept[#kept + 1] = count
      sum = sum + count
    end
  end
  return kept, sum
end

for k, log in ipairs(logs) do
  local key, sum, found = KEYS[k + 1], 0, {}
  local flat = redis.pcall('HGETALL', key)
  if flat.err then
    sound(key, 'hash')
    intact, flat = false, {}
  end
  for i = 1, #flat, 2 do
    if flat[i] ~= replica then
      local kept, taken = read(flat[i + 1])
      if not kept then
        count_corrupt()
        intact = false
      end
      if not kept or taken == 0 then
        redis.call('HDEL', key, flat[i])
      else
        sum = sum + taken
        for _, value in ipairs(kept) do found[#found + 1] = value end
      end
    end
  end
  local own = {}
  for i = 1, #log, 2 do
    own[i], own[i + 1] = now - log[i], log[i + 1]
    sum = sum + log[i + 1]
  end
  used[k], mine[k], others[k] = sum, own, found
end

local taken = {}
for c, keys in ipairs(checks) do
  local room = intact
  for _, k in ipairs(keys) do room = room and used[k] < most end
  taken[c] = room
  if room then
    for _, k in ipairs(keys) do
      used[k] = used[k] + 1
      local own = mine[k]
      if own[#own - 1] == now then
        own[#own] = own[#own] + 1
      else
        own[#own + 1] = now
        own[#own + 1] = 1
      end
    end
  end
end

for k, own in ipairs(mine) do
  if #own > 0 then
    redis.call('HSET', KEYS[k + 1], replica, cmsgpack.pack(own))
    redis.call('PEXPIRE', KEYS[k + 1], window + AHEAD)
  else
    redis.call('HDEL', KEYS[k + 1], replica)
  end
end
return cmsgpack.pack({intact, taken, others})
