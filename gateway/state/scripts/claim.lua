-- Claim what is due: each item is leased to the caller, and becomes due again when the lease runs out.
--
-- KEYS  1 queue   2 sentinel
-- ARGV  1 record key prefix   2 limit   3 lease ms   4 a token for a missing sentinel, or '' not to ask who this is
-- Reply MessagePack: {items, due in ms, depth, identity, records set aside since it was last asked}
--         item: {fingerprint, {{slot, value, base} …}, generation, attempts, firing since, resolved since,
--                resolved at, payload}
--
-- A lease only saves work: two claimers who write the same thing do no harm. Record keys are derived from the queue's
-- members; they share its hash tag.

local queue, sentinel = KEYS[1], KEYS[2]
local prefix, limit, lease, token = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local now = now_ms()

sound(queue, 'zset')
local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, limit)

local items = {}
for _, fingerprint in ipairs(due) do
  local key = prefix .. fingerprint
  local rec = record(key)
  local slots = unsettled(rec)
  if rec.d or (#slots == 0 and not mark_pending(rec)) then
    redis.call('ZREM', queue, fingerprint)
  else
    redis.call('ZADD', queue, 'XX', now + lease, fingerprint)
    redis.call('PEXPIRE', key, PENDING_LIFE)
    items[#items + 1] = {fingerprint, slots, number(rec.g), number(rec.t), rec.f or '', rec.r or '', rec.e or '',
                         rec.p or ''}
  end
end

redis.call('PEXPIRE', queue, PENDING_LIFE)
local identity, corrupt = '', 0
if token ~= '' then
  redis.call('SET', sentinel, token, 'NX', 'PX', PENDING_LIFE)
  redis.call('PEXPIRE', sentinel, PENDING_LIFE)
  corrupt = number(redis.call('GET', queue .. ':corrupt'))
  if corrupt > 0 then redis.call('DEL', queue .. ':corrupt') end
  identity = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. ':' .. redis.call('GET', sentinel)
end
return cmsgpack.pack({items, next_due(queue, now), redis.call('ZCARD', queue), identity, corrupt})
