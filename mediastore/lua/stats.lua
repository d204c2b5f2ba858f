-- stats: the namespace in numbers. Changes nothing.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
--
-- Returns {counters = {name, value, ...}, roots = {id, place, ...}, scopes, closed, stuck, trash, oldest = ms, frozen = {reason, ...}}.
-- Cost: O(roots).

local roots = redis.call("HGETALL", P .. "roots")
local answer = { counters = redis.call("HGETALL", P .. "stats"), roots = roots, trash = 0, oldest = "0" }
answer.scopes = redis.call("ZCARD", P .. "scopes")
answer.closed = redis.call("ZCARD", P .. "closed")
answer.stuck = redis.call("HLEN", P .. "stuck")
answer.frozen = redis.call("HKEYS", P .. "frozen")
local oldest = now
for i = 1, #roots, 2 do
  local trash = P .. "trash:" .. roots[i]
  answer.trash = answer.trash + redis.call("ZCARD", trash)
  local first = redis.call("ZRANGE", trash, 0, 0, "WITHSCORES")
  oldest = math.min(oldest, num(first[2]) or now)
end
answer.oldest = str(now - oldest)
return finish(answer)
