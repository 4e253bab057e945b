-- Read what requests are made of.
--
-- KEYS  records
-- Reply the payload of each, empty where there is none

local found = {}
for i, key in ipairs(KEYS) do
  local payload = redis.pcall('HGET', key, 'p')
  found[i] = type(payload) == 'string' and payload or ''
end
return found
