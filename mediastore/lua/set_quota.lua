-- set_quota: say how much the namespace, each scope or one scope may hold. What is there already stays.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] scope   text  whose limits are meant, percent-encoded; "" for the namespace and for scopes without limits of their own
-- ARGV[5] bytes   int   the most bytes; "" as it is, "never" for any number
-- ARGV[6] refs    int   the most refs, likewise
-- ARGV[7] each_bytes  int  the most bytes of each scope, likewise; "" with a scope
-- ARGV[8] each_refs   int  the most refs of each scope, likewise; "" with a scope
--
-- Returns {done = 1}. Twice with one op: the same answer. Cost: O(1).

local function wanted(text) return (text == "" or text == "never") and text or str(int(text, 0, 9e15)) end
local scope, behind = ARGV[4], ARGV[4] ~= "" and " " .. ARGV[4] or ""
local said = {
  ["bytes" .. behind] = wanted(ARGV[5]),
  ["refs" .. behind] = wanted(ARGV[6]),
  scope_bytes = wanted(ARGV[7]),
  scope_refs = wanted(ARGV[8]),
}
quota_kinds()
local function check(key, name) must_count(key, name, redis.call("HGET", P .. key, name)) end
if scope ~= "" then expect("zset", "scope:" .. scope) end
-- The caller is told what stays and what counts, so all of that must be numbers. A limit that is replaced may be anything.
for name, limit in pairs(said) do
  if limit == "" then check("quotas", name) end
end
for _, name in ipairs({ "size_bytes", "reserved_bytes", "refs", "reserved" }) do check("stats", name) end
for _, key in ipairs({ "usage", "writing" }) do check(key, scope) end
for name, limit in pairs(said) do
  if limit == "never" then
    redis.call("HDEL", P .. "quotas", name)
  elseif limit ~= "" then
    redis.call("HSET", P .. "quotas", name, limit)
  end
end
return finish({ done = 1 })
