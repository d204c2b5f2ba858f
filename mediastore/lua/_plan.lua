-- _plan: put after the prelude of the scripts that end refs. Reads everything their ending needs;
-- nothing is written before `bury`, so that a key of a foreign type stops the script while nothing has changed.

local refs, blobs, marks, forgotten = {}, {}, {}, {}

local function plan_scope(scope)
  if marks[scope] then return end
  lineage_to_change(scope)
  marks[scope] = marks_above(scope)
end

local function plan_blob(id)
  local b = redis.call("HMGET", P .. "blob:" .. id, "refs", "root", "path", "custody", "identity", "size")
  if not b[1] then return end
  expect("zset", "trash:" .. b[2])
  expect("hash", "path:" .. b[2])
  expect("hash", "borrowed:" .. b[2])
  expect("hash", "older:" .. b[2])
  if forgotten[b[2]] == nil then forgotten[b[2]] = redis.call("HEXISTS", P .. "lost", b[2]) == 1 end
  blobs[id] = { lost = forgotten[b[2]], refs = tonumber(b[1]), root = b[2], path = b[3], custody = b[4], identity = b[5], size = tonumber(b[6]) }
end

-- `home` is the scope whose set named the ref; a ref without its hash is only taken off that set.
-- `cut` is the scope whose release ends it now, if none has before.
-- Returns what it cost, in refs: the first ref of a scope costs as much as two.
local function plan(id, home, cut)
  local r = redis.call("HMGET", P .. "ref:" .. id, "scope", "seq", "blob", "size", "expires_at")
  local ref = { id = id, scope = r[1] or home, known = r[1] }
  local cost = marks[ref.scope] and 1 or 2
  if ref.scope then plan_scope(ref.scope) end
  if ref.known then
    ref.blob, ref.size, ref.due = r[3], tonumber(r[4]), r[5] and tonumber(r[5])
    local mark = first_cut(marks[ref.scope], tonumber(r[2]))
    ref.mark, ref.cut = mark and mark.seq, mark and mark.scope or cut
    if not blobs[ref.blob] then plan_blob(ref.blob) end
    if ref.cut then expect("set", "left:" .. ref.cut) end
  end
  refs[#refs + 1] = ref
  return cost
end

local function plan_common()
  local kinds = { lost = "hash", expiry = "zset", scopes = "zset", closed = "zset", stats = "hash", seq = "string", clock = "string" }
  for name, kind in pairs(kinds) do expect(kind, name) end
end
