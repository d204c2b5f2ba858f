-- _path: put after the prelude of the scripts that give a path to a blob, or end one.
--
-- A path has one current blob. One that lives or waits loses it when its file was replaced, or when a slow store comes late;
-- `older` knows it by the inode number of its file. Without that, its file would become a second blob once it
-- stands at the path again, and the end of the one would delete what the other still holds.

-- An inode number that nothing pins ("stat") is several files in turn: such a blob is known by all its numbers.
-- A file of the store's own has none ("owned:lost"), and never loses its path.
local function older_of(identity, path)
  return (string.match(identity, "^stat:(.*)$") or string.match(identity, "%d+") or identity) .. " " .. path
end

-- The blob `id` was the path's current one until now.
local function displace(root, path, id, identity)
  redis.call("HSET", P .. "older:" .. root, older_of(identity, path), id)
end

-- The blob `id` has lost the path before, and is current again, or goes.
local function forget_older(root, path, id, identity)
  local older, name = P .. "older:" .. root, older_of(identity, path)
  if redis.call("HGET", older, name) == id then redis.call("HDEL", older, name) end
end

-- How many live blobs that are borrowed and not current the path has: `by` more of them.
local function lend(root, path, custody, by)
  local borrowed = P .. "borrowed:" .. root
  if custody == "borrowed" and bump(borrowed, path, by) <= 0 then redis.call("HDEL", borrowed, path) end
end
