-- expire: end the refs whose deadline has passed, soonest first.
--
-- KEYS[1] prefix        "mediastore:{bots}:"
-- ARGV[4] limit         int  most refs to look at, 1..64
-- ARGV[5] tombstone_ms  ms   how long an ended ref is remembered
--
-- Returns {released, expired, kept, doomed = {{root, blob}, ...}, done = 0 or 1}.
-- A due ref that a release had already ended counts as released.
-- Twice with one op: the same answer. Cost: O(limit * log refs); nothing due costs one look.

local limit, tombstone_ms = int(ARGV[4], 1, 64), int(ARGV[5], 1, 9e15)
plan_common()
local ids = redis.call("ZRANGEBYSCORE", P .. "expiry", "-inf", str(now), "LIMIT", 0, limit)
tally.done = #ids < limit and 1 or 0
if #ids == 0 then return finish(tally) end

local too_early, left = {}, limit
for _, id in ipairs(ids) do
  local due = tonumber(redis.call("HGET", P .. "ref:" .. id, "expires_at") or "")
  if left <= 0 then
    tally.done = 0
    break
  end
  left = left - (due and due > now and 1 or plan(id))
  if due and due > now then too_early[id] = due end
end
bury(tombstone_ms)
-- The hash is the truth: an entry that came too early is put where it belongs.
for id, due in pairs(too_early) do redis.call("ZADD", P .. "expiry", str(due), id) end
return finish(tally)
