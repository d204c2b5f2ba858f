-- clock: say that the server's clock jumped, so that nothing expires and nothing is deleted; or that it is sound.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ahead   ms    by how much the server's clock is ahead of what the caller's host expects; 0: it is sound
-- ARGV[5] behind  int   1 if it is behind by that much
-- ARGV[6] host    text  the caller's host, without spaces
--
-- Returns {}. Only here the kept time is raised by more than a step: a lying clock must not make time stand still
-- for as long as it was ahead. Twice with one op: the same answer. Cost: O(1).

local ahead, behind = int(ARGV[4], 0, 9e15), int(ARGV[5], 0, 1) == 1
local frozen = expect("hash", "frozen")
expect("string", "clock")
if ahead == 0 then
  redis.call("HDEL", frozen, "clock")
  redis.call("SET", P .. "clock", str(now))
else
  local since = string.match(redis.call("HGET", frozen, "clock") or "", "^(%d+) ") or str(now)
  redis.call("HSET", frozen, "clock", table.concat({ since, (behind and "-" or "") .. str(ahead), ARGV[6] }, " "))
end
return finish({})
