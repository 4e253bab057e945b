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

local MOST_MEMBERS = 200
local queue, sentinel = KEYS[1], KEYS[2]
local limit, lease, token = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local now = now_ms()
local items, claimed, expired = {}, {}, {}
local members_left = MOST_MEMBERS

sound(queue, 'zset')
local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, limit)

local function item(fingerprint, rec, slots, payload)
  return {fingerprint, slots, number(rec.g), number(rec.t), rec.f or '', rec.r or '', rec.e or '', payload, rec.o or ''}
end

local function claim_window(win)
  local closing = false
  if not win.closed and now >= win.ends then
    if not win.storming then
      expired[#expired + 1] = {win.id, dissolve(win, 'buffer_expiration', now)}
      return
    end
    close(win, now)
    closing = true
  end
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
  redis.call('SET', sentinel, token, 'NX', 'PX', PENDING_LIFE)
  redis.call('PEXPIRE', sentinel, PENDING_LIFE)
  corrupt = number(redis.call('GET', queue .. ':corrupt'))
  if corrupt > 0 then redis.call('DEL', queue .. ':corrupt') end
  identity = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. ':' .. redis.call('GET', sentinel)
end
sound(WINDOWS, 'zset')
local collecting = redis.call('ZCARD', WINDOWS)
local depth = math.max(0, redis.call('ZCARD', queue) - collecting)
return cmsgpack.pack({items, next_due(queue, now), depth, identity, corrupt, claimed, expired, collecting})
