-- abandon: give a reserved blob up, because its content did not come; it is in the trash and due.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] blob    id  the reserved blob
--
-- Returns {done = 1}: it is reserved no more, whatever it was before. Twice: the same answer. Cost: O(1).

local blob = argument(is_id, ARGV[4])
local b = redis.call("HMGET", P .. "blob:" .. blob, "state", "root")
if b[1] ~= "reserved" then return finish({ done = 1 }) end
reserved_kinds()
expect("zset", "trash:" .. b[2])
expect_leases(blob)
give_up(b[2], blob)
return finish({ done = 1 })
