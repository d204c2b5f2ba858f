-- _marks: put after the prelude of the scripts that ask whether a ref lives.

-- The marks of the scope and of its ancestors: every ref below with a seq up to one of them is dead.
-- Of one that no script has set it cannot be told, unless `ending` them is what the script does.
local function marks_above(scope, ending)
  local found, line = {}, lineage(scope)
  for i, mark in ipairs(redis.call("ZMSCORE", P .. "closed", unpack(line))) do
    local seq = mark and tonumber(mark)
    if seq and seq > 9e15 and not ending then corrupt("closed", "the seq of " .. line[i]) end
    if seq and seq <= 9e15 then found[#found + 1] = { seq = seq, scope = line[i] } end
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
