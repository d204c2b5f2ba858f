-- _doom: put after _plan. What becomes of a blob that has no ref left: it enters the trash of its root
-- in this same script, and that entry is the journal of its bytes.

local tally = { released = 0, expired = 0, refused = 0, kept = 0, doomed = {} }
local counts = {}

local function count(name, by) counts[name] = (counts[name] or 0) + by end

-- A borrowed blob gives up its path, or, where the path went on to another blob, its share of `borrowed`.
-- True when there is nothing to journal: not ours to delete, and nothing of ours on the disk.
local function give_back(id, blob)
  local path, others = P .. "path:" .. blob.root, P .. "borrowed:" .. blob.root
  local ours, bare = redis.call("HGET", path, blob.path) == id, string.sub(blob.identity, 1, 5) ~= "link:"
  if ours and (bare or blob.lost) then redis.call("HDEL", path, blob.path) end
  if not ours and redis.call("HINCRBY", others, blob.path, -1) <= 0 then redis.call("HDEL", others, blob.path) end
  return bare or blob.lost
end

-- Nobody sweeps a root that was forgotten: a blob in its trash would wait there for ever.
local function lose(id, blob)
  local path = P .. "path:" .. blob.root
  if redis.call("HGET", path, blob.path) == id then redis.call("HDEL", path, blob.path) end
  later("UNLINK", P .. "blob:" .. id)
  count("lost_blobs", 1)
  count("lost_bytes", blob.size)
  count("lost:" .. blob.root, 1)
end

local function doom(id, blob)
  for name, by in pairs({ blobs = -1, size_bytes = -blob.size }) do
    count(name, by)
    count(name .. ":" .. blob.root, by)
  end
  if blob.custody == "borrowed" and give_back(id, blob) then
    later("UNLINK", P .. "blob:" .. id)
    tally.kept = tally.kept + 1
    return
  end
  if blob.lost then return lose(id, blob) end
  redis.call("HSET", P .. "blob:" .. id, "state", "doomed", "refs", 0, unpack(blob.cut and { "cut", blob.cut } or {}))
  later("ZADD", P .. "trash:" .. blob.root, str(now), id)
  if blob.cut then later("SADD", P .. "left:" .. blob.cut, id) end
  tally.doomed[#tally.doomed + 1] = { blob.root, id }
end
