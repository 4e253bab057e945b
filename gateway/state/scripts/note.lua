-- Note the alerts of a body that is answered 503 although they were taken, so that the sender's retry skips them.
--
-- KEYS  1 queue   2 notes (hash: body:fingerprint → run_id)
-- ARGV  MessagePack: {{body, fingerprint} …}
-- Reply how many were noted
--
-- A note is worth only as much as the server that holds the number: it carries its run_id, so that one that came back
-- from the past (a failover) is not believed. The whole hash lives five minutes after its last note, and is bounded.

sound(KEYS[2], 'hash')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local noted = cmsgpack.unpack(ARGV[1])
if redis.call('HLEN', KEYS[2]) > 100000 then redis.call('DEL', KEYS[2]) end
for _, note in ipairs(noted) do redis.call('HSET', KEYS[2], note[1] .. ':' .. note[2], run) end
redis.call('PEXPIRE', KEYS[2], 300000)
return #noted
