-- limit: give a scope deadlines: a fixed one, an idle one, or both. They can only be moved away, never nearer.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] scope   text  percent-encoded
-- ARGV[5] ttl     ms    the fixed one, from now; "" leaves it as it is, "never" takes it away
-- ARGV[6] idle    ms    after the last activity below; "" leaves it as it is, "never" takes it away
--
-- Returns {due = ms or "", others = 0 or 1}: when the scope ends unless something happens in it, and whether
-- it holds anything, which `idle` then tells.
-- Twice with one op: the same answer. Cost: O(depth of the scope).

local scope = argument(is_scope, ARGV[4])
local function wanted(text) return text ~= "" and text ~= "never" and int(text, 1, 9e15) end
local ttl, idle = wanted(ARGV[5]), wanted(ARGV[6])
local line = lineage_to_change(scope)
expect("zset", "children:" .. scope)
enter_kinds()

local life = life_of(redis.call("HGET", P .. "lifetimes", scope))
-- A release since then has ended it already.
if not life or first_cut(marks_above(scope), life.seq) then life = { fixed = 0, idle = 0 } end
-- Lengthened, it is told to nobody again: they say more often than they need that they are in use.
local told = life.idle
life.active = now
if ttl then life.fixed = math.max(life.fixed, now + ttl) end
if idle then life.idle = math.max(life.idle, idle) end
if ARGV[5] == "never" then life.fixed = 0 end
if ARGV[6] == "never" then life.idle = 0 end
if life.fixed == 0 and life.idle == 0 then
  forget_deadline(scope)
  redis.call("ZREM", P .. "scope:" .. scope, DEADLINE)
  prune(scope)
  return finish({ due = "", others = 0 })
end
local others = redis.call("ZCARD", P .. "scope:" .. scope) > (redis.call("ZSCORE", P .. "scope:" .. scope, DEADLINE) and 1 or 0)
others = idle and told == 0 and (others or redis.call("EXISTS", P .. "children:" .. scope) == 1)
life.seq = next_seq()
enter(DEADLINE, line, life.seq)
keep_life(scope, life)
note_activity(line)
return finish({ due = redis.call("ZSCORE", P .. "deadlines", scope), others = others and 1 or 0 })
