-- roots: every root in numbers. Changes nothing.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
--
-- Returns {roots = {{id, place, "when place" or "", blobs, bytes, waiting, ms the first has waited, stuck, lost}, ...}}.
-- Cost: O(roots).

local places, rows = {}, {}
for _, name in ipairs({ "roots", "lost" }) do
  local flat = redis.call("HGETALL", P .. name)
  for i = 1, #flat, 2 do
    places[flat[i]] = places[flat[i]] or { roots = "", lost = "" }
    places[flat[i]][name] = flat[i + 1]
  end
end
for root, said in pairs(places) do
  local trash = P .. "trash:" .. root
  local n = redis.call("HMGET", P .. "stats", "blobs:" .. root, "size_bytes:" .. root, "stuck:" .. root, "lost:" .. root)
  for i = 1, 4 do n[i] = n[i] or "0" end
  local first = redis.call("ZRANGE", trash, 0, 0, "WITHSCORES")
  local waits = str(math.max(0, now - (num(first[2]) or now)))
  rows[#rows + 1] = { root, said.roots, said.lost, n[1], n[2], redis.call("ZCARD", trash), waits, n[3], n[4] }
end
return finish({ roots = rows })
