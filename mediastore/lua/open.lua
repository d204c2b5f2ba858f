-- open: a client's first words: agree on the format, learn the time, say where its roots are.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] format  int   the format this client speaks
-- ARGV[5..]       text  its roots in twos: root id, "host:path"
--
-- Returns {now = ms, time = ms of the server's own clock, kept = ms of `clock`, jumped = "" or why `clock` is frozen, format, forgotten = {{root id, "when place"}, ...}}. Another format, or a root of the caller's
-- that was forgotten, is answered and nothing is written.
-- Twice: the same. Cost: O(roots).

local formats, born, roots = expect("string", "format"), expect("string", "born"), expect("hash", "roots")
local frozen = expect("hash", "frozen")
local lost, forgotten = expect("hash", "lost"), {}
for i = 5, #ARGV, 2 do
  argument(is_id, ARGV[i])
  local words = redis.call("HGET", lost, ARGV[i])
  if words then forgotten[#forgotten + 1] = { ARGV[i], words } end
end
local known = redis.call("GET", formats)
local found = known or ARGV[4]
-- Asked, not tried: a refusal would be in the server's ACL LOG. fakeredis knows no rights.
local writer = not redis.acl_check_cmd or redis.acl_check_cmd("SET", formats, found)
if found == ARGV[4] and #forgotten == 0 and writer then
  if not known then redis.call("SET", born, str(now)) end
  redis.call("SET", formats, found)
  for i = 5, #ARGV, 2 do redis.call("HSET", roots, ARGV[i], ARGV[i + 1]) end
end
return finish({ now = str(now), time = str(math.floor(clock_us / 1000)), kept = str(latest), jumped = redis.call("HGET", frozen, "clock") or "", format = found, forgotten = forgotten })
