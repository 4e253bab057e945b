-- Admit a micro-batch: each message says that a slot has reached a number, or that an episode ended.
--
-- KEYS  1 queue (zset: fingerprint → due ms)   2 notes (hash)
-- ARGV  1 record key prefix   2 MessagePack: {write interval ms, spread ms, notes were taken, messages}
--         message: {fingerprint, kind, slot, value, starts_at, dated, ends_at, open generation, closed generation,
--                   resolved since, payload, asserted, limited}
-- Reply MessagePack: {noted, results, due in ms, wait in ms}; result: {standing, generation, base, fresh}
--
-- Values merge by max, so the script may run late, twice or out of order. While notes exist on the shard and the
-- caller has not taken its own, nothing is changed and `noted` is true.

local interval, spread, taken, messages = unpack(cmsgpack.unpack(ARGV[2]))
local queue, notes, prefix = KEYS[1], KEYS[2], ARGV[1]
sound(queue, 'zset')
if not taken and redis.call('EXISTS', notes) == 1 then
  return cmsgpack.pack({true, {}, -1, 0})
end

local now = now_ms()
local turn = turns(queue, spread, now)
local results = {}

-- Queues a record, unless it is queued: a new request at once, a count when it is its turn. The record's life is
-- renewed with that, and with every claim.
local function enqueue(fingerprint, key, last_write, counts)
  if redis.call('ZSCORE', queue, fingerprint) then return end
  local due = now
  if counts then due = in_step(math.max(last_write + interval, take_turn(turn)), now) end
  redis.call('ZADD', queue, due, fingerprint)
  redis.call('PEXPIRE', key, PENDING_LIFE)
end

local function admit(message, key)
  local fingerprint, kind, slot, value, starts_at, dated, ends_at, open, closed, since, payload, asserted, limited =
    unpack(message)
  local g, h, w, f, r, e, m, q, d, n, b =
    unpack(fields(key, 'g', 'h', 'w', 'f', 'r', 'e', 'm', 'q', 'd', 'n:' .. slot, 'b:' .. slot))
  h, m, f, r = h and tonumber(h), m or '', f or '', r or ''
  local stored_home = h
  local fresh = not g
  local generation = number(g)
  local set = {}
  local function put(field, text) set[#set + 1] = field; set[#set + 1] = text end

  -- Where it lives: the caller may know better than the record, in both directions.
  if h and h <= closed then h = nil end
  if open > 0 and open > closed and (not h or open > h) then h = open end
  local home_changed = h ~= stored_home
  if since > r then r = since; e = ''; put('r', r); put('e', '') end

  local standing
  if kind == 'r' then
    standing = 'resolved'
    if starts_at > r or (starts_at == r and ends_at > (e or '')) then
      r, e = starts_at, ends_at
      put('r', r); put('e', e)
    end
  elseif value <= number(b) then
    standing = 'settled'
  else
    local wanted = math.max(generation, closed + 1)
    if h then
      standing = 'open'
      generation = math.max(generation, h)
    elseif dated and not asserted and r ~= '' and starts_at <= r and not (g and wanted == generation) then
      standing = 'stale'
    elseif d then
      standing = 'dead'
    elseif g and wanted == generation then
      standing = 'pending'
    elseif limited and not asserted then
      standing = 'full'
    else
      standing = 'new'
      generation = wanted
    end
    if standing ~= 'stale' and standing ~= 'full' and not q and payload == '' then standing = 'wants-payload' end
  end

  if standing == 'resolved' or standing == 'settled' then
    if home_changed then
      if h then put('h', h); put('g', math.max(generation, h)) else redis.call('HDEL', key, 'h', 'm') end
    end
    if #set > 0 then redis.call('HSET', key, unpack(set)) end
    if h and resolved_mark(r, e, f) ~= m then enqueue(fingerprint, key, number(w), true) end
    if redis.call('PTTL', key) < SETTLED_LIFE then redis.call('PEXPIRE', key, SETTLED_LIFE) end
  elseif standing ~= 'stale' and standing ~= 'full' and standing ~= 'wants-payload' then
    if value > number(n) then put('n:' .. slot, value) end
    if starts_at > f then put('f', starts_at) end
    if payload ~= '' then put('p', payload); put('q', '1') end
    if generation ~= number(g) then put('g', generation) end
    if home_changed then
      if h then put('h', h) else redis.call('HDEL', key, 'h', 'm') end
    end
    if #set > 0 then redis.call('HSET', key, unpack(set)) end
    if d then
      redis.call('PEXPIRE', key, PENDING_LIFE)
    else
      enqueue(fingerprint, key, number(w), standing == 'open')
    end
  end
  return {standing, standing == 'open' and h or generation, number(b), fresh}
end

-- The usual case, in as few calls as can be: one more of a problem whose open request everybody knows. Anything else,
-- and anything odd, is left to `admit`.
local function count_again(message, key)
  local open, starts_at, value = message[8], message[5], message[4]
  if open <= message[9] or message[2] ~= 'f' or message[11] ~= '' or message[10] ~= '' then return nil end
  local found = redis.pcall('HMGET', key, 'h', 'f', 'w', 'q', 'd', 'n:' .. message[3], 'b:' .. message[3])
  if found.err then return nil end
  local h, f, w, q, d, n, b = unpack(found)
  if not (h and f and q) or d or tonumber(h) ~= open or starts_at > f or value <= number(b) then return nil end
  if value > number(n) then redis.call('HSET', key, 'n:' .. message[3], value) end
  enqueue(message[1], key, number(w), true)
  return {'open', open, number(b), false}
end

for i, message in ipairs(messages) do
  local key = prefix .. message[1]
  results[i] = count_again(message, key) or admit(message, key)
end
keep_turns(turn)
redis.call('PEXPIRE', queue, PENDING_LIFE)
return cmsgpack.pack({false, results, next_due(queue, now), math.max(0, turn.at - now)})
