-- lapse: close the scopes whose deadline has passed; drains then end what is in them.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] limit   int  most scopes to look at, 1..64
--
-- Returns {closed = {scope, ...}, done = 0 or 1}.
-- Twice with one op: the same answer. Cost: O(limit * depth).

local limit = int(ARGV[4], 1, 64)
for name, kind in pairs({ lifetimes = "hash", deadlines = "zset", closed = "zset", cuts = "hash", scopes = "zset", seq = "string" }) do expect(kind, name) end
local due = redis.call("ZRANGEBYSCORE", P .. "deadlines", "-inf", str(now), "LIMIT", 0, limit)
local answer, found = { closed = {}, done = #due < limit and 1 or 0 }, {}
for i, scope in ipairs(due) do
  lineage_to_change(scope)
  expect("zset", "children:" .. scope)
  found[i] = life_of(redis.call("HGET", P .. "lifetimes", scope))
end
for i, scope in ipairs(due) do
  local life = found[i]
  local ended = not life or first_cut(marks_above(scope), life.seq)
  forget_deadline(scope)
  redis.call("ZREM", P .. "scope:" .. scope, DEADLINE)
  if not ended and redis.call("EXISTS", P .. "scope:" .. scope, P .. "children:" .. scope) > 0 then
    close(scope, "expired", ".")
    answer.closed[#answer.closed + 1] = scope
  end
  prune(scope)
end
if #due > 0 then keep_time() end
return finish(answer)
