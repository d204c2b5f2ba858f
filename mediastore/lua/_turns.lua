-- _turns: put after the prelude of the script that hands out blobs. One claim at a time may touch a path.
--
-- The path's current blob may; so may another one of the same claim, and one whose path is nobody's, which becomes
-- current again: a store of the path then waits for it. Otherwise the file of a blob that had lost its path would stay.

-- Returns path by blob id, the blobs that take a path that is nobody's, and whose turn it is; the others are moved
-- to the next second, where `moved` is given.
local function take_turns(paths, batch, views, moved)
  local wanted, mine, path_of, retaken, turn = {}, {}, {}, {}, {}
  for i, id in ipairs(batch) do wanted[i], mine[id] = views[id].path or "", true end
  local current = #batch > 0 and redis.call("HMGET", paths, unpack(wanted)) or {}
  for i, id in ipairs(batch) do
    local holder, path = current[i], wanted[i]
    if not holder then retaken[path] = retaken[path] or id end
    local ours = not holder or mine[holder]
    local state, due = unpack(ours and {} or redis.call("HMGET", P .. "blob:" .. holder, "state", "due"))
    path_of[id] = ours and path or ""
    -- One in grace or under a lease is as good as live: it can wait for long, and the path is its own.
    local waits = state == "doomed" and (num(due) or 0) > now
    if moved and state and state ~= "live" and not waits then
      moved[#moved + 1], moved[#moved + 2] = str(now + 1000), id
    else
      turn[#turn + 1] = id
    end
  end
  return path_of, retaken, turn
end

-- A lapsed claim goes to another sweeper whole, so that the chain of tokens stays one line and every late worker
-- is fenced by one rename. Returns its blobs, the tokens it went through, oldest first, whether its key is of a
-- foreign type, and a set of the blobs whose last worker has said that it did not delete them.
local function take_over(token)
  local batch, prev, failed = {}, {}, {}
  local lapsed, foreign = record("HGETALL", "claim:" .. token)
  for i = 1, #lapsed, 2 do
    local id = string.match(lapsed[i], "^blob:(.+)$")
    if id then batch[#batch + 1] = id end
    if id and lapsed[i + 1] == "failed" then failed[id] = true end
    if lapsed[i] == "prev" then for p in string.gmatch(lapsed[i + 1], "%S+") do prev[#prev + 1] = is_id(p) and p or nil end end
  end
  prev[#prev + 1] = token
  return batch, prev, foreign, failed
end
