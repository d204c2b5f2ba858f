-- _count: put after _plain, in the scripts that count.

-- A counter that holds no number starts afresh: it must not stop a script in its middle, and no file hangs on it.
local function bump(key, field, by)
  local n = redis.pcall("HINCRBY", key, field, str((tonumber(by) or 0) + 0))
  if type(n) == "number" then return n end
  local why = tostring(n.err)
  if not (string.find(why, "not an integer") or string.find(why, "overflow")) then error(why) end
  n = math.max(tonumber(by) or 0, 0)
  redis.call("HSET", key, field, str(n))
  return n
end

-- What cannot be used as it is stays where it is, and is looked at again in an hour; `doctor` names it.
local LOOK_AGAIN_MS = 3600000
local function note_stuck(name, root, what) redis.call("HSET", P .. "stuck", name, "CORRUPT " .. (is_id(root) and root or ".") .. " " .. what) end

-- Until when the leases of a blob last, as it says; where that is no time, as they say.
local function leased_until(id, said)
  if not said or num(said) then return num(said) or 0 end
  return tonumber(redis.call("ZRANGE", P .. "lease:" .. id, 0, 0, "REV", "WITHSCORES")[2] or "0")
end
