-- drain: end the next refs of a closed scope, and forget its mark once nothing is left below it.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] scope   text  the scope that was closed
-- ARGV[5] limit   int   most refs and most scopes to touch, 1..64
-- ARGV[6] terms   text  "tombstone_ms most_tombstones grace_ms who"
--
-- Returns {released, expired, kept, doomed = {{root, blob}, ...}, done = 0 or 1}.
-- Twice with one op: the same answer. Any number of callers at once: each ref is ended by one of them.
-- Cost: O(limit). The walk is read first; only then is anything written.

local scope, limit = ARGV[4], int(ARGV[5], 1, 64)
agree(ARGV[6])
plan_common()
local mark = tonumber(redis.call("ZSCORE", P .. "closed", scope) or "")
tally.done = 1
if not mark or mark > 9e15 then return finish(tally) end
if not is_scope(scope) then
  reopen(scope) -- no ref is in what is no scope
  return finish(tally)
end

local left, clean, below = limit, {}, "(" .. str(mark)

-- True when nothing below the mark is left in `node` once the planned refs have ended.
-- Children are visited oldest bound first; those with only newer refs are never visited.
local function visit(node)
  plan_scope(node)
  expect("zset", "children:" .. node)
  local ids = redis.call("ZRANGEBYSCORE", P .. "scope:" .. node, "-inf", below, "LIMIT", 0, left + 1)
  for i = 1, math.min(#ids, left) do plan(ids[i], node, nil, mark) end
  local finished = #ids <= left
  left = math.max(0, left - #ids)
  if not finished then return false end
  for _, child in ipairs(redis.call("ZRANGEBYSCORE", P .. "children:" .. node, "-inf", below, "LIMIT", 0, left + 1)) do
    -- Charged when it is clean, not when it is entered: the way down must not use up what is to be done there.
    if left == 0 then return false end
    -- What is not below it leads nowhere, or round in a circle.
    if string.sub(child, 1, #node + 1) ~= node .. "/" then
      later("ZREM", P .. "children:" .. node, child)
    elseif not visit(child) then
      return false
    end
    left = math.max(0, left - 1)
  end
  clean[#clean + 1] = node
  return true
end

ended_at = mark
if not visit(scope) then tally.done = 0 end
bury()
count_ended(tally.expired)
for _, node in ipairs(clean) do
  local parent = string.match(node, "^(.*)/[^/]*$")
  if node == scope then
    -- The same script found it clean and read this mark: a newer release has not been lost.
    reopen(scope)
  elseif redis.call("EXISTS", P .. "scope:" .. node, P .. "children:" .. node) > 0 then
    redis.call("ZADD", P .. "children:" .. parent, "XX", str(mark), node)
  end
  prune(node)
end
return finish(tally)
