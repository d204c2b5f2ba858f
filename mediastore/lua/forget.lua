-- forget: give up the next blobs that wait in the trash of a root which is gone for ever; the root is forgotten from the first call on.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id   the root whose host will not come back
-- ARGV[5] limit   int  most blobs to give up, 1..64
-- ARGV[6] begun   int  1 to go on only if the root is forgotten already: it may have been adopted since the caller looked
--
-- Returns {known = 0 or 1, words = "when place", blobs, bytes, left}. Once nothing is left it leaves `roots` as well.
-- Claims of that root are ended with their blobs: a late worker's acknowledgement counts nothing.
-- Twice with one op: the same answer. Cost: O(limit * log trash).

local root, limit, begun = argument(is_id, ARGV[4], true), int(ARGV[5], 1, 64), int(ARGV[6], 0, 1)
local roots, lost, stats = expect("hash", "roots"), expect("hash", "lost"), expect("hash", "stats")
local trash, paths, stuck = expect("zset", "trash:" .. root), expect("hash", "path:" .. root), expect("hash", "stuck")
for _, name in ipairs({ "older:", "dedup:" }) do expect("hash", name .. root) end
reserved_kinds()
expect("zset", "meta:" .. root)
local answer = { known = 1, blobs = 0, bytes = 0, words = redis.call("HGET", lost, root) }
local place = redis.call("HGET", roots, root)
if not answer.words and (begun == 1 or not place) then return finish({ known = 0, words = "", blobs = 0, bytes = 0, left = 0 }) end

local ids = redis.call("ZRANGE", trash, 0, limit - 1)
local known, wanted, claims, current, kept = {}, {}, {}, {}, 0
for i, id in ipairs(ids) do
  local b = redis.call("HMGET", P .. "blob:" .. id, "path", "token", "cut", "custody", "size", "due", "leased", "identity", "draft", "state")
  known[i] = b
  if b[1] then wanted[#wanted + 1] = b[1] end
  if b[2] then claims[expect("hash", "claim:" .. b[2])] = true end
  if b[3] then expect("set", "left:" .. b[3]) end
  if b[7] then expect_leases(id) end
end
for i, id in ipairs(#wanted > 0 and redis.call("HMGET", paths, unpack(wanted)) or {}) do current[wanted[i]] = id end

if not answer.words then
  answer.words = str(now) .. " " .. place
  redis.call("HSET", lost, root, answer.words)
  redis.call("UNLINK", P .. "dedup:" .. root)
  -- The journal of sidecars stays as long as live refs do: the root may be adopted.
  if (tonumber(redis.call("HGET", stats, "blobs:" .. root)) or 0) <= 0 then redis.call("UNLINK", P .. "meta:" .. root) end
end
for i, id in ipairs(ids) do
  local b = known[i]
  if b[1] and current[b[1]] == id then later("HDEL", paths, b[1]) end
  if b[1] and b[8] and current[b[1]] ~= id then forget_older(root, b[1], id, b[8]) end
  if b[2] then later("HDEL", P .. "claim:" .. b[2], "blob:" .. id) end
  if b[3] then later("SREM", P .. "left:" .. b[3], id) end
  -- A borrowed one waited for its second name to go; its file was never ours to lose. A draft was never whole.
  if b[1] and b[4] == "borrowed" then kept = kept + 1 end
  if b[1] and b[4] ~= "borrowed" and not b[9] then
    answer.blobs, answer.bytes = answer.blobs + 1, answer.bytes + (num(b[5]) or 0)
  end
  wait_no_more(not b[2] and b[6], b[5])
  if b[10] == "reserved" then unreserve(id) end
  if b[7] then later("UNLINK", P .. "lease:" .. id, P .. "holders:" .. id) end
  later("UNLINK", P .. "blob:" .. id)
  later("ZREM", trash, id)
end
local freed_stuck = #ids > 0 and redis.call("HDEL", stuck, unpack(ids)) or 0
send_batches()
for claim in pairs(claims) do
  local rest = string.find(table.concat(redis.call("HKEYS", claim), " "), "blob:", 1, true)
  if not rest then redis.call("UNLINK", claim) end
end
local gone = { kept_blobs = kept, lost_blobs = answer.blobs, lost_bytes = answer.bytes, ["lost:" .. root] = answer.blobs, ["stuck:" .. root] = -freed_stuck }
for name, by in pairs(gone) do
  if by ~= 0 then bump(stats, name, by) end
end
answer.left = redis.call("ZCARD", trash)
if answer.left == 0 then redis.call("HDEL", roots, root) end
return finish(answer)
