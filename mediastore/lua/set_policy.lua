-- set_policy: give a policy its length; the refs that live by it already are moved by `move_policy`.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] name    text  the policy
-- ARGV[5] length  ms    how long a ref lives by it, from when it was stored; "never" = no end
--
-- Returns {moving = 0 or 1}: refs have to be moved. A change that is under way goes on to this length.
-- Twice with one op: the same answer. Cost: O(1).

local name, length = ARGV[4], ARGV[5]
if length ~= "never" then length = str(int(ARGV[5], 1, 9e15)) end
local under = expect_policy(name)
expect("string", "seq")
local change = change_of(name)
local differs = redis.call("HGET", P .. "policies", name) ~= length

redis.call("HSET", P .. "policies", name, length)
if differs and redis.call("EXISTS", under) == 1 then
  redis.call("HSET", P .. "changing", name, str(next_seq()) .. " " .. str(change and change.left or 0))
  change = true
end
return finish({ moving = change and 1 or 0 })
