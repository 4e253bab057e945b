-- Make what was put off after failures due now: what it failed for is well again.
--
-- KEYS  1 queue
-- ARGV  1 root of every key of the shard   2 spread ms   3 until when it was moved, 0 in the first call (ms)
--       4 items looked at and left where they are   5 most items to look at
-- Reply {until, items looked at, moved}: call again with `until` and the rest until fewer than `most` were looked at
--
-- Only what failed is moved: a window that collects, and a count that waits for its turn, have a time of their own. An
-- item that is leased after a failure is moved, too; two claimers who write the same thing do no harm. The items are
-- spread evenly over the time, so that all replicas together do not ask for everything at once.

local now = now_ms()
local spread, most = tonumber(ARGV[2]), tonumber(ARGV[5])
local horizon = tonumber(ARGV[3])
if horizon == 0 then horizon = now + spread end
sound(KEYS[1], 'zset')
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', horizon), '+inf', 'LIMIT', ARGV[4], most)
local moved = 0
for place, name in ipairs(later) do
  local window = string.sub(name, 1, 2) == 'w:'
  local key = window and ARGV[1] .. name or ARGV[1] .. 'r:' .. name
  if number(fields(key, 't')[1]) > 0 then
    local at = math.min(horizon, now + math.floor(spread * place / #later))
    redis.call('ZADD', KEYS[1], 'XX', at, name)
    if window then redis.call('HSET', key, 'd', string.format('%d', at), 'y', '0') end
    moved = moved + 1
  end
end
return {horizon, #later, moved}
