-- hidden: note what of a root lives under held links only, as a sweeper has counted it.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id   the root
-- ARGV[5] blobs   int  how many held links are the only names of their files
-- ARGV[6] bytes   int  the sizes of these files together
--
-- Returns {}. It is a measurement: what was counted later stands. Twice: the same. Cost: O(1).

local root = argument(is_id, ARGV[4])
local numbers = { ["hidden:" .. root] = int(ARGV[5], 0, 9e15), ["hidden_bytes:" .. root] = int(ARGV[6], 0, 9e15) }
local stats = expect("hash", "stats")
for name, number in pairs(numbers) do
  if number == 0 then redis.call("HDEL", stats, name) else redis.call("HSET", stats, name, str(number)) end
end
return finish({})
