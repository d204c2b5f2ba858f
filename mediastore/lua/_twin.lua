-- _twin: put after the prelude of the scripts whose ref id may have been sent before.

-- What became of the ref that an earlier twin of this command made or burnt; nil when there was none.
local function earlier(id, blob)
  local known = redis.call("HGET", P .. "ref:" .. id, "blob")
  if known and not is_id(known) then corrupt("ref:" .. id, "blob") end
  if known then return { verdict = known == blob and "new" or "joined", blob = known } end
  local gone = redis.call("GET", P .. "gone:" .. id)
  if not gone then return nil end
  local refused, why = string.match(gone, "^refused (%S+) ?(%S*)$")
  if refused then return { verdict = why ~= "" and why or "busy", blob = refused } end
  -- Ended since. With its blob gone too, the caller's second name of the file must go, not get its place.
  return { verdict = redis.call("EXISTS", P .. "blob:" .. blob) == 1 and "new" or "joined", blob = blob }
end

-- A refused id is burnt, so that a delayed twin cannot succeed later.
local function burn(id, blob, why) redis.call("SET", P .. "gone:" .. id, "refused " .. blob .. " " .. why, "PX", RECORD_MS) end
