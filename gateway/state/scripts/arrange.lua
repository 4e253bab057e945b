-- Name the generation of the next request: one above all that anybody knows of. Whoever asks first decides for all.
--
-- KEYS  1 queue (unused)   2 record
-- ARGV  1 the highest generation that the caller knows, closed or deleted
-- Reply the generation to create

local g, h = unpack(fields(KEYS[2], 'g', 'h'))
local known = tonumber(ARGV[1])
local generation = math.max(number(g), known + 1)
redis.call('HSET', KEYS[2], 'g', generation)
if h and number(h) <= known then redis.call('HDEL', KEYS[2], 'h', 'm') end
if redis.call('PTTL', KEYS[2]) < 0 then redis.call('PEXPIRE', KEYS[2], PENDING_LIFE) end
return generation
