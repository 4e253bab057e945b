-- Where one fingerprint stands, for a person who asks; changes nothing that is sound.
--
-- KEYS  1 queue   2 record   3 dead letters
-- ARGV  1, 2 see windows.lua   3 fingerprint
-- Reply MessagePack: {now ms, known, when it is due (ms, -1: not in the queue), generation, failed attempts,
--         occurrences that are still to be written, whether anything is to be written, why it is a dead letter (empty:
--         it is none), since when (ms), window or nil}
--         window: {id, group, storming, closed, ends, members}

local rec = record(KEYS[2])
local unwritten = 0
for _, slot in ipairs(unsettled(rec)) do unwritten = unwritten + slot[2] - slot[3] end
sound(KEYS[1], 'zset')
sound(KEYS[3], 'zset')
local due = redis.call('ZSCORE', KEYS[1], ARGV[3])
local since = rec.d and redis.call('ZSCORE', KEYS[3], ARGV[3])
local held = rec.W and window(rec.W) or nil
return cmsgpack.pack({
  now_ms(),
  next(rec) ~= nil,
  due and number(due) or -1,
  number(rec.g),
  number(rec.t),
  math.min(unwritten, MOST),
  unwritten > 0 or mark_pending(rec) and true or false,
  legible(rec.d),
  number(since or ''),
  held and {held.id, held.group, held.storming, held.closed, held.ends, held.members} or false,
})
