-- expire: end the refs whose deadline has passed, soonest first.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] limit   int   most refs to look at, 1..64
-- ARGV[5] terms   text  "tombstone_ms most_tombstones grace_ms who"
-- ARGV[6] breaker text  "breaker_min millionths" (see _tripped); "0 0": nothing is too many
-- ARGV[7] pause   ms    for how long nothing ends after the server was started or replaced
-- ARGV[8..]       text  roots of the caller in twos: root id, the entry of the chain of epochs that it shows (see _frozen)
--
-- Returns {released, expired, kept, doomed = {{root, blob}, ...}, done = 0 or 1, held = "" or why nothing ends, due = how many refs then}.
-- A due ref that a release had already ended counts as released.
-- Twice with one op: the same answer. Cost: O(limit * log refs), and of the breaker's look O(16 * log refs).

local limit = int(ARGV[4], 1, 64)
agree(ARGV[5])
plan_common()
local shown = shown_by({ unpack(ARGV, 8) })
tally.held, tally.due = held(int(ARGV[7], 0, 9e15), shown) or tripped(ARGV[6]) or "", 0
if tally.held ~= "" then
  tally.due, tally.done = redis.call("ZCOUNT", P .. "expiry", "-inf", str(now)), 1
  return finish(tally)
end
local ids = redis.call("ZRANGEBYSCORE", P .. "expiry", "-inf", str(now), "LIMIT", 0, limit)
tally.done = #ids < limit and 1 or 0
if #ids == 0 then
  reset_breaker()
  return finish(tally)
end

local misplaced, put_off, left = {}, {}, limit
for _, id in ipairs(ids) do
  local ref, foreign = record("HMGET", "ref:" .. id, "scope", "expires_at", "seq", "blob")
  local due, known = num(ref[2]), foreign or ref[1] or ref[2] or ref[3] or ref[4]
  local whole = not is_id(id) or is_scope(ref[1]) and num(ref[3]) and is_id(ref[4]) and (due or not ref[2])
  if left <= 0 then
    tally.done = 0
    break
  end
  if known and not whole then
    put_off[#put_off + 1] = id
  elseif known and not overdue(due, num(ref[3])) then
    misplaced[id] = due and due <= now and keeping().till or due or "never"
  end
  left = left - (known and (misplaced[id] or not whole) and 1 or plan(id))
end
bury()
reset_breaker()
count_ended(tally.expired)
-- The hash is the truth: an entry that came too early is put where it belongs.
for id, due in pairs(misplaced) do
  if due == "never" then redis.call("ZREM", P .. "expiry", id) else redis.call("ZADD", P .. "expiry", str(due), id) end
end
-- Nothing ends by a deadline that cannot be read, nor in a place that is none; and it keeps no other waiting.
for _, id in ipairs(put_off) do
  redis.call("ZADD", P .. "expiry", str(now + LOOK_AGAIN_MS), id)
  note_stuck("ref:" .. id, nil, "scope, seq, blob or expires_at")
end
return finish(tally)
