-- inscribed: take off a root's journal of sidecars what is on the disk now, unless it has changed since it was read.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id    the root
-- ARGV[5] count   int   how many entries follow, 1..64
-- ARGV[6..]       text  entries in twos: "ref blob", and the seq with which it was read
--
-- Returns {done}: how many were taken off.
-- Twice with one op: the same answer. Cost: O(entries * log journal).

local journal, done = expect("zset", "meta:" .. argument(is_id, ARGV[4])), {}
if #ARGV > 5 + 2 * int(ARGV[5], 1, 64) then error("BADARG " .. #ARGV) end
for i = 6, #ARGV, 2 do
  local seq = redis.call("ZSCORE", journal, ARGV[i])
  if seq and tonumber(seq) == tonumber(ARGV[i + 1]) then done[#done + 1] = ARGV[i] end
end
if #done > 0 then redis.call("ZREM", journal, unpack(done)) end
return finish({ done = #done })
