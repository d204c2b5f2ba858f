-- _graves: put after _plan, in the scripts that end refs. What is remembered of them has an end.

-- The newest tombstones are kept, and of them those that have not lapsed; a record for replays is always kept.
local function forget_graves()
  local over = redis.call("LLEN", P .. "graves") - terms.most
  local past, gone = 0, {}
  for i, grave in ipairs(redis.call("LRANGE", P .. "graves", 0, 2 * #refs)) do
    local at, id = string.match(grave, "^(%d+) (.+)$")
    if num(at) and (now - num(at) < RECORD_MS or i > over and redis.call("EXISTS", P .. "gone:" .. id) == 1) then break end
    past, gone[#gone + 1] = i, id and P .. "gone:" .. id
  end
  if past == 0 then return end
  if #gone > 0 then redis.call("UNLINK", unpack(gone)) end
  redis.call("LTRIM", P .. "graves", past, -1)
end
