-- _prune: put after the prelude of the scripts that take refs out of scopes.

-- A scope leaves its parent only when its set and its own children are empty.
local function prune(scope)
  local line = lineage(scope)
  for i, s in ipairs(line) do
    local own = redis.call("EXISTS", P .. "scope:" .. s)
    if own == 0 then redis.call("ZREM", P .. "scopes", s) end
    if own == 1 or redis.call("EXISTS", P .. "children:" .. s) == 1 then return end
    if line[i + 1] then redis.call("ZREM", P .. "children:" .. line[i + 1], s) end
  end
end
