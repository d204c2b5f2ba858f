-- remove_policy: forget a policy; the refs that live by it keep their deadlines, and leave it by `move_policy`.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] name    text  the policy
-- ARGV[5] force   int   1 also when refs live by it
--
-- Returns {verdict = "done" | "unknown" | "used", refs}: how many are under it, those that no sweep has ended yet included.
-- Twice with one op: the same answer. Cost: O(1).

local name, force = ARGV[4], int(ARGV[5], 0, 1)
local under = expect_policy(name)
expect("string", "seq")
local refs = redis.call("ZCARD", under)
if redis.call("HEXISTS", P .. "policies", name) == 0 then return finish({ verdict = "unknown", refs = refs }) end
if refs > 0 and force == 0 then return finish({ verdict = "used", refs = refs }) end

redis.call("HDEL", P .. "policies", name)
if refs > 0 then
  local seq = str(next_seq())
  redis.call("HSET", P .. "changing", name, seq .. " " .. seq)
else
  redis.call("HDEL", P .. "changing", name)
end
return finish({ verdict = "done", refs = refs })
