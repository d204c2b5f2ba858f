-- _doom: put after _plan. What becomes of a blob that has no ref left: it enters the trash of its root
-- in this same script, and that entry is the journal of its bytes.

local tally = { released = 0, expired = 0, refused = 0, kept = 0, doomed = {} }
local counts = {}

local function count(name, by) counts[name] = (counts[name] or 0) + by end

-- Nobody sweeps a root that was forgotten: a blob in its trash would wait there for ever.
local function lose(id, blob)
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
  -- Borrowed, without a second name: not ours to delete, and nothing of ours on the disk.
  local bare = blob.custody == "borrowed" and (blob.lost or string.sub(blob.identity, 1, 5) ~= "link:")
  local path = P .. "path:" .. blob.root
  if redis.call("HGET", path, blob.path) ~= id then
    forget_older(blob.root, blob.path, id, blob)
  elseif bare or blob.lost then
    redis.call("HDEL", path, blob.path)
  end
  if bare then
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
