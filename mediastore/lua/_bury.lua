-- _bury: put after _doom and _graves. Ends the planned refs: each leaves a tombstone, and each blob without a ref left is doomed.

-- What ends the refs that nothing had ended before: the cause, and the scope whose release it is.
local ending = { cause = "released" }

-- "cause at_ms scope cut who blob facts": `cut` is the scope whose release or deadline it was, "." where there was none.
local function bury_ref(ref)
  local cause, at, cut, who, mark = ending.cause, us, ending.scope, terms.who, ref.mark
  if mark then cause, at, cut, who = mark.cause, mark.seq, mark.scope, mark.who end
  -- Whichever came first ended it: the deadline or the release.
  if ref.due and ref.due * 1000 <= at then cause, at, cut, who = "expired", ref.due * 1000, nil, "." end
  local words = { cause, str(math.floor(at / 1000)), ref.scope or ".", cut or ".", who, ref.blob or "." }
  if #ref.facts > 0 then words[7] = cjson.encode(ref.facts) end
  redis.call("SET", P .. "gone:" .. ref.id, table.concat(words, " "), "PX", terms.ms)
  later("RPUSH", P .. "graves", str(now) .. " " .. ref.id)
  return cause
end

local freed = {}
local function end_ref(ref)
  local withdrawn = ending.cause == "refused"
  local cause = withdrawn and "refused" or bury_ref(ref)
  local counter, by = withdrawn and "stored" or cause, withdrawn and -1 or 1
  if withdrawn then redis.call("SET", P .. "gone:" .. ref.id, "refused " .. ref.blob, "PX", RECORD_MS) end
  tally[cause] = tally[cause] + 1
  for name, more in pairs({ refs = -1, [counter .. "_refs"] = by, [counter .. "_bytes"] = by * ref.size }) do count(name, more) end
  if ref.scope then freed[ref.scope] = (freed[ref.scope] or 0) + ref.size end
  if not ref.blob then unclear["ref:" .. ref.id] = { what = "blob" } end -- which bytes it had nobody can tell: they stay
  local blob = ref.blob and blobs[ref.blob]
  if blob then blob.refs, blob.touched, blob.cut, blob.home = blob.refs - 1, true, ref.cut, ref.scope end
  if blob and blob.ended then blob.ended[#blob.ended + 1] = ref.id end
end

-- A blob that may go at once takes the sidecars of its refs along; it remembers them for the case that it is rescued.
local function settle_sidecars(id, blob)
  if blob.lost and blob.refs <= 0 then return end
  if blob.at_once then return redis.call("HSET", P .. "blob:" .. id, "ended", table.concat(blob.ended, " ")) end
  for _, ref in ipairs(blob.ended) do note_sidecar(blob.root, ref, id) end
end

-- Nobody works off the journal of a forgotten root: it goes with the last blob there.
local function drop_journals()
  for root, lost in pairs(forgotten) do
    if lost and (num(redis.call("HGET", P .. "stats", "blobs:" .. root)) or 0) <= 0 then redis.call("UNLINK", P .. "meta:" .. root) end
  end
end

local function bury()
  local homes = {}
  for _, ref in ipairs(refs) do
    if not ref.stray then
      later("ZREM", P .. "expiry", ref.id)
      later("UNLINK", P .. "ref:" .. ref.id)
      if present.stuck then later("HDEL", P .. "stuck", "ref:" .. ref.id) end
    end
    if ref.scope then later("ZREM", P .. "scope:" .. ref.scope, ref.id) end
    homes[ref.scope or 0] = ref.scope and true
    if ref.under then later("ZREM", ref.under, ref.id) end
    if ref.id == DEADLINE then forget_deadline(ref.scope) end
    if ref.known then end_ref(ref) end
  end
  for id, blob in pairs(blobs) do
    if blob.touched and blob.refs <= 0 then
      doom(id, blob)
    elseif blob.touched then
      redis.call("HSET", P .. "blob:" .. id, "refs", blob.refs)
      tally.kept = tally.kept + 1
    end
    if blob.touched and blob.ended then settle_sidecars(id, blob) end
  end
  send_batches()
  if #refs > 0 then forget_graves() end
  for name, by in pairs(counts) do bump(P .. "stats", name, by) end
  for id, said in pairs(unclear) do note_stuck(id, said.root, said.what) end
  drop_journals()
  for scope, bytes in pairs(freed) do use(scope, -bytes) end
  for scope in pairs(homes) do prune(scope) end
  keep_time()
end
