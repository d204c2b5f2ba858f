-- _copy: put after _enter, in the scripts that make one more ref of a blob.

-- The place and the identity are the blob's: an adopted root gave it new ones, and its refs still say the old.
local function copy_ref(id, facts, blob, b, line, ttl)
  local seq = next_seq()
  redis.call("HSET", P .. "ref:" .. id, "scope", line[1], "seq", str(seq), "blob", blob, "root", b.root, "path", b.path,
    "size", b.size, "identity", b.identity, "stored_at", str(now), unpack(metadata_of(facts)))
  if ttl then set_expiry(id, ttl) end
  enter_ref(id, line, seq)
  for name, by in pairs({ refs = 1, stored_refs = 1, stored_bytes = b.size }) do redis.call("HINCRBY", P .. "stats", name, by) end
end

local function blob_of(id)
  local b = redis.call("HMGET", P .. "blob:" .. id, "state", "ever", "refs", "root", "path", "size", "identity", "custody", "cut", "due")
  if not b[1] then return nil end
  return { state = b[1], ever = b[2], refs = tonumber(b[3]), root = b[4], path = b[5], size = b[6], identity = b[7], custody = b[8], cut = b[9], due = b[10] }
end
