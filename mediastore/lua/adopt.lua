-- adopt: say that a root lives at this place from now on; one that was forgotten is known again.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id    the root
-- ARGV[5] place   text  "host:path" of the directory that becomes it
-- ARGV[6] copied  int   1 where its marker was made in another directory: inode numbers known so far mean nothing in it
--
-- Returns {known = 0 or 1, seq}: whatever the index says of this root's files was said up to that seq.
-- Twice with one op: the same answer. Cost: O(1).

local root, place, copied = argument(is_id, ARGV[4]), ARGV[5], int(ARGV[6], 0, 1)
local roots, lost = expect("hash", "roots"), expect("hash", "lost")
expect("string", "seq")
local older, noted = expect("hash", "older:" .. root), expect("hash", "noted")
if redis.call("HEXISTS", roots, root) + redis.call("HEXISTS", lost, root) == 0 then return finish({ known = 0, seq = "0" }) end
redis.call("HSET", roots, root, place)
redis.call("HDEL", lost, root)
-- A copy shows an entry of the day on which it was made.
redis.call("HSET", noted, root, "*" .. str(now))
if copied == 1 then redis.call("UNLINK", older) end
return finish({ known = 1, seq = str(next_seq()) })
