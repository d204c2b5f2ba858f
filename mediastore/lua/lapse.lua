-- lapse: close the scopes whose deadline has passed; drains then end what is in them.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] limit   int   most scopes to look at, 1..64
-- ARGV[5] breaker text  "breaker_min millionths" (see _tripped); "0 0": nothing is too many
-- ARGV[6] pause   ms    for how long nothing lapses after the server was started or replaced
-- ARGV[7..]       text  roots of the caller in twos: root id, the entry of the chain of epochs that it shows (see _frozen)
--
-- Returns {closed = {scope, ...}, done = 0 or 1, held = "" or why nothing lapses, due = how many scopes then}.
-- Twice with one op: the same answer. Cost: O(limit * depth).

local limit = int(ARGV[4], 1, 64)
for name, kind in pairs({ lifetimes = "hash", deadlines = "zset", closed = "zset", cuts = "hash", scopes = "zset", seq = "string", stuck = "hash" }) do expect(kind, name) end
local due = redis.call("ZRANGEBYSCORE", P .. "deadlines", "-inf", str(now), "LIMIT", 0, limit)
local answer, found = { closed = {}, done = #due < limit and 1 or 0, held = "", due = 0 }, {}
answer.held = held(int(ARGV[6], 0, 9e15), shown_by({ unpack(ARGV, 7) })) or tripped(ARGV[5]) or ""
if answer.held ~= "" then
  answer.due, answer.done = redis.call("ZCOUNT", P .. "deadlines", "-inf", str(now)), 1
  return finish(answer)
end
local unreadable = {}
for i, scope in ipairs(due) do
  lineage_to_change(scope)
  expect("zset", "children:" .. scope)
  local said = redis.call("HGET", P .. "lifetimes", scope)
  found[i] = life_of(said)
  unreadable[scope] = said and not found[i] and is_scope(scope)
end
-- Whether it holds what was there before the last accept, though its deadline was set since.
local function holds_older(scope)
  local below = "(" .. str(keeping().below)
  return keeping().below > 0 and redis.call("ZCOUNT", P .. "scope:" .. scope, "-inf", below) + redis.call("ZCOUNT", P .. "children:" .. scope, "-inf", below) > 0
end
local function lapse(scope, life)
  local ended = not life or first_cut(marks_above(scope, true), life.seq)
  forget_deadline(scope)
  redis.call("ZREM", P .. "scope:" .. scope, DEADLINE)
  if not ended and redis.call("EXISTS", P .. "scope:" .. scope, P .. "children:" .. scope) > 0 then
    close(scope, "expired", ".")
    answer.closed[#answer.closed + 1] = scope
  end
  prune(scope)
end

for i, scope in ipairs(due) do
  if unreadable[scope] then
    redis.call("ZADD", P .. "deadlines", str(now + LOOK_AGAIN_MS), scope)
    note_stuck("scope:" .. scope, nil, "lifetimes")
  elseif found[i] and (not overdue(now, found[i].seq) or holds_older(scope)) then
    redis.call("ZADD", P .. "deadlines", str(keeping().till), scope)
  else
    lapse(scope, found[i])
  end
end
if #due > 0 then keep_time() end
return finish(answer)
