-- allow_breaker: let refs and scopes end by themselves for a while, however many they are.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] length  ms    for how long
--
-- Returns {until = ms}. A breaker that is tripped is reset. Twice with one op: the same answer. Cost: O(1).

local length = int(ARGV[4], 1, 9e15)
local frozen, breaker = expect("hash", "frozen"), expect("hash", "breaker")
local answer = { ["until"] = str(now + length) }
redis.call("HSET", breaker, "allowed", answer["until"])
redis.call("HDEL", frozen, "breaker")
return finish(answer)
