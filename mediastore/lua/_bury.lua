-- _bury: put after _plan. Ends the planned refs: each leaves a tombstone, and each blob without a ref left
-- enters the trash of its root in this same script. That entry is the journal of its bytes.

local tally = { released = 0, expired = 0, kept = 0, doomed = {} }

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

local function doom(id, blob)
  local key = P .. "blob:" .. id
  redis.call("HINCRBY", P .. "stats", "blobs", -1)
  redis.call("HINCRBY", P .. "stats", "size_bytes", -blob.size)
  if blob.custody == "borrowed" and string.sub(blob.identity, 1, 5) ~= "link:" then
    -- Not ours to delete, and nothing of ours on the disk: there is nothing to journal.
    local path = P .. "path:" .. blob.root
    if redis.call("HGET", path, blob.path) == id then redis.call("HDEL", path, blob.path) end
    redis.call("UNLINK", key)
    tally.kept = tally.kept + 1
    return
  end
  redis.call("HSET", key, "state", "doomed", "refs", 0)
  redis.call("ZADD", P .. "trash:" .. blob.root, now, id)
  if blob.cut then
    redis.call("HSET", key, "cut", blob.cut)
    redis.call("SADD", P .. "left:" .. blob.cut, id)
  end
  tally.doomed[#tally.doomed + 1] = { blob.root, id }
end

local function end_ref(ref, tombstone_ms)
  -- Whichever came first ended it: the deadline or the release.
  local at = ref.mark or us
  local cause = "released"
  if ref.due and ref.due * 1000 <= at then cause, at = "expired", ref.due * 1000 end
  tally[cause] = tally[cause] + 1
  redis.call("HINCRBY", P .. "stats", cause .. "_refs", 1)
  redis.call("HINCRBY", P .. "stats", cause .. "_bytes", ref.size)
  redis.call("UNLINK", P .. "ref:" .. ref.id)
  redis.call("ZREM", P .. "scope:" .. ref.scope, ref.id)
  redis.call("SET", P .. "gone:" .. ref.id, cause .. " " .. str(math.floor(at / 1000)) .. " " .. ref.scope, "PX", tombstone_ms)
  local blob = blobs[ref.blob]
  if blob then blob.refs, blob.touched, blob.cut = blob.refs - 1, true, ref.mark and str(ref.mark) end
end

local function bury(tombstone_ms)
  local homes = {}
  for _, ref in ipairs(refs) do
    redis.call("ZREM", P .. "expiry", ref.id)
    if ref.home then redis.call("ZREM", P .. "scope:" .. ref.home, ref.id) end
    if ref.scope then end_ref(ref, math.max(tombstone_ms, RECORD_MS)) end
    homes[ref.scope or ref.home or ""] = true
  end
  redis.call("HINCRBY", P .. "stats", "refs", -(tally.released + tally.expired))
  for id, blob in pairs(blobs) do
    if blob.touched and blob.refs <= 0 then
      doom(id, blob)
    elseif blob.touched then
      redis.call("HSET", P .. "blob:" .. id, "refs", blob.refs)
      tally.kept = tally.kept + 1
    end
  end
  for scope in pairs(homes) do if scope ~= "" then prune(scope) end end
  keep_time()
end
