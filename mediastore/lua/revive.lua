-- revive: make refs again of which sidecars tell, where the index has lost them and knows nothing newer.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id    the root in which their files are
-- ARGV[5] dry     int   1: only say what would be done
-- ARGV[6] token   id    keeps the blob of these refs, until the last of them are made; "" where this call makes all of them
-- ARGV[7] hold    ms    for how long
-- ARGV[8] who     text  the caller, as people will read it
-- ARGV[9..]       text  at most 10 refs as JSON: [id, blob, scope as key names spell it, path, size, sha, stored ms,
--                       deadline ms or "", length ms or "", pinned, first, [name, value, ...]]; all refs of a blob in
--                       one call, or the longest-lived first
--
-- Returns {verdicts = {"made" | "known" | "dead" | "forgotten", ...}, blobs}: how many blobs had to be made for them.
-- "dead": it has a tombstone or an end that is not on the disk yet, or its blob is on its way out with it, or is another one.
-- A deadline that has passed is kept as it is: the next sweep ends the ref, as it would have.
-- Twice: the second time they are known. Cost: O(refs * depth of their scopes).

local root, dry, token, hold_ms = argument(is_id, ARGV[4]), int(ARGV[5], 0, 1), argument(is_id, ARGV[6], true), int(ARGV[7], 1, 9e15)
if #ARGV > 8 + 10 then error("BADARG " .. #ARGV) end
local plans, lost = plan_revival(root, { unpack(ARGV, 9) }, token)
local answer = { verdicts = {}, blobs = 0 }
for i, r in ipairs(plans) do
  answer.verdicts[i] = lost and "forgotten" or r.verdict
  if r.fresh then answer.blobs = answer.blobs + 1 end
end
if lost or dry == 1 then return finish(answer) end

for _, r in ipairs(plans) do
  if r.fresh then make_blob(root, r) end
  if r.verdict == "made" then
    local b, key = r.b, P .. "ref:" .. r.id
    if b.state == "reserved" then
      -- Its commit was lost with an index: the file and its sidecar are there, and nobody writes any more.
      unreserve(r.home)
      redis.call("HDEL", P .. "blob:" .. r.home, "draft")
      redis.call("ZREM", P .. "trash:" .. root, r.home)
      counted_again(b)
      b.state = "live"
    end
    if b.state == "doomed" then
      rescue(r.home, root, b)
      note_ended(root, r.home, b.ended)
      counted_again(b)
      b.state = "live"
    end
    b.refs = b.refs + 1
    redis.call("HSET", P .. "blob:" .. r.home, "state", "live", "refs", b.refs)
    if r.first and r.home == r.blob then redis.call("HSET", P .. "blob:" .. r.home, "meta", r.id) end
    make_ref(r.id, r.home, b, r.line, r.life, r.meta, r.stored)
    if r.ttl then redis.call("HSET", key, "ttl", str(r.ttl)) end
    if r.pinned then redis.call("HSET", key, "pinned", 1) end
    if r.expires then
      if keeping().below > 0 then r.expires = math.max(r.expires, keeping().till) end
      redis.call("HSET", key, "expires_at", str(r.expires))
      redis.call("ZADD", P .. "expiry", str(r.expires), r.id)
    end
    if token ~= "" then
      hold(r.home, token, hold_ms, hold_ms, ARGV[8])
      settle_leases(r.home)
    end
  end
end
return finish(answer)
