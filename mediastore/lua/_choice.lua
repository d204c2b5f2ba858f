-- _choice: put after _turns, in the script that hands blobs to a sweeper. Which of the due ones it gets.
--
-- A full disk, or one that may not be written to, has no place for the files of a claim: there is a barrier. Files of the
-- store's own need no such place. barred: "root host" -> "errno ms": since when a host cannot delete the others of a root.

local barrier, shut = "", false

local function view(views, id)
  if views[id] then return views[id] end
  local b = redis.call("HMGET", P .. "blob:" .. id, "state", "token", "root", "path", "identity", "custody", "size", "due", "leased", "sha", "draft")
  views[id] = { state = b[1], token = b[2], root = b[3], path = b[4], b[5], b[6], b[7], due = b[8], leased = tonumber(b[9] or "0"), sha = b[10], draft = b[11] }
  if b[9] then expect_leases(id) end
  return views[id]
end

local function is_barred(v) return shut or barrier ~= "" and v[2] ~= "owned" and not v.draft end

-- A lapsed claim is taken over whole, or not at all.
local function is_barred_claim(token, views)
  if barrier == "" then return false end
  for _, id in ipairs((take_over(token))) do
    if is_barred(view(views, id)) then return true end
  end
  return false
end

-- Returns the blobs to claim; or the token of a lapsed claim to take over instead. `later_on` gets what is to be moved in the
-- trash, score and id in turns; `lost` what has no record.
local function choose(root, due, scores, views, later_on, lost)
  local batch, old, barred = {}, nil, 0
  for i, id in ipairs(due) do
    local b = view(views, id)
    if not b.state then
      lost[#lost + 1] = id
    elseif b.root == root and (b.state == "doomed" or b.state == "reserved") then
      if b.leased > now then
        later_on[#later_on + 1], later_on[#later_on + 2] = str(math.max(b.leased, tonumber(b.due or "0"))), id
      elseif scores[i] and tonumber(scores[i]) <= now then
        if is_barred(b) then barred = barred + 1 else batch[#batch + 1] = id end
      end
    elseif b.root == root and b.token then
      local deadline = tonumber(redis.call("HGET", P .. "claim:" .. b.token, "deadline") or "0")
      if deadline > now then
        later_on[#later_on + 1], later_on[#later_on + 2] = str(deadline), id
      elseif is_barred(b) or is_barred_claim(b.token, views) then
        barred = barred + 1
      else
        old = old or b.token
      end
    end
  end
  return batch, old, barred
end

local function note_barrier(root, host, barred)
  local name = root .. " " .. host
  if barrier == "" then return redis.call("HDEL", P .. "barred", name) end
  if barred == 0 then return end
  local since = string.match(redis.call("HGET", P .. "barred", name) or "", "^" .. barrier .. " (%d+)$")
  redis.call("HSET", P .. "barred", name, barrier .. " " .. (since or str(now)))
end
