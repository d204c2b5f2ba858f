-- _marks: put after the prelude of the scripts that ask whether a ref lives.

-- The marks of the scope and of its ancestors: every ref below with a seq up to one of them is dead.
local function marks_above(scope)
  local found = {}
  for _, mark in ipairs(redis.call("ZMSCORE", P .. "closed", unpack(lineage(scope)))) do
    if mark then found[#found + 1] = tonumber(mark) end
  end
  return found
end

-- The first of these marks that ended a ref with this seq, or nil.
local function first_cut(found, seq)
  local first
  for _, mark in ipairs(found) do
    if mark >= seq and (not first or mark < first) then first = mark end
  end
  return first
end
