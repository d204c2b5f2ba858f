-- _own: put after _copy and _reserved, in the scripts that make a ref of content which the store has written itself.

-- The modification and the change time of a file in ns.
local function is_stamp(text) return text and string.find(text, "^%-?%d+:%-?%d+$") ~= nil and #text <= 64 end

-- Where the file of a blob lies, and what was recorded of its times.
local function place_of(blob)
  local b = redis.call("HMGET", P .. "blob:" .. blob, "path", "stamp")
  return b[1] or "", b[2] or ""
end

local function own_kinds(root, blob)
  quota_kinds()
  keeping()
  for name, kind in pairs({ lost = "hash", ["path:" .. root] = "hash", ["dedup:" .. root] = "hash", ["trash:" .. root] = "zset" }) do expect(kind, name) end
  expect_leases(blob)
end

-- The blob of a root that has this content, if it may be joined: no sweeper has ever claimed it.
local function same_content(root, sha, size, alone)
  local id = sha ~= "" and redis.call("HGET", P .. "dedup:" .. root, sha)
  if id and not is_id(id) then corrupt("dedup:" .. root, "a blob") end
  local b = id and id ~= alone and blob_of(id)
  local whole = b and (b.state == "live" or (b.state == "doomed" and b.ever == "0"))
  if not whole or tonumber(b.size) ~= size then return nil end
  if b.cut then expect("set", "left:" .. b.cut) end
  if b.meta then sidecar_kinds(root) end
  return id, b
end

local function join(id, blob, b, line, life, meta)
  if b.state == "doomed" then
    rescue(blob, b.root, b)
    note_ended(b.root, blob, b.ended)
    counted_again(b)
  end
  redis.call("HSET", P .. "blob:" .. blob, "state", "live", "refs", b.refs + 1)
  make_ref(id, blob, b, line, life, meta)
  if b.meta then note_sidecar(b.root, id, blob) end
end
