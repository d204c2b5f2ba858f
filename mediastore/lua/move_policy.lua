-- move_policy: give the next refs that live by a changed policy its new length; of a removed one, let them leave it.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] name    text  the policy
-- ARGV[5] limit   int   most refs to look at, 1..64
--
-- Returns {moved, left, done = 0 or 1}: refs that got the length, refs that left.
-- A dead ref keeps its deadline, which says when it ended. Whoever stores meanwhile has the new length and a higher seq.
-- Twice with one op: the same answer. Any number of callers at once: each ref is moved by one of them. Cost: O(limit * log refs).

local name, limit = ARGV[4], int(ARGV[5], 1, 64)
local under = expect_policy(name)
expect("zset", "expiry")
expect("zset", "closed")
expect("hash", "breaker")
local change, answer, nearest = change_of(name), { moved = 0, left = 0, done = 1 }, 0
if not change then return finish(answer) end

local said, found, noted = redis.call("HGET", P .. "policies", name), {}, {}
local length = said and length_of(name, said)
local ids = redis.call("ZRANGEBYSCORE", under, "-inf", "(" .. str(change.seq), "WITHSCORES", "LIMIT", 0, limit)
for i = 1, #ids, 2 do
  expect("hash", "ref:" .. ids[i])
  -- Of one that cannot be true, the policy and its change are none the worse.
  local ok, ref = pcall(live, ids[i])
  found[i] = ok and ref
  noted[i] = found[i] and has_sidecar(found[i])
end

for i = 1, #ids, 2 do
  local id, ref = ids[i], found[i]
  local leaves = tonumber(ids[i + 1]) < change.left
  if leaves then later("ZREM", under, id) else later("ZADD", under, str(change.seq), id) end
  if ref and leaves then
    redis.call("HDEL", P .. "ref:" .. id, "policy")
    answer.left = answer.left + 1
  elseif ref then
    local due = give_lifetime(id, ref, length) or 0
    if due < (num(ref.expires_at) or 9e15) then nearest = math.max(nearest, due) end
    answer.moved = answer.moved + 1
  end
  if noted[i] then note_sidecar(ref.root, id, ref.blob) end
end
send_batches()
-- What has come nearer falls due in one go, by a change that may be a mistake: the breaker looks out for it (see _breaker).
if nearest > 0 then
  redis.call("HSET", P .. "breaker", "nearer", str(math.max(nearest + 86400000, num(redis.call("HGET", P .. "breaker", "nearer")) or 0)))
end
answer.done = #ids < 2 * limit and 1 or 0
if answer.done == 1 then redis.call("HDEL", P .. "changing", name) end
return finish(answer)
