-- idle: tell refs that were in a scope before it idled that it does, so that who resolves them keeps it alive.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] scope   text  percent-encoded
-- ARGV[5] after   int   the seq of the last ref already told; 0 for the first page
-- ARGV[6] limit   int   most refs to tell, 1..64
--
-- Returns {next = seq to go on after or ""}. Refs that come later are told when they come.
-- Twice with one op: the same answer. Cost: O(limit).

local scope, limit = ARGV[4], int(ARGV[6], 1, 64)
expect("hash", "lifetimes")
expect("zset", "deadlines")
local page = redis.call("ZRANGEBYSCORE", P .. "scope:" .. scope, "(" .. str(int(ARGV[5], 0, 9e15)), "+inf", "WITHSCORES", "LIMIT", 0, limit)
for i = 1, #page, 2 do expect("hash", "ref:" .. page[i]) end
local shortest = note_activity(lineage(scope))
for i = 1, shortest and #page or 0, 2 do
  local key = P .. "ref:" .. page[i]
  if redis.call("EXISTS", key) == 1 then redis.call("HSET", key, "idle", str(shortest)) end
end
return finish({ next = shortest and #page == 2 * limit and num(page[#page]) and str(num(page[#page])) or "" })
