-- Claim what is due: each item is leased to the caller, and becomes due again when the lease runs out.
--
-- KEYS  1 queue   2 sentinel
-- ARGV  1, 2 see windows.lua   3 limit   4 lease ms   5 a token for a missing sentinel, or '' not to ask who this is
-- Reply MessagePack: {items, due in ms, depth, identity, records set aside since it was last asked, windows, expired,
--                     windows that collect}
--         item: {fingerprint, {{slot, value, base} …}, generation, attempts, firing since, resolved since,
--                resolved at, payload, source}
--         window: {id, group, whether it collects, attempts, whether there is more, items without payload, whether it
--                  closed just now}
--         expired: {window id, how many of its members become requests of their own}
--
-- A lease only saves work: two claimers who write the same thing do no harm. Record keys are derived from the queue's
-- members; they share its hash tag. Of a window's members at most `MOST_MEMBERS` are handed out at a time.
--
-- With a limit of 0 nothing is leased, because nothing could be written; but the time of windows goes on, so those whose
-- end has come are closed, or become requests that wait.

local MOST_MEMBERS = 200
local MOST_ENDS = 50
local queue, sentinel = KEYS[1], KEYS[2]
local limit, lease, token = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local now = now_ms()
local items, claimed, expired = {}, {}, {}
local members_left = MOST_MEMBERS

sound(queue, 'zset')
sound(WINDOWS, 'zset')
-- A time that nobody can have meant: what is due then goes, or is written, now.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', queue, now + 2 * PENDING_LIFE, '+inf', 'LIMIT', 0, 50)) do
  redis.call('ZADD', queue, now, name)
  count_corrupt()
end
local due = {}
if limit > 0 then due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, limit) end

local function item(fingerprint, rec, slots, payload)
  return {fingerprint, slots, number(rec.g), number(rec.t), legible(rec.f), legible(rec.r), legible(rec.e),
          legible(payload), legible(rec.o)}
end

-- Ends a window whose time is over; false where it is no more.
local function finish(win)
  if win.closed or now < win.ends then return true end
  if win.storming then
    close(win, now)
    return true
  end
  expired[#expired + 1] = {win.id, dissolve(win, 'buffer_expiration', now)}
  return false
end

local function claim_window(win)
  local open = not win.closed
  if not finish(win) then return end
  local closing = open and win.closed
  local found, more = {}, false
  local last = (win.closed or (win.early and win.storming)) and win.chunk or win.chunk - 1
  for chunk = 0, last do
    if more then break end
    for _, fingerprint in ipairs(pending_in(win, chunk)) do
      if members_left == 0 then  -- a call that reads a thousand records takes longer than its caller waits
        more = true
        break
      end
      local key = RECORDS .. fingerprint
      local rec = record(key)
      local slots = unsettled(rec)
      if rec.W ~= win.id or rec.d or (#slots == 0 and not mark_pending(rec)) then
        redis.call('HDEL', chunk_key(win, chunk), fingerprint)
      else
        members_left = members_left - 1
        redis.call('PEXPIRE', key, PENDING_LIFE)
        found[#found + 1] = item(fingerprint, rec, slots, '')
      end
    end
  end
  win.due, win.changed = nil, true
  if #found == 0 and not more then
    win.leased = 0
    if win.closed and win.members <= 0 then vanish(win) end
    return
  end
  if #found == 0 then
    win.due = now
    return
  end
  win.leased = now + lease
  win.due = win.leased
  redis.call('ZADD', queue, win.leased, 'w:' .. win.id)
  claimed[#claimed + 1] = {win.id, win.group, not win.closed, win.attempts, more, found, closing}
end

if limit == 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', WINDOWS, '-inf', now, 'LIMIT', 0, MOST_ENDS)) do
    local win = window(id)
    if win then finish(win) else redis.call('ZREM', WINDOWS, id) end
  end
end

for _, name in ipairs(due) do
  if string.sub(name, 1, 2) == 'w:' then
    local win = window(string.sub(name, 3))
    if not win then
      redis.call('ZREM', queue, name)
    else
      win.leased = 0
      claim_window(win)
    end
  else
    local key = RECORDS .. name
    local rec = record(key)
    local home = rec.W and window(rec.W)
    if rec.W and not home then
      redis.call('HDEL', key, 'W', 'K')
      rec.W = nil
    end
    local slots = unsettled(rec)
    if rec.d or (#slots == 0 and not mark_pending(rec)) then
      redis.call('ZREM', queue, name)
    elseif home then
      redis.call('ZREM', queue, name)
      pend(home, number(rec.K), name, rec.f or '')
      if home.closed or number(rec.K) < home.chunk then
        home.due, home.changed = home.due or now, true
      end
    else
      redis.call('ZADD', queue, 'XX', now + lease, name)
      redis.call('PEXPIRE', key, PENDING_LIFE)
      items[#items + 1] = item(name, rec, slots, rec.p or '')
    end
  end
end

keep_windows(now)
redis.call('PEXPIRE', queue, PENDING_LIFE)
local identity, corrupt = '', 0
if token ~= '' then
  sound(sentinel, 'string')
  sound(queue .. ':corrupt', 'string')
  redis.call('SET', sentinel, token, 'NX', 'PX', PENDING_LIFE)
  redis.call('PEXPIRE', sentinel, PENDING_LIFE)
  corrupt = number(redis.call('GET', queue .. ':corrupt'))
  if corrupt > 0 then redis.call('DEL', queue .. ':corrupt') end
  identity = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. ':' .. legible(redis.call('GET', sentinel))
end
local collecting = redis.call('ZCARD', WINDOWS)
local depth = math.max(0, redis.call('ZCARD', queue) - collecting)
return cmsgpack.pack({items, next_due(queue, now), depth, identity, corrupt, claimed, expired, collecting})
