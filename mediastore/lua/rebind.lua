-- rebind: say by which identity the blobs of an adopted root know their files from now on.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id    the root that is being adopted
-- ARGV[5] place   text  "host:path" that adopts it; when the index says another by now, nothing changes
-- ARGV[6..]       text  at most 64 blobs in threes: id, identity it had, identity it gets
--
-- Returns {place = text, bound}: where the root is by the index, and how many blobs were bound.
-- A blob that is claimed for deletion, or knows another identity by now, is left as it is.
-- Twice with one op: the same answer. Cost: O(blobs).

local root, place = argument(is_id, ARGV[4]), ARGV[5]
local now_at, batch, bound = redis.call("HGET", P .. "roots", root) or "", {}, 0
if #ARGV > 5 + 3 * 64 then error("BADARG " .. #ARGV) end
for i = 6, #ARGV, 3 do
  local b = redis.call("HMGET", P .. "blob:" .. ARGV[i], "root", "identity", "state", "ever")
  local whole = b[3] == "live" or (b[3] == "doomed" and b[4] ~= "1")
  argument(is_identity, ARGV[i + 2])
  if b[1] == root and b[2] == ARGV[i + 1] and whole then batch[ARGV[i]] = ARGV[i + 2] end
end
for id, identity in pairs(now_at == place and batch or {}) do
  redis.call("HSET", P .. "blob:" .. id, "identity", identity)
  bound = bound + 1
end
return finish({ place = now_at, bound = bound })
