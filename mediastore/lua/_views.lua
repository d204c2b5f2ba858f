-- _views: put after _plain and _count, in the script that hands out blobs. What a claim sees of each.

local views = {}

local function view(id)
  local b, foreign = record("HMGET", "blob:" .. id, "state", "token", "root", "path", "identity", "custody", "size", "due", "leased", "sha", "draft", "doomed")
  local v = { state = b[1], token = b[2], root = b[3], path = b[4], b[5], b[6], b[7], due = b[8], sha = b[10], draft = b[11], doomed = num(b[12]) or 0 }
  v.wrong = wrong_in_blob({ refs = "0", root = b[3], path = b[4], size = b[7], identity = b[5], custody = b[6] })
  if foreign then v.state, v.wrong = "foreign", "its type" end
  v.waits = v.state == "doomed" or v.state == "reserved"
  v.taken = v.state == "deleting" or v.state == "stuck"
  if v.taken and not is_id(v.token) then v.wrong = "token" end
  if v.state and not (foreign or v.waits or v.taken or v.state == "live") then v.wrong = "state" end
  if b[9] then expect_leases(id) end
  v.leased = leased_until(id, b[9])
  views[id] = v
  return v
end

-- Until when a claim lasts. None lasts longer than the wait after a failure.
local function deadline_of(token) return math.min(num(record("HMGET", "claim:" .. token, "deadline")[1]) or 0, now + 300000) end

-- A blob that says what cannot be true is handed to nobody, and keeps no other waiting.
local function put_off(root, id)
  if views[id].state ~= "foreign" then redis.call("HSET", P .. "blob:" .. id, "tries", 1, "errno", "CORRUPT") end
  bump(P .. "stats", "stuck:" .. root, note_stuck(id, root, views[id].wrong or "root"))
  redis.call("ZADD", P .. "trash:" .. root, "XX", str(now + LOOK_AGAIN_MS), id)
end

-- The blobs of a lapsed claim that are its own still: those that it names, and those that name it.
local function of_claim(token, root, named, due)
  local batch, seen = {}, {}
  for _, ids in ipairs({ named, due }) do
    for _, id in ipairs(ids) do
      local v = not seen[id] and is_id(id) and (views[id] or view(id))
      seen[id] = true
      if v and v.taken and not v.wrong and v.root == root and v.token == token then batch[#batch + 1] = id end
    end
  end
  return batch
end
