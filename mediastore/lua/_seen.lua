-- _seen: put after the prelude of the script that asks which blob a file is.

-- The caller's held link pins its inode, so an equal number is the same file; "stat" pins nothing and must match whole.
local function same(identity, stat)
  local kind, rest = string.match(identity, "^(%a+):(.*)$")
  if kind == "owned" then return true end -- its name is given to no other file
  return rest == (kind == "stat" and stat or string.match(stat, "^%d+"))
end

-- `key` names the blob.
local function seen(blob_id, key)
  if blob_id and not is_id(blob_id) then corrupt(key, "the id of a blob") end
  local b = blob_id and redis.call("HMGET", P .. "blob:" .. blob_id, "state", "ever", "identity", "custody", "refs", "cut", "size", "due", "meta", "ended", "root", "path") or {}
  local wrong = b[1] and wrong_in_blob({ refs = b[5], root = b[11], path = b[12], size = b[7], identity = b[3], custody = b[4] })
  if wrong then corrupt("blob:" .. blob_id, wrong) end
  if b[6] then expect("set", "left:" .. b[6]) end
  if b[9] then sidecar_kinds(b[11]) end
  return { state = b[1], ever = b[2], identity = b[3], custody = b[4], refs = b[5], cut = b[6], size = b[7], due = b[8], meta = b[9], ended = b[10] }
end

-- Whether no sweeper has ever claimed it, so that it can be joined.
local function whole(b) return b.state == "live" or (b.state == "doomed" and b.ever ~= "1") end

-- The blob that had the path before its current one, and whose file this may be.
local function find_older(root, path, stat)
  local found = redis.call("HMGET", P .. "older:" .. root, older_of(stat, path), older_of("stat:" .. stat, path))
  return found[1] or found[2]
end
