-- _path: put after the prelude of the scripts that give a path to a blob, or end one.
--
-- A path has one current blob. A live one loses it when its file was replaced, or when a slow store comes late;
-- `older` knows it by the inode number of its file. Without that, its file would become a second blob once it
-- stands at the path again, and the end of the one would delete what the other still holds.

-- An inode number that nothing pins ("stat") is several files in turn: such a blob is known by all its numbers.
local function older_of(identity, path)
  return (string.match(identity, "^stat:(.*)$") or string.match(identity, "%d+")) .. " " .. path
end

-- The live blob `id` was the path's current one until now.
local function displace(root, path, id, blob)
  redis.call("HSET", P .. "older:" .. root, older_of(blob.identity, path), id)
  if blob.custody == "borrowed" then redis.call("HINCRBY", P .. "borrowed:" .. root, path, 1) end
end

-- The blob `id` has lost the path before, and is current again, or ends.
local function forget_older(root, path, id, blob)
  local older, borrowed, name = P .. "older:" .. root, P .. "borrowed:" .. root, older_of(blob.identity, path)
  if redis.call("HGET", older, name) == id then redis.call("HDEL", older, name) end
  if blob.custody == "borrowed" and redis.call("HINCRBY", borrowed, path, -1) <= 0 then
    redis.call("HDEL", borrowed, path)
  end
end
