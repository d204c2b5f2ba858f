-- _facts: put after the prelude of the scripts that read whole refs.

-- What a ref says of its own place and lifetime. The rest is metadata, which its tombstone keeps and a copy of it takes over.
local OWN = { scope = 1, seq = 1, blob = 1, stored_at = 1, expires_at = 1, ttl = 1, pinned = 1, idle = 1, root = 1, path = 1, size = 1, identity = 1 }

local function fields_of(flat)
  local named = {}
  for i = 1, #flat, 2 do named[flat[i]] = flat[i + 1] end
  return named
end

-- The metadata that a tombstone keeps, likewise.
local function facts_in(id, text)
  local ok, flat = pcall(cjson.decode, text)
  ok = ok and type(flat) == "table" and #flat % 2 == 0
  for _, word in pairs(ok and flat or {}) do ok = ok and type(word) == "string" end
  if not ok then corrupt("gone:" .. id, "what it says of the ref") end
  return flat
end

-- The metadata as name, value, name, value, ...
local function metadata_of(named)
  local words = {}
  for name, value in pairs(named) do
    if not OWN[name] then words[#words + 1], words[#words + 2] = name, value end
  end
  return words
end
