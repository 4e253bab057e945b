-- Admit a micro-batch: each message says that a slot has reached a number, or that an episode ended.
--
-- KEYS  1 queue (zset: fingerprint or w:ID → due ms)   2 notes (hash)   3 sentinel
-- ARGV  1, 2 see windows.lua   3 MessagePack: {write interval ms, spread ms, notes were taken, life, token, messages}
--         message: {fingerprint, kind, slot, value, starts_at, dated, ends_at, open generation, closed generation,
--                   resolved since, payload, asserted, limited, group, rule, proposed window, remembered window, its
--                   state, its end ms, closed windows, settled}
-- Reply MessagePack: {noted, results, due in ms, wait in ms, life}; result: {standing, generation, base, fresh, window}
--
-- Values merge by max, so the script may run late, twice or out of order. While notes exist on the shard and the
-- caller has not taken its own, nothing is changed and `noted` is true; neither where the caller knew another `life` of
-- the shard's data, since it can tell what was forgotten.

local interval, spread, taken, life, token, messages = unpack(cmsgpack.unpack(ARGV[3]))
local queue, notes = KEYS[1], KEYS[2]
sound(queue, 'zset')
sound(KEYS[3], 'string')
redis.call('SET', KEYS[3], token, 'NX', 'PX', PENDING_LIFE)
local alive = legible(redis.call('GET', KEYS[3]))
if life ~= '' and life ~= alive then return cmsgpack.pack({false, {}, -1, 0, alive}) end
if not taken and redis.call('EXISTS', notes) == 1 then
  return cmsgpack.pack({true, {}, -1, 0, alive})
end

local now = now_ms()
local turn = turns(queue, spread, now)
local results = {}

local function lists(names, name)
  for _, one in ipairs(names) do
    if one == name then return true end
  end
  return false
end

-- Queues a record, unless it is queued: a new request at once, a count when it is its turn. The record's life is
-- renewed with that, and with every claim.
local function enqueue(fingerprint, key, last_write, counts)
  if redis.call('ZSCORE', queue, fingerprint) then return end
  local due = now
  if counts then due = in_step(math.max(last_write + interval, take_turn(turn)), now) end
  redis.call('ZADD', queue, due, fingerprint)
  redis.call('PEXPIRE', key, PENDING_LIFE)
end

-- An alert that resolves before its window was claimed needs no request: everything of it is settled, and says so.
local function withdraw(win, chunk, fingerprint, key)
  local settled, set = 0, {}
  for _, slot in ipairs(unsettled(record(key))) do
    settled = settled + slot[2] - slot[3]
    for _, field in ipairs({'b:', 'z:'}) do
      set[#set + 1] = field .. slot[1]
      set[#set + 1] = string.format('%d', slot[2])
    end
  end
  if #set > 0 then redis.call('HSET', key, unpack(set)) end
  redis.call('HDEL', key, 'W', 'K')
  redis.call('PEXPIRE', key, SETTLED_LIFE)
  redis.call('HDEL', chunk_key(win, chunk), fingerprint)
  win.members = win.members - 1
  win.changed = true
  if win.members <= 0 and win.chunk == 0 then
    vanish(win)
  elseif win.storming and win.members < win.threshold and win.chunk == 0 and win.wrote == 0 then
    win.storming = false
    win.ends = math.max(now, win.opened + win.hold)
  end
  return settled
end

local function admit(message, key)
  local fingerprint, kind, slot, value, starts_at, dated, ends_at, open, closed, since, payload, asserted, limited,
    group, rule, proposal, held, held_state, held_end, closed_windows, hint = unpack(message)
  local g, h, w, f, r, e, m, q, d, home, chunk, c, n, b, z =
    unpack(fields(key, 'g', 'h', 'w', 'f', 'r', 'e', 'm', 'q', 'd', 'W', 'K', 'c', 'n:' .. slot, 'b:' .. slot,
                  'z:' .. slot))
  h, m, f, r = generation_in(h), m or '', f or '', r or ''
  local stored_home = h
  local fresh = not (g or home)
  local generation = number(g)
  local set = {}
  local function put(field, text) set[#set + 1] = field; set[#set + 1] = text end
  local function remembered()
    if held == '' or held_state == 0 or lists(closed_windows, held) then return nil end
    return window(held) or recreate(held, group, rule, held_state, held_end, now)
  end

  -- Where it lives: the caller may know better than the record, in both directions.
  local win
  if home and not lists(closed_windows, home) then
    win = window(home) or (home == held and remembered()) or nil
  end
  if not win then
    if h and h <= closed then h = nil end
    if open > 0 and open > closed and (not h or open > h) then h = open end
  end
  local home_changed = h ~= stored_home
  if since > r then r = since; e = ''; put('r', r); put('e', '') end

  local standing, joins
  local base = math.max(number(b), hint)
  local settled = base
  if kind == 'r' then
    standing = 'resolved'
    settled = 0
    if starts_at > r or (starts_at == r and ends_at > (e or '')) then
      r, e = starts_at, ends_at
      put('r', r); put('e', e)
    end
    if win and not win.closed and number(chunk) == win.chunk and not (win.early and win.storming) then
      settled = withdraw(win, number(chunk), fingerprint, key)
      win, home = nil, nil
    end
  elseif value <= base then
    standing = value <= number(z) and 'withdrawn' or 'settled'
  else
    local wanted = math.max(generation, closed + 1)
    local awaited = g and wanted == generation
    if win then
      standing = 'held'
    elseif h then
      standing = 'open'
      generation = math.max(generation, h)
    elseif dated and not asserted and r ~= '' and starts_at <= r and not awaited then
      standing = 'stale'
    elseif d then
      standing = 'dead'
    elseif awaited then
      standing = 'pending'
    else
      win = remembered()
      if win then
        standing, joins = 'held', held_end
      elseif rule[1] > 0 then
        win = current(group)
        if not win and limited and not asserted then
          standing = 'full'
        else
          standing, joins = 'held', false
        end
      elseif limited and not asserted then
        standing = 'full'
      else
        standing = 'new'
        generation = wanted
      end
    end
    if standing ~= 'stale' and standing ~= 'full' and not q and payload == '' then standing = 'wants-payload' end
  end

  if standing == 'resolved' or standing == 'settled' or standing == 'withdrawn' then
    if home_changed and not win then
      if h then put('h', h); put('g', math.max(generation, h)) else redis.call('HDEL', key, 'h', 'm') end
    end
    if #set > 0 then redis.call('HSET', key, unpack(set)) end
    if resolved_mark(r, e, f) ~= m then
      if win then
        pend(win, number(chunk), fingerprint, starts_at)
        want_write(win, now, interval, turn)
      elseif h and not home then
        enqueue(fingerprint, key, number(w), true)
      end
    end
    if redis.call('PTTL', key) < SETTLED_LIFE then redis.call('PEXPIRE', key, SETTLED_LIFE) end
  elseif standing ~= 'stale' and standing ~= 'full' and standing ~= 'wants-payload' then
    if value > number(n) then put('n:' .. slot, value) end
    if base > number(b) then put('b:' .. slot, base) end
    if starts_at > f then put('f', starts_at) end
    if payload ~= '' then put('p', payload); put('q', '1') end
    if standing == 'held' then
      if joins ~= nil then
        win = win or open_window(proposal, group, rule, now)
        put('K', join(win, fingerprint, starts_at, joins or nil, now, interval, turn))
        put('W', win.id)
        if stored_home then redis.call('HDEL', key, 'h', 'm') end
      else
        pend(win, number(chunk), fingerprint, starts_at)
        if win.closed or number(chunk) < win.chunk or (win.early and win.storming) then
          want_write(win, now, interval, turn)
        end
      end
      if closed > number(c) then put('c', closed) end
      if #set > 0 then redis.call('HSET', key, unpack(set)) end
      redis.call('PEXPIRE', key, PENDING_LIFE)
      return {standing, 0, number(z), fresh, described(win)}
    end
    if generation ~= number(g) then put('g', generation) end
    if home then redis.call('HDEL', key, 'W', 'K') end
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
  local told = standing == 'resolved' or standing == 'settled' or standing == 'withdrawn'
  return {standing, standing == 'open' and h or generation, told and settled or number(z), fresh}
end

-- The usual case, in as few calls as can be: one more of a problem whose open request everybody knows. Anything else,
-- and anything odd, is left to `admit`.
local function count_again(message, key)
  local open, starts_at, value = message[8], message[5], message[4]
  if open <= message[9] or message[2] ~= 'f' or message[11] ~= '' or message[10] ~= '' then return nil end
  local found = redis.pcall('HMGET', key, 'h', 'f', 'w', 'q', 'd', 'W', 'n:' .. message[3], 'b:' .. message[3],
                            'z:' .. message[3])
  if found.err then return nil end
  local h, f, w, q, d, home, n, b, z = unpack(found)
  if not (h and f and q) or d or home or tonumber(h) ~= open or starts_at > f then return nil end
  if value <= math.max(number(b), message[21]) then return nil end
  if message[21] > number(b) then
    b = message[21]
    redis.call('HSET', key, 'n:' .. message[3], math.max(value, number(n)), 'b:' .. message[3], b)
  elseif value > number(n) then
    redis.call('HSET', key, 'n:' .. message[3], value)
  end
  enqueue(message[1], key, number(w), true)
  return {'open', open, number(z), false}
end

for i, message in ipairs(messages) do
  local key = RECORDS .. message[1]
  results[i] = count_again(message, key) or admit(message, key)
end
keep_windows(now)
keep_turns(turn)
redis.call('PEXPIRE', queue, PENDING_LIFE)
return cmsgpack.pack({false, results, next_due(queue, now), math.max(0, turn.at - now), alive})
