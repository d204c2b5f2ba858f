-- _copy: put after _enter, in the scripts that make a ref of a blob that is there.

-- The place and the identity are the blob's: an adopted root gave it new ones, and its refs still say the old.
-- `at`: when it was stored, if that was not now.
local function make_ref(id, blob, b, line, life, meta, at)
  local seq = next_seq()
  redis.call("HSET", P .. "ref:" .. id, "scope", line[1], "seq", str(seq), "blob", blob, "root", b.root, "path", b.path,
    "size", b.size, "identity", b.identity, "stored_at", str(at or now), unpack(meta))
  if life.ms then set_expiry(id, (at or now) + life.ms - now) end
  follow(life, id, seq)
  enter_ref(id, line, seq)
  use(line[1], tonumber(b.size))
  for name, by in pairs({ refs = 1, stored_refs = 1, stored_bytes = b.size }) do bump(P .. "stats", name, by) end
end

-- A policy that is named is one that it lives by; one that says its length may stand beside another ttl.
local function copy_ref(id, facts, blob, b, line, life)
  facts.policy = life.policy or not is_named(facts.policy) and facts.policy or nil
  make_ref(id, blob, b, line, life, metadata_of(facts))
  if b.meta then note_sidecar(b.root, id, blob) end
end

-- A blob that is live now, and was not before.
local function counted_again(b)
  for _, name in ipairs({ "blobs", "blobs:" .. b.root }) do bump(P .. "stats", name, 1) end
  for _, name in ipairs({ "size_bytes", "size_bytes:" .. b.root }) do bump(P .. "stats", name, b.size) end
end

-- nil where there is no such blob; one that cannot be true stops the script.
local function blob_of(id)
  local b = redis.call("HMGET", P .. "blob:" .. id, "state", "ever", "refs", "root", "path", "size", "identity", "custody", "cut", "due", "meta", "ended")
  if not b[1] then return nil end
  local found = { state = b[1], ever = b[2], refs = b[3], root = b[4], path = b[5], size = b[6], identity = b[7], custody = b[8], cut = b[9], due = b[10], meta = b[11], ended = b[12] }
  local wrong = wrong_in_blob(found)
  if wrong then corrupt("blob:" .. id, wrong) end
  found.refs = tonumber(b[3])
  return found
end
