-- end_lease: end leases before their deadlines; bytes that nobody else holds may go now.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] count   int   how many leases follow, 1..64
-- ARGV[5..]       text  leases in pairs: blob id, token
--
-- Returns {held = {1 or 0 for a lost one, ...}, due = {1 where the blob may go now, ...}}, in order.
-- Twice with one op: the same answer. Cost: O(leases * log leases of the blob).

local count = int(ARGV[4], 1, 64)
local answer = { held = {}, due = {} }
for i = 5, #ARGV, 2 do lease_kinds(argument(is_id, ARGV[i])) end
for i = 5, math.min(#ARGV, 4 + 2 * count), 2 do
  answer.held[#answer.held + 1] = holds(ARGV[i], ARGV[i + 1]) and 1 or 0
  let_go(ARGV[i], ARGV[i + 1])
  answer.due[#answer.due + 1] = settle_leases(ARGV[i]) and 1 or 0
end
return finish(answer)
