-- renew: move the deadlines of leases that still hold; one that does not is lost for ever.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] count   int   how many leases follow, 1..64
-- ARGV[5..]       text  leases in threes: blob id, token, ttl in ms from now
--
-- Returns {deadlines = {ms or "0" for a lost one, ...}}, in order. A deadline only grows, and never beyond the lease's last.
-- Twice with one op: the same answer. Cost: O(leases * log leases of the blob).

local count = int(ARGV[4], 1, 64)
local answer, touched = {}, {}
for i = 5, #ARGV, 3 do
  int(ARGV[i + 2], 1, 9e15)
  lease_kinds(argument(is_id, ARGV[i]))
end
for i = 5, math.min(#ARGV, 4 + 3 * count), 3 do
  local blob, token, ttl = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local deadline = 0
  if holds(blob, token) then
    local last = string.match(redis.call("HGET", P .. "holders:" .. blob, token) or "", "^(%d+)")
    deadline = math.min(now + ttl, tonumber(last or "0"))
    redis.call("ZADD", P .. "lease:" .. blob, "XX", "GT", str(deadline), token)
    deadline = num(redis.call("ZSCORE", P .. "lease:" .. blob, token)) or deadline
  end
  touched[blob] = true
  answer[#answer + 1] = str(deadline)
end
for blob in pairs(touched) do settle_leases(blob) end
return finish({ deadlines = answer })
