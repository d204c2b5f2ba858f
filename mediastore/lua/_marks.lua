-- _marks: put after the prelude of the scripts that ask whether a ref lives.

-- The marks of the scope and of its ancestors: every ref below with a seq up to one of them is dead.
local function marks_above(scope)
  local found, line = {}, lineage(scope)
  for i, mark in ipairs(redis.call("ZMSCORE", P .. "closed", unpack(line))) do
    if mark then found[#found + 1] = { seq = tonumber(mark), scope = line[i] } end
  end
  return found
end

-- The first of these marks that ended a ref with this seq, or nil.
local function first_cut(found, seq)
  local first
  for _, mark in ipairs(found) do
    if mark.seq >= seq and (not first or mark.seq < first.seq) then first = mark end
  end
  return first
end
