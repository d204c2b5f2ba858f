-- refuse: burn a ref id whose store was refused for lack of memory, so that a delayed twin of it cannot succeed later.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id  the ref that was to be made
-- ARGV[5] blob    id  the blob that was to be made
--
-- Returns {verdict = "refused" | "new" | "joined", blob}: an earlier twin may have made the ref after all, or been refused
-- for another reason, which is the verdict then.
-- Twice: the same answer. Cost: O(1).

local id, blob = argument(is_id, ARGV[4]), argument(is_id, ARGV[5])
local twin = earlier(id, blob)
if twin and twin.verdict ~= "busy" then return finish(twin) end
if not twin then burn(id, blob, "busy") end
return finish({ verdict = "refused", blob = blob })
