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

-- About how many refs these scopes hold, and those below them. Of each some scopes below are looked at, and the others taken to be like them.
local function held_by(scopes, others)
  local taken, total = {}, 0
  for _, scope in ipairs(scopes) do taken[scope] = true end
  local function tree(scope, most)
    local own, below = "scope:" .. scope, "children:" .. scope
    local refs, count, seen, sum = many("ZCARD", own) - (many("ZSCORE", own, "deadline") > 0 and 1 or 0), many("ZCARD", below), 0, 0
    local found = most > 1 and record("ZRANGE", below, 0, most - 2) or {}
    for _, child in ipairs(found) do
      if not taken[child] then seen, sum = seen + 1, sum + tree(child, math.floor((most - 1) / #found)) end
    end
    return refs + (seen > 0 and sum * (count - #found + seen) / seen or #found > 0 and 0 or count)
  end
  for _, scope in ipairs(scopes) do total = total + tree(scope, 4) end
  return #scopes > 0 and total * (#scopes + others) / #scopes or 0
end
