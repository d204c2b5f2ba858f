-- _doom: put after _plan. What becomes of a blob that has no ref left: it enters the trash of its root
-- in this same script, and that entry is the journal of its bytes.

local tally = { released = 0, expired = 0, deleted = 0, refused = 0, kept = 0, lost = 0, doomed = {} }
local counts = {}

local function count(name, by) counts[name] = (counts[name] or 0) + by end

-- Nobody sweeps a root that was forgotten: a blob in its trash would wait there for ever.
local function lose(id, blob)
  tally.lost = tally.lost + 1
  later("UNLINK", P .. "blob:" .. id)
  count("lost_blobs", 1)
  count("lost_bytes", blob.size)
  count("lost:" .. blob.root, 1)
end

-- Into the trash: due now, or once its grace is over and its last lease has ended.
local function into_trash(id, blob, leased)
  local grace = blob.custody == "borrowed" and 0 or terms.grace
  local due, words = math.max(now + grace, leased), { "state", "doomed", "refs", 0 }
  blob.at_once = due <= now
  if due > now then
    for _, word in ipairs({ "due", str(due), "grace", str(now + grace) }) do words[#words + 1] = word end
    count("waiting", 1)
    count("waiting_bytes", blob.size)
  end
  for _, word in ipairs({ stamp() }) do words[#words + 1] = word end
  local cut = blob.cut or due > now and blob.home
  if cut then
    words[#words + 1], words[#words + 2] = "cut", cut
    later("SADD", P .. "left:" .. cut, id)
  end
  redis.call("HSET", P .. "blob:" .. id, unpack(words))
  later("ZADD", P .. "trash:" .. blob.root, str(due), id)
  tally.doomed[#tally.doomed + 1] = { blob.root, id }
end

local function doom(id, blob)
  for name, by in pairs({ blobs = -1, size_bytes = -blob.size }) do
    count(name, by)
    count(name .. ":" .. blob.root, by)
  end
  local leased = not blob.lost and blob.leased and blob.leased > now and blob.leased or 0
  if blob.leased and leased == 0 then later("UNLINK", P .. "lease:" .. id, P .. "holders:" .. id) end
  -- Borrowed, without a second name: not ours to delete, and nothing of ours on the disk. A lease of it is kept all the same.
  local bare = blob.custody == "borrowed" and leased == 0 and (blob.lost or string.sub(blob.identity, 1, 5) ~= "link:")
  local path = P .. "path:" .. blob.root
  if redis.call("HGET", path, blob.path) ~= id then
    lend(blob.root, blob.path, blob.custody, -1)
    if bare or blob.lost then forget_older(blob.root, blob.path, id, blob.identity) end
  elseif bare or blob.lost then
    redis.call("HDEL", path, blob.path)
  end
  if bare then
    later("UNLINK", P .. "blob:" .. id)
    tally.kept = tally.kept + 1
    count("kept_blobs", 1)
    return
  end
  if blob.lost then return lose(id, blob) end
  into_trash(id, blob, leased)
end
