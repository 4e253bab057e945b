-- Admit a micro-batch: each message says that a slot has reached a number, or that an episode ended.
--
-- KEYS  1 queue (zset: fingerprint → due ms)   2 notes (hash)   3… one record a message
-- ARGV  1 MessagePack: {write interval ms, notes were taken, messages}
--         message: {fingerprint, kind, slot, value, starts_at, dated, ends_at, open generation, closed generation,
--                   resolved since, payload, asserted, limited}
-- Reply MessagePack: {noted, results, due in ms}; result: {standing, generation, base, fresh}
--
-- Values merge by max, so the script may run late, twice or out of order. While notes exist on the shard and the
-- caller has not taken its own, nothing is changed and `noted` is true.

local interval, taken, messages = unpack(cmsgpack.unpack(ARGV[1]))
local queue, notes = KEYS[1], KEYS[2]
if not taken and redis.call('EXISTS', notes) == 1 then
  return cmsgpack.pack({true, {}, -1})
end

local now = now_ms()
local results = {}

local function enqueue(fingerprint, last_write)
  local due = math.max(now, last_write + interval)
  local added = redis.pcall('ZADD', queue, 'NX', due, fingerprint)
  if type(added) == 'table' and added.err then
    redis.call('DEL', queue)
    redis.call('ZADD', queue, 'NX', due, fingerprint)
  end
end

for i, message in ipairs(messages) do
  local fingerprint, kind, slot, value, starts_at, dated, ends_at, open, closed, since, payload, asserted, limited =
    unpack(message)
  local key = KEYS[i + 2]
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
    if h and resolved_mark(r, e, f) ~= m then enqueue(fingerprint, number(w)) end
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
    if not d then enqueue(fingerprint, number(w)) end
    redis.call('PEXPIRE', key, PENDING_LIFE)
  end
  results[i] = {standing, generation, number(b), fresh}
end
redis.call('PEXPIRE', queue, PENDING_LIFE)
return cmsgpack.pack({false, results, next_due(queue, now)})
