-- _plan: put after the prelude of the scripts that end refs. Reads everything their ending needs;
-- nothing is written before `bury`, so that a key of a foreign type stops the script while nothing has changed.

local refs, blobs, checked = {}, {}, {}

local function expect_once(kind, name)
  if not checked[name] then checked[name] = expect(kind, name) end
end

local function plan_blob(id)
  local b = redis.call("HMGET", P .. "blob:" .. id, "refs", "root", "path", "custody", "identity", "size")
  if not b[1] then return end
  expect_once("zset", "trash:" .. b[2])
  expect_once("hash", "path:" .. b[2])
  blobs[id] = { refs = tonumber(b[1]), root = b[2], path = b[3], custody = b[4], identity = b[5], size = tonumber(b[6]) }
end

local function plan_scope(scope)
  for _, s in ipairs(lineage(scope)) do
    expect_once("zset", "scope:" .. s)
    expect_once("zset", "children:" .. s)
  end
end

-- `home` is the scope whose set named the ref; a ref without its hash is only taken off that set.
local function plan(id, home)
  local r = redis.call("HMGET", P .. "ref:" .. id, "scope", "seq", "blob", "size", "expires_at")
  local ref = { id = id, home = home }
  if r[1] then
    ref.scope, ref.seq, ref.blob = r[1], tonumber(r[2]), r[3]
    ref.size, ref.due = tonumber(r[4]), r[5] and tonumber(r[5])
    plan_scope(ref.scope)
    ref.mark = cut_of(ref.scope, ref.seq)
    if not blobs[ref.blob] then plan_blob(ref.blob) end
    if ref.mark then expect_once("set", "left:" .. str(ref.mark)) end
  end
  refs[#refs + 1] = ref
end

local function plan_common()
  local kinds = { expiry = "zset", scopes = "zset", closed = "zset", stats = "hash", seq = "string", clock = "string" }
  for name, kind in pairs(kinds) do expect_once(kind, name) end
end
