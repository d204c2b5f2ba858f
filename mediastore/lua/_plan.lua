-- _plan: put after _facts, in the scripts that end refs. Reads everything their ending needs;
-- nothing is written before `bury`, so that a key of a foreign type stops the script while nothing has changed.

local refs, blobs, marks, forgotten = {}, {}, {}, {}

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
  for _, mark in ipairs(marks_above(scope)) do
    for _, cut in ipairs(cuts_of(mark)) do marks[scope][#marks[scope] + 1] = cut end
  end
end

local function plan_blob(id)
  local b = redis.call("HMGET", P .. "blob:" .. id, "refs", "root", "path", "custody", "identity", "size", "leased", "meta")
  if not b[1] then return end
  expect("zset", "trash:" .. b[2])
  for _, name in ipairs({ "path:", "borrowed:", "older:" }) do expect("hash", name .. b[2]) end
  if b[7] then
    expect("zset", "lease:" .. id)
    expect("hash", "holders:" .. id)
  end
  if forgotten[b[2]] == nil then forgotten[b[2]] = redis.call("HEXISTS", P .. "lost", b[2]) == 1 end
  if b[8] or forgotten[b[2]] then sidecar_kinds(b[2]) end
  blobs[id] = { lost = forgotten[b[2]], refs = tonumber(b[1]), root = b[2], path = b[3], custody = b[4], identity = b[5], size = tonumber(b[6]), leased = tonumber(b[7] or ""), ended = b[8] and {} }
end

-- `home` is the scope whose set named the ref; a ref without its hash is only taken off that set.
-- `cut` is the scope whose release ends it now, if none has before.
-- Returns what it cost, in refs: the first ref of a scope costs as much as two.
local function plan(id, home, cut)
  local r = fields_of(redis.call("HGETALL", P .. "ref:" .. id))
  local ref = { id = id, scope = r.scope or home, known = r.scope }
  local cost = marks[ref.scope] and 1 or 2
  if ref.scope then plan_scope(ref.scope) end
  if ref.known then
    ref.blob, ref.size, ref.due, ref.facts = r.blob, tonumber(r.size), tonumber(r.expires_at or ""), metadata_of(r)
    if is_named(r.policy) then ref.under = expect("zset", "under:" .. r.policy) end
    ref.mark = first_cut(marks[ref.scope], tonumber(r.seq))
    ref.cut = ref.mark and ref.mark.scope or cut
    if not blobs[ref.blob] then plan_blob(ref.blob) end
    if ref.cut then expect("set", "left:" .. ref.cut) end
  end
  refs[#refs + 1] = ref
  return cost
end

local function plan_common()
  local kinds = {
    lost = "hash", expiry = "zset", scopes = "zset", closed = "zset", stats = "hash", seq = "string", clock = "string",
    usage = "hash", cuts = "hash", graves = "list", lifetimes = "hash", deadlines = "zset",
  }
  for name, kind in pairs(kinds) do expect(kind, name) end
end
