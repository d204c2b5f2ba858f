-- _bury: put after _plan. Ends the planned refs: each leaves a tombstone, and each blob without a ref left
-- enters the trash of its root in this same script. That entry is the journal of its bytes.

local tally = { released = 0, expired = 0, refused = 0, kept = 0, doomed = {} }
local counts, withdrawn = {}, false

local function count(name, by) counts[name] = (counts[name] or 0) + by end

-- A scope leaves its parent only when its set and its own children are empty.
local function prune(scope)
  local line = lineage(scope)
  for i, s in ipairs(line) do
    local own = redis.call("EXISTS", P .. "scope:" .. s)
    if own == 0 then redis.call("ZREM", P .. "scopes", s) end
    if own == 1 or redis.call("EXISTS", P .. "children:" .. s) == 1 then return end
    if line[i + 1] then redis.call("ZREM", P .. "children:" .. line[i + 1], s) end
  end
end

-- A borrowed blob gives up its path, or, where the path went on to another blob, its share of `borrowed`.
-- True when there is nothing to journal: not ours to delete, and nothing of ours on the disk.
local function give_back(id, blob)
  local path, others = P .. "path:" .. blob.root, P .. "borrowed:" .. blob.root
  local ours, bare = redis.call("HGET", path, blob.path) == id, string.sub(blob.identity, 1, 5) ~= "link:"
  if ours and bare then redis.call("HDEL", path, blob.path) end
  if not ours and redis.call("HINCRBY", others, blob.path, -1) <= 0 then redis.call("HDEL", others, blob.path) end
  return bare
end

local function doom(id, blob)
  count("blobs", -1)
  count("size_bytes", -blob.size)
  if blob.custody == "borrowed" and give_back(id, blob) then
    later("UNLINK", P .. "blob:" .. id)
    tally.kept = tally.kept + 1
    return
  end
  redis.call("HSET", P .. "blob:" .. id, "state", "doomed", "refs", 0, unpack(blob.cut and { "cut", blob.cut } or {}))
  later("ZADD", P .. "trash:" .. blob.root, str(now), id)
  if blob.cut then later("SADD", P .. "left:" .. blob.cut, id) end
  tally.doomed[#tally.doomed + 1] = { blob.root, id }
end

local function end_ref(ref, tombstone_ms)
  -- Whichever came first ended it: the deadline or the release.
  local at, cause = ref.mark or us, "released"
  if ref.due and ref.due * 1000 <= at then cause, at = "expired", ref.due * 1000 end
  if withdrawn then cause = "refused" end
  tally[cause] = tally[cause] + 1
  count("refs", -1)
  count((withdrawn and "stored" or cause) .. "_refs", withdrawn and -1 or 1)
  count((withdrawn and "stored" or cause) .. "_bytes", withdrawn and -ref.size or ref.size)
  local words = withdrawn and ref.blob or str(math.floor(at / 1000)) .. " " .. ref.scope
  redis.call("SET", P .. "gone:" .. ref.id, cause .. " " .. words, "PX", tombstone_ms)
  local blob = blobs[ref.blob]
  if blob then blob.refs, blob.touched, blob.cut = blob.refs - 1, true, ref.cut end
end

local function bury(tombstone_ms)
  local homes = {}
  for _, ref in ipairs(refs) do
    later("ZREM", P .. "expiry", ref.id)
    later("UNLINK", P .. "ref:" .. ref.id)
    if ref.scope then later("ZREM", P .. "scope:" .. ref.scope, ref.id) end
    if ref.scope then homes[ref.scope] = true end
    if ref.known then end_ref(ref, math.max(tombstone_ms, RECORD_MS)) end
  end
  for id, blob in pairs(blobs) do
    if blob.touched and blob.refs <= 0 then
      doom(id, blob)
    elseif blob.touched then
      redis.call("HSET", P .. "blob:" .. id, "refs", blob.refs)
      tally.kept = tally.kept + 1
    end
  end
  send_batches()
  for name, by in pairs(counts) do redis.call("HINCRBY", P .. "stats", name, by) end
  for scope in pairs(homes) do prune(scope) end
  keep_time()
end
