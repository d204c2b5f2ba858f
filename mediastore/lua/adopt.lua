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
local newest = redis.call("LRANGE", expect("list", "epochs"), -1, -1)[1]
local older, noted = expect("hash", "older:" .. root), expect("hash", "noted")
if redis.call("HEXISTS", roots, root) + redis.call("HEXISTS", lost, root) == 0 then return finish({ known = 0, seq = "0" }) end
redis.call("HSET", roots, root, place)
local was_lost = redis.call("HDEL", lost, root) == 1
-- A copy shows an entry of the day on which it was made. One that is newer than the index says that the index came back older.
if copied == 1 or was_lost then
  local made = num(string.match(newest or "", "^%d+%.(%d+)%."))
  redis.call("HSET", noted, root, "*" .. str(made and made + 1 or now))
end
if copied == 1 then redis.call("UNLINK", older) end
return finish({ known = 1, seq = str(next_seq()) })
