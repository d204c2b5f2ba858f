-- _plan: put after _facts, in the scripts that end refs. Reads everything their ending needs;
-- nothing is written before `bury`, so that a key of a foreign type stops the script while nothing has changed.

local refs, blobs, marks, forgotten, unclear = {}, {}, {}, {}, {}

-- What the caller's settings say of ended refs, in one argument: "tombstone_ms most_tombstones grace_ms who".
local terms = { ms = RECORD_MS, most = 9e15, grace = 0, who = "." }
local function agree(said)
  local ms, most, grace, who = string.match(said, "^(%S+) (%S+) (%S+) (%S+)$")
  terms = { ms = int(ms, 1, 9e15), most = int(most, 0, 9e15), grace = int(grace, 0, 9e15), who = who }
  -- As long as the bytes stay, a ref can be restored, and its tombstone says from what.
  terms.ms = math.max(terms.ms, terms.grace, RECORD_MS)
end

local function plan_scope(scope)
  if marks[scope] then return end
  lineage_to_change(scope)
  expect("set", "left:" .. scope)
  marks[scope] = {}
  for _, mark in ipairs(marks_above(scope, true)) do
    for _, cut in ipairs(cuts_of(mark)) do marks[scope][#marks[scope] + 1] = cut end
  end
end

-- Of a blob that does not say how many refs it has, or where, the bytes stay; what else is wrong with it stops its claim.
local function plan_blob(id)
  local b, foreign = record("HMGET", "blob:" .. id, "refs", "root", "path", "custody", "identity", "size", "leased", "meta")
  if foreign then unclear[id] = { what = "its type" } end
  if not (b[1] or b[2] or b[3]) then return end
  if not (num(b[1]) and is_id(b[2])) then
    unclear[id] = { root = b[2], what = "refs or root" }
    return
  end
  expect("zset", "trash:" .. b[2])
  for _, name in ipairs({ "path:", "borrowed:", "older:" }) do expect("hash", name .. b[2]) end
  for name, kind in pairs(b[7] and { lease = "zset", holders = "hash" } or {}) do expect(kind, name .. ":" .. id) end
  if forgotten[b[2]] == nil then forgotten[b[2]] = redis.call("HEXISTS", P .. "lost", b[2]) == 1 end
  if b[8] or forgotten[b[2]] then sidecar_kinds(b[2]) end
  blobs[id] = { lost = forgotten[b[2]], refs = num(b[1]), root = b[2], path = b[3] or "", custody = b[4], identity = b[5] or "", size = num(b[6]) or 0, leased = b[7] and leased_until(id, b[7]), ended = b[8] and {} }
end

-- `home` is the scope whose set named the ref; a ref without its hash is only taken off that set.
-- `cut` is the scope whose release ends it now, if none has before.
-- The hash is the truth: one that is in another scope is only taken off this one. What else it says that cannot be true is
-- told from elsewhere, or left out: a release ends every ref.
-- Returns what it cost, in refs: the first ref of a scope costs as much as two.
-- `below`: of a seq above that it lives, whatever the scope says of it.
local function plan(id, home, cut, below)
  local flat, foreign = record("HGETALL", "ref:" .. id)
  local r = fields_of(flat)
  if foreign then unclear["ref:" .. id] = { what = "its type" } end
  local ref = { id = id, known = next(r) ~= nil, scope = is_scope(r.scope) and r.scope or home }
  if foreign or home and ref.known and ref.scope ~= home then ref = { id = id, scope = home, stray = true } end
  if below and ref.known and (num(r.seq) or 0) > below then
    later("ZADD", P .. "scope:" .. home, r.seq, id)
    return 1
  end
  local cost = marks[ref.scope] and 1 or 2
  if ref.scope then plan_scope(ref.scope) end
  if ref.known then
    ref.blob, ref.size, ref.due, ref.facts = is_id(r.blob) and r.blob or nil, num(r.size) or 0, num(r.expires_at), metadata_of(r)
    if not overdue(ref.due, num(r.seq)) then ref.due = nil end
    if is_named(r.policy) then ref.under = expect("zset", "under:" .. r.policy) end
    ref.mark = first_cut(marks[ref.scope] or {}, num(r.seq) or 0)
    ref.cut = ref.mark and ref.mark.scope or cut
    if ref.blob and not blobs[ref.blob] then plan_blob(ref.blob) end
    if ref.cut then expect("set", "left:" .. ref.cut) end
  end
  refs[#refs + 1] = ref
  return cost
end

local function plan_common()
  keeping()
  local kinds = {
    lost = "hash", expiry = "zset", scopes = "zset", closed = "zset", stats = "hash", seq = "string", clock = "string",
    usage = "hash", cuts = "hash", graves = "list", lifetimes = "hash", deadlines = "zset", stuck = "hash",
  }
  for name, kind in pairs(kinds) do expect(kind, name) end
end
