-- claim: give a sweeper the next blobs of one root's trash, for a while.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id   the root whose trash is meant
-- ARGV[5] token   id   this claim; its directory quarantine/<token> stands already
-- ARGV[6] limit   int  most blobs to claim, 1..64
-- ARGV[7] hold    ms   how long the claim lasts, 1..60000
-- ARGV[8] host    text the host that claims, without spaces
-- ARGV[9] barrier text the system's error for which no directory can be made; "" where it stands
-- ARGV[10] shut   int  1 if not even a file of the store's own can be deleted
-- ARGV[11] skip   int  due blobs that were left before, because of the barrier
-- ARGV[12] pause  ms   for how long nothing is claimed after the server was started or replaced
-- ARGV[13] shown  text the entry of the chain of epochs that the root shows (see _frozen)
-- ARGV[14..]      ids  only these blobs; none given: whatever is due, soonest first
--
-- Returns {held = "" or why nothing is claimed, due = how many wait then, put_off, barred, prev = {token, ...}, blobs = {{id, path or "", identity, custody, size, path as registered, silent}, ...}}.
-- Of what was never written to its end the custody is "draft". What is leased, or being written, waits for the last deadline, whatever its entry says.
-- A lapsed claim is taken over whole and alone: `prev` are the tokens it went through, oldest first. `silent` is 1 if its
-- last worker has said nothing of the blob, so that it may have deleted it.
-- If there is a barrier, only files of the store's own are claimed; `barred` others stay as they are (see _choice).
-- Of a root that was forgotten, nothing. Twice with one op: the same batch. Cost: O(limit * log trash).

local root, token = argument(is_id, ARGV[4]), argument(is_id, ARGV[5])
local limit, hold, skip = int(ARGV[6], 1, 64), int(ARGV[7], 1, 60000), int(ARGV[11], 0, 9e15)
barrier, shut = ARGV[9], int(ARGV[10], 0, 1) == 1
local trash = expect("zset", "trash:" .. root)
local paths, record = expect("hash", "path:" .. root), expect("hash", "claim:" .. token)
reserved_kinds()
expect("hash", "stuck")
for _, name in ipairs({ "older:" .. root, "dedup:" .. root }) do expect("hash", name) end
local answer = { prev = {}, blobs = {}, put_off = 0, barred = 0, held = "", due = 0 }

if redis.call("HEXISTS", expect("hash", "lost"), root) == 1 then return finish(answer) end
local named = { unpack(ARGV, 14) }
answer.held = held(int(ARGV[12], 0, 9e15), { root, argument(is_shown, ARGV[13], true) }) or ""
if answer.held ~= "" then
  answer.due = #named > 0 and #named or redis.call("ZCOUNT", trash, "-inf", str(now))
  return finish(answer)
end
local due = #named > 0 and named or redis.call("ZRANGEBYSCORE", trash, "-inf", str(now), "LIMIT", skip, limit)
local batch, old, foreign, failed, moved, lost, wrong = {}, nil, false, {}, {}, {}, {}
batch, old, answer.barred = choose(root, trash, due, moved, lost, wrong)
if old then
  batch, answer.prev, foreign, failed = take_over(old)
  batch = of_claim(old, root, batch, due)
end
-- A blob that was named is not put off: whoever names it looks again when the path's current one has gone.
local path_of, retaken, turn = take_turns(paths, batch, views, not old and (#named > 0 and {} or moved))
batch = turn

note_barrier(root, ARGV[8], answer.barred)
for _, id in ipairs(wrong) do put_off(root, id) end
answer.put_off = #wrong
if #lost > 0 then redis.call("ZREM", trash, unpack(lost)) end
if #moved > 0 then redis.call("ZADD", trash, "XX", unpack(moved)) end
if #batch == 0 then return finish(answer) end
for path, id in pairs(retaken) do redis.call("HSET", paths, path, id) end
local claim = { record, "root", root, "deadline", str(now + hold), "since", str(now), "prev", table.concat(answer.prev, " ") }
local until_then = {}
for i, id in ipairs(batch) do
  -- From here on the blob may be half gone: it is never handed out again, only finished.
  redis.call("HSET", P .. "blob:" .. id, "state", "deleting", "ever", 1, "token", token)
  claim[#claim + 1], claim[#claim + 2] = "blob:" .. id, ""
  until_then[#until_then + 1], until_then[#until_then + 2] = str(now + hold), id
  local v = views[id]
  answer.blobs[i] = { id, path_of[id], v[1], v.draft and "draft" or v[2], v[3], v.path, old and not failed[id] and 1 or 0 }
  seize(root, id, v)
end
redis.call("HSET", unpack(claim))
redis.call("ZADD", trash, unpack(until_then))
if old and not foreign then redis.call("UNLINK", P .. "claim:" .. old) end
return finish(answer)
