-- refuse: burn a ref id whose store was refused for lack of memory, so that a delayed twin of it cannot succeed later.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id  the ref that was to be made
-- ARGV[5] blob    id  the blob that was to be made
--
-- Returns {verdict = "refused" | "new" | "joined", blob}: an earlier twin may have made the ref after all.
-- Twice: the same answer. Cost: O(1).

local id, blob = ARGV[4], ARGV[5]
local known = redis.call("HGET", P .. "ref:" .. id, "blob")
if known then return finish({ verdict = known == blob and "new" or "joined", blob = known }) end
redis.call("SET", P .. "gone:" .. id, "refused " .. blob, "PX", RECORD_MS)
return finish({ verdict = "refused", blob = blob })
