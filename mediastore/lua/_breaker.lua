-- _breaker: put after _plain in drain; after _frozen in expire and lapse. Whether more would end by itself than anybody can have meant.
--
-- breaker: "allowed" -> ms until which all may end; "nearer" -> ms until which a policy counts as changed lately;
-- hour since 1970 -> how many refs ended by themselves in it: the last 24 hours in which any did.
-- frozen: "breaker" -> "since_ms due live mean", while it is tripped.

local HOUR_MS, MOST_HOURS, MOST_SCOPES, TIMES_THE_MEAN = 3600000, 24, 16, 10

expect("hash", "breaker")

-- Refs that have ended by themselves. Of a `drain`, those of scopes that lapsed.
local function count_ended(refs)
  if refs < 1 then return end
  bump(P .. "breaker", str(math.floor(now / HOUR_MS)), refs)
  local hours, said = {}, redis.call("HGETALL", P .. "breaker")
  for i = 1, #said, 2 do hours[#hours + 1] = num(said[i]) end
  table.sort(hours)
  for i = 1, #hours - MOST_HOURS do redis.call("HDEL", P .. "breaker", str(hours[i])) end
end

local function history()
  local known, said = { hours = 0, refs = 0, allowed = 0, nearer = 0 }, redis.call("HGETALL", P .. "breaker")
  for i = 1, #said, 2 do
    local count = num(said[i + 1]) or 0
    if num(said[i]) then
      known.hours, known.refs = known.hours + 1, known.refs + count
    else
      known[said[i]] = count
    end
  end
  known.mean = known.refs / math.max(known.hours, 1)
  return known
end

-- A key of a foreign type holds nothing, and keeps no ref waiting.
local function many(command, name, ...)
  local found = redis.pcall(command, P .. name, ...)
  if type(found) ~= "table" then return tonumber(found or 0) or 0 end
  if not string.find(tostring(found.err), "WRONGTYPE", 1, true) then error(tostring(found.err)) end
  return 0
end

-- About how many refs these scopes hold, and those below them. A few are looked at, and all the `others` are taken to be like them.
local function held_by(scopes, others)
  local taken, refs, at, rest = {}, 0, 0, others
  for _, scope in ipairs(scopes) do taken[scope] = true end
  while scopes[at + 1] and at < MOST_SCOPES do
    at = at + 1
    local own, children = "scope:" .. scopes[at], "children:" .. scopes[at]
    refs = refs + many("ZCARD", own) - (many("ZSCORE", own, "deadline") > 0 and 1 or 0)
    rest = rest + many("ZCARD", children)
    for _, child in ipairs(#scopes < MOST_SCOPES and record("ZRANGE", children, 0, MOST_SCOPES - #scopes - 1) or {}) do
      if not taken[child] then scopes[#scopes + 1], taken[child] = child, true end
      rest = rest - 1
    end
  end
  return refs + (at > 0 and (rest + #scopes - at) * refs / at or 0)
end
