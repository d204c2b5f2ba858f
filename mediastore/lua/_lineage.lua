-- _lineage: put after _plain, before every script. A scope and those above it.

-- The scope, its parent and so on, outermost last.
local function lineage(scope)
  local line = { scope }
  while true do
    local parent = string.match(line[#line], "^(.*)/[^/]*$")
    if not parent then return line end
    line[#line + 1] = parent
  end
end

-- The same, for a script that adds to the tree or takes from it.
local function lineage_to_change(scope)
  local line = lineage(scope)
  expect("zset", "scope:" .. scope)
  for i = 2, #line do expect("zset", "children:" .. line[i]) end
  return line
end
