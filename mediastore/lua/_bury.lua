-- _bury: put after _doom. Ends the planned refs: each leaves a tombstone, and each blob without a ref left is doomed.

local withdrawn = false

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
