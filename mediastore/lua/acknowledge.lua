-- acknowledge: say what became of a claim's blobs: done with, or failed and to be tried again.
--
-- KEYS[1] prefix   "mediastore:{bots}:"
-- ARGV[4] root     id   the root of the claim
-- ARGV[5] token    id   the claim; blobs that another token took over are not touched
-- ARGV[6] over     int  1 if the directories of the claims before it were taken over; 0: they are to be tried again
-- ARGV[7] done     int  how many of the outcomes that follow are of blobs that are done with
-- ARGV[8..]        text outcomes in threes: blob id, then for one that is done with the bytes freed and "deleted", "gone" or
--                       "spared <what stands there>"; for one that failed the errno name and "stuck" or "again"
--
-- Returns {deleted, gone, spared, kept, freed, failed, left}: counted once per blob, here and nowhere else.
-- Twice with one op: the same answer. Cost: O(outcomes * log trash).

local root, token, over, done = argument(is_id, ARGV[4]), argument(is_id, ARGV[5]), int(ARGV[6], 0, 1), int(ARGV[7], 0, 64)
local FIRST_MS, LONGEST_MS, STUCK_AFTER = 1000, 300000, 10
local trash, paths = expect("zset", "trash:" .. root), expect("hash", "path:" .. root)
local stats, stuck, claim = expect("hash", "stats"), expect("hash", "stuck"), expect("hash", "claim:" .. token)
expect("list", "spared")

local known, wanted, current = {}, {}, {}
for i = 8, #ARGV, 3 do
  if i < 8 + 3 * done then check_outcome(ARGV[i + 1], ARGV[i + 2]) end
  local b = redis.call("HMGET", P .. "blob:" .. ARGV[i], "token", "path", "custody", "cut", "tries", "draft", "identity")
  known[i] = b[1] == token and b
  if known[i] and b[2] then wanted[#wanted + 1] = b[2] end
  if b[4] then expect("set", "left:" .. b[4]) end
end
for i, blob in ipairs(#wanted > 0 and redis.call("HMGET", paths, unpack(wanted)) or {}) do current[wanted[i]] = blob end

local newly_stuck = 0
local function leave(id, b)
  if b[2] and current[b[2]] == id then later("HDEL", paths, b[2]) end
  if b[4] then later("SREM", P .. "left:" .. b[4], id) end
  later("UNLINK", P .. "blob:" .. id)
  later("ZREM", trash, id)
  if b[5] then newly_stuck = newly_stuck - redis.call("HDEL", stuck, id) end
  later("HDEL", claim, "blob:" .. id)
end

local earliest
local function failed(id, b, errno, hopeless)
  local tries = math.min(num(b[5]) or 0, 1000) + 1
  local wait = hopeless and LONGEST_MS or math.min(FIRST_MS * 2 ^ (tries - 1), LONGEST_MS)
  answer.failed = answer.failed + 1
  earliest = math.min(earliest or wait, wait)
  redis.call("HSET", P .. "blob:" .. id, "tries", tries, "errno", errno)
  -- Its file was not removed: whoever takes the claim over must not think that it may have been.
  if over == 1 then redis.call("HSET", claim, "blob:" .. id, "failed") end
  if not hopeless and tries < STUCK_AFTER then return end
  redis.call("HSET", P .. "blob:" .. id, "state", "stuck")
  newly_stuck = newly_stuck + redis.call("HSET", stuck, id, errno .. " " .. root .. " " .. (b[2] or ""))
end

for i = 8, #ARGV, 3 do
  if known[i] and i < 8 + 3 * done then
    count_outcome(root, ARGV[i], known[i], tonumber(ARGV[i + 1]), ARGV[i + 2])
    leave(ARGV[i], known[i])
  elseif known[i] then
    failed(ARGV[i], known[i], ARGV[i + 1], ARGV[i + 2] == "stuck")
  end
end
send_batches()
add_up(stats)
if newly_stuck ~= 0 then bump(stats, "stuck:" .. root, newly_stuck) end
for _, field in ipairs(redis.call("HKEYS", claim)) do
  local id = string.match(field, "^blob:(.+)$")
  if id then
    answer.left = answer.left + 1
    -- One deadline for the whole claim: it is taken over whole.
    if earliest then redis.call("ZADD", trash, "XX", str(now + earliest), id) end
  end
end
if answer.left == 0 then
  redis.call("UNLINK", claim)
elseif earliest then
  -- This worker's directory holds what the earlier ones had: the chain starts afresh.
  redis.call("HSET", claim, "deadline", str(now + earliest), unpack(over == 1 and { "prev", "" } or {}))
end
return finish(answer)
