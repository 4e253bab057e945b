-- Take the notes of the bodies that came again: each is handed out once.
--
-- KEYS  1 queue   2 notes
-- ARGV  MessagePack: {{body, fingerprint} …}
-- Reply MessagePack: for each, true where a valid note was there (and is there no longer)

sound(KEYS[2], 'hash')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local found = {}
for i, note in ipairs(cmsgpack.unpack(ARGV[1])) do
  local field = note[1] .. ':' .. note[2]
  local stored = redis.call('HGET', KEYS[2], field)
  if stored then redis.call('HDEL', KEYS[2], field) end
  found[i] = stored == run
end
return cmsgpack.pack(found)
