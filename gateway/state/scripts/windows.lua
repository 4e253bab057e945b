-- Windows, shared by the scripts that hold alerts back (prepended to them after common.lua).
--
-- ARGV  1 root of every key of the shard   2 root of the buffers' keys     (of every script that this is prepended to)
--
-- A window is a hash, `w:ID`:
--   G        the group                         s, c     '1': storming; closed (it collects no more)
--   o, l, e  opened, last new member, logical end (ms)
--   k        members that joined and did not leave
--   u        number of the chunk that new members go to
--   B        '1': that chunk is the group's buffer; a window that lost the name to another one has a chunk of its own
--   R        threshold, hold, inactivity, longest life (ms), early, members of a chunk, members in all: the rule of the
--            alert that opened it, so that a change of the configuration changes no window that is open
--   w, t     last write of its request (ms), failed attempts since then
--   d        when what is to be written is due (ms); absent where nothing is to be written before the end
--   y        leased until (ms)
--
-- `g:GROUP` names the window that a group's new alerts join. A member's record says its window (`W`) and chunk (`K`).
-- A chunk is a hash, fingerprint → startsAt, of the members with something to write. The current one of a group is its
-- buffer, `alert:buffer:{n}:<namespace>:<alertname>`; sealing it gives it the name `m:ID:NUMBER`.
--
-- A script loads a window once, changes it in memory and stores it at the end (`keep_windows`).

local ROOT, BUFFERS = ARGV[1], ARGV[2]
local RECORDS, WINDOWS = ROOT .. 'r:', ROOT .. 'windows'
local SOONEST_END = 1000
local MOST_CHUNKS = 2001  -- a window has 2000 members at most
local loaded = {}

local function flag(text) return text == '1' end

local function window_rule(text)
  local found = {}
  for part in string.gmatch(text or '', '[^,]+') do found[#found + 1] = tonumber(part) end
  return #found == 7 and found or {1, 1000, 1000, 1000, 0, 100, 1000}
end

local function remember(id, group, rule)
  local win = {id = id, group = group, storming = false, closed = false, opened = 0, last = 0, ends = 0, members = 0,
               chunk = 0, owns = false, rule = rule, threshold = rule[1], hold = rule[2], inactivity = rule[3],
               longest = rule[4], early = rule[5] == 1 or rule[5] == true, most = rule[6], most_in_all = rule[7],
               wrote = 0, attempts = 0, due = nil, leased = 0, event = '', changed = false}
  loaded[id] = win
  return win
end

-- The window of this id, or nil. One of another type, or without a group, is set aside.
local function window(id)
  if loaded[id] ~= nil then return loaded[id] or nil end
  local found = fields(ROOT .. 'w:' .. id, 'G', 's', 'c', 'o', 'l', 'e', 'k', 'u', 'B', 'R', 'w', 't', 'd', 'y')
  if not found[1] then
    loaded[id] = false
    return nil
  end
  local win = remember(id, legible(found[1]), window_rule(found[10]))
  win.storming, win.closed, win.owns = flag(found[2]), flag(found[3]), flag(found[9])
  win.opened, win.last, win.ends = number(found[4]), number(found[5]), number(found[6])
  win.members, win.chunk = number(found[7]), math.min(number(found[8]), MOST_CHUNKS)
  win.wrote, win.attempts, win.leased = number(found[11]), number(found[12]), number(found[14])
  win.due = found[13] and number(found[13]) or nil
  return win
end

local function buffer_key(group) return BUFFERS .. string.gsub(group, '/', ':') end

local function chunk_key(win, chunk)
  if win.owns and not win.closed and chunk == win.chunk then return buffer_key(win.group) end
  return ROOT .. 'm:' .. win.id .. ':' .. chunk
end

-- Puts a member among those with something to write; true where it was not there.
local function pend(win, chunk, fingerprint, starts_at)
  chunk = math.min(chunk, MOST_CHUNKS)
  if chunk > win.chunk then
    win.chunk = chunk
    win.changed = true
  end
  local key = chunk_key(win, chunk)
  local added = redis.pcall('HSET', key, fingerprint, starts_at)
  if type(added) == 'table' then
    sound(key, 'hash')
    added = redis.call('HSET', key, fingerprint, starts_at)
  end
  redis.call('PEXPIRE', key, PENDING_LIFE)
  return added == 1
end

local function pending_in(win, chunk)
  local found = redis.pcall('HKEYS', chunk_key(win, chunk))
  if found.err then
    sound(chunk_key(win, chunk), 'hash')
    return {}
  end
  table.sort(found)
  return found
end

local function filled(win)
  local found = redis.pcall('HLEN', chunk_key(win, win.chunk))
  return type(found) == 'number' and found or 0
end

-- The current chunk takes no more members: from now on it has a name of its own.
local function seal(win)
  if win.owns and not win.closed then
    local key = buffer_key(win.group)
    sound(key, 'hash')
    if redis.call('EXISTS', key) == 1 then redis.call('RENAME', key, ROOT .. 'm:' .. win.id .. ':' .. win.chunk) end
  end
  win.chunk = win.chunk + 1
  win.changed = true
end

local function leave_group(win)
  if win.owns and redis.pcall('GET', ROOT .. 'g:' .. win.group) == win.id then
    redis.call('DEL', ROOT .. 'g:' .. win.group)
  end
end

-- It collects no more, and the group's next alert opens another.
local function close(win, now)
  seal(win)
  leave_group(win)
  win.closed = true
  win.ends = math.min(win.ends, now)
  win.due = now
  win.changed = true
end

local function vanish(win)
  for chunk = 0, win.chunk do redis.call('DEL', chunk_key(win, chunk)) end
  leave_group(win)
  redis.call('DEL', ROOT .. 'w:' .. win.id)
  redis.call('ZREM', WINDOWS, win.id)
  redis.call('ZREM', KEYS[1], 'w:' .. win.id)
  loaded[win.id] = false
end

-- Takes the group's name, if nobody has it; `current` has looked already.
local function take_group(win)
  local taken = redis.call('SET', ROOT .. 'g:' .. win.group, win.id, 'NX', 'PX', PENDING_LIFE)
  win.owns = taken and true or false
end

-- The window that a group's new alerts join, or nil. Where its name was evicted, a member of its buffer knows it.
local function current(group)
  local id = redis.pcall('GET', ROOT .. 'g:' .. group)
  if type(id) == 'string' then
    local win = window(id)
    if win and win.owns and not win.closed then return win end
    redis.call('DEL', ROOT .. 'g:' .. group)
  elseif type(id) == 'table' then
    sound(ROOT .. 'g:' .. group, 'string')
  end
  local members = redis.pcall('HKEYS', buffer_key(group))
  if members.err then sound(buffer_key(group), 'hash') end
  if members.err or #members == 0 then return nil end
  table.sort(members)
  local named = fields(RECORDS .. members[1], 'W')[1]
  local win = named and window(named)
  if win and win.owns and not win.closed and win.group == group then
    take_group(win)
    return win
  end
  redis.call('DEL', buffer_key(group))
  return nil
end

local function open_window(id, group, rule, now)
  local win = remember(id, group, rule)
  win.opened, win.last, win.ends = now, now, now + win.hold
  win.changed, win.event = true, 'opened'
  take_group(win)
  return win
end

local function known_end(win, due, now)
  return math.max(now + SOONEST_END, math.min(due, now + math.max(win.hold, win.inactivity)))
end

-- A window that Redis forgot, as a member remembers it (`state` 1 holding, 2 storming, 3 its request is there).
local function recreate(id, group, rule, state, due, now)
  local win = remember(id, group, rule)
  win.opened, win.last = now, now
  win.storming, win.closed, win.changed = state >= 2, state == 3, true
  win.ends = state == 3 and now or known_end(win, due, now)
  win.event = 'recreated'
  if state < 3 and not current(group) then take_group(win) end
  return win
end

-- Something of the window is to be written before its end: at once, or paced where its request was just written.
local function want_write(win, now, interval, turn)
  if win.due then return end
  win.due = now
  if win.wrote > 0 then win.due = in_step(math.max(win.wrote + interval, take_turn(turn)), now) end
  win.changed = true
end

-- Adds a member, or finds it there; returns its chunk. `due` is when the window ends as a member remembers it, nil
-- where the alert is new.
local function join(win, fingerprint, starts_at, due, now, interval, turn)
  local chunk = win.chunk
  local added = pend(win, chunk, fingerprint, starts_at)
  win.changed = true
  if win.closed then
    if filled(win) >= win.most then seal(win) end
    want_write(win, now, interval, turn)
    return chunk
  end
  if added then
    win.members = win.members + 1
    local calm = not win.storming
    local full = filled(win) >= win.most
    if win.members >= win.threshold or full then win.storming = true end
    if due then
      win.ends = math.max(win.ends, known_end(win, due, now))
    else
      win.last = now
      if win.storming then win.ends = math.min(now + win.inactivity, win.opened + win.longest) end
    end
    if calm and win.storming then win.event = 'storming' end
    if win.members >= win.most_in_all then
      close(win, now)
      win.event = 'full'
    elseif full then
      seal(win)
      win.event = 'spilled'
      want_write(win, now, interval, turn)
    end
  end
  if win.storming and win.early then want_write(win, now, interval, turn) end
  return chunk
end

-- When the window is to be looked at next, or nil.
local function next_look(win)
  if win.closed then return win.due end
  return win.due and math.min(win.due, win.ends) or win.ends
end

local function schedule(win, now)
  local at = next_look(win)
  if win.leased > now then return end
  if at then redis.call('ZADD', KEYS[1], at, 'w:' .. win.id) else redis.call('ZREM', KEYS[1], 'w:' .. win.id) end
end

local function keep_windows(now)
  local open = false
  for id, win in pairs(loaded) do
    if win and win.changed then
      local key = ROOT .. 'w:' .. id
      redis.call('HSET', key, 'G', win.group, 's', win.storming and '1' or '0', 'c', win.closed and '1' or '0',
                 'o', string.format('%d', win.opened), 'l', string.format('%d', win.last),
                 'e', string.format('%d', win.ends), 'k', win.members, 'u', win.chunk, 'B', win.owns and '1' or '0',
                 'R', string.format('%d,%d,%d,%d,%d,%d,%d', win.threshold, win.hold, win.inactivity, win.longest,
                                    win.early and 1 or 0, win.most, win.most_in_all),
                 'w', string.format('%d', win.wrote), 't', win.attempts, 'y', string.format('%d', win.leased))
      if win.due then redis.call('HSET', key, 'd', string.format('%d', win.due)) else redis.call('HDEL', key, 'd') end
      redis.call('PEXPIRE', key, win.closed and not win.due and SETTLED_LIFE or PENDING_LIFE)
      if win.closed then
        redis.call('ZREM', WINDOWS, id)
      else
        redis.call('ZADD', WINDOWS, win.ends, id)
        open = true
        if win.owns then redis.call('PEXPIRE', ROOT .. 'g:' .. win.group, PENDING_LIFE) end
      end
      schedule(win, now)
    end
  end
  if open then redis.call('PEXPIRE', WINDOWS, PENDING_LIFE) end
end

-- A member leaves its window for a request of its own, due now.
local function release(fingerprint, source, now)
  local key = RECORDS .. fingerprint
  local rec = record(key)
  if not next(rec) then return false end
  redis.call('HDEL', key, 'W', 'K')
  if not rec.h then redis.call('HDEL', key, 'm') end
  if #unsettled(rec) == 0 and not (rec.h and mark_pending(rec)) then
    redis.call('PEXPIRE', key, SETTLED_LIFE)
    return false
  end
  redis.call('HSET', key, 'g', math.max(number(rec.g), number(rec.c) + 1), 'o', source)
  redis.call('PEXPIRE', key, PENDING_LIFE)
  if not rec.d then redis.call('ZADD', KEYS[1], now, fingerprint) end
  return true
end

-- All that is still to be written of a window becomes requests of their own; the window is no more.
local function dissolve(win, source, now)
  local released = 0
  for chunk = 0, win.chunk do
    for _, fingerprint in ipairs(pending_in(win, chunk)) do
      if fields(RECORDS .. fingerprint, 'W')[1] == win.id and release(fingerprint, source, now) then
        released = released + 1
      end
    end
  end
  vanish(win)
  return released
end

-- What the caller is told of a window: {id, storming, closed, ends (ms), members, what just happened}
local function described(win)
  local event = win.event
  win.event = ''
  return {win.id, win.storming, win.closed, win.ends, win.members, event}
end
