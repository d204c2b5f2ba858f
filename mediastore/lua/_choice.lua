-- _choice: put after _turns and _views, in the script that hands blobs to a sweeper. Which of the due ones it gets.
--
-- A full disk, or one that may not be written to, has no place for the files of a claim: there is a barrier. Files of the
-- store's own need no such place. barred: "root host" -> "errno since last": since when a host cannot delete the others of a root.

local barrier, shut = "", false

local function is_barred(v) return shut or barrier ~= "" and v[2] ~= "owned" and not v.draft end

-- A lapsed claim is taken over whole, or not at all.
local function is_barred_claim(token)
  if barrier == "" then return false end
  for _, id in ipairs((take_over(token))) do
    if is_id(id) and is_barred(views[id] or view(id)) then return true end
  end
  return false
end

-- Returns the blobs to claim, or the token of a lapsed claim to take over instead, and how many due ones a barrier keeps.
-- `moved` gets what is to be moved in the trash, score and id in turns; `lost` what is none of it; `wrong` what cannot be true.
local function choose(root, trash, due, moved, lost, wrong)
  local batch, old, barred = {}, nil, 0
  local scores = #due > 0 and redis.call("ZMSCORE", trash, unpack(due)) or {}
  for i, id in ipairs(due) do
    local b = view(id)
    local ripe = scores[i] and tonumber(scores[i]) <= now
    if not b.state or b.state == "live" then
      lost[#lost + 1] = id
    elseif b.wrong or b.root ~= root then
      if ripe then wrong[#wrong + 1] = id end
    elseif b.waits then
      if b.doomed < keeping().below then
        moved[#moved + 1], moved[#moved + 2] = str(keeping().till), id
      elseif b.leased > now then
        moved[#moved + 1], moved[#moved + 2] = str(math.max(b.leased, num(b.due) or 0)), id
      elseif ripe and is_barred(b) then
        barred = barred + 1
      elseif ripe then
        batch[#batch + 1] = id
      end
    else
      local deadline = deadline_of(b.token)
      if deadline > now then
        moved[#moved + 1], moved[#moved + 2] = str(deadline), id
      elseif is_barred(b) or is_barred_claim(b.token) then
        barred = barred + 1
      else
        old = old or b.token
      end
    end
  end
  -- A claim that is taken over is all that is handed out: this page is looked at again, and counted then.
  return batch, old, old and 0 or barred
end

-- A note for `doctor` alone: if its key is foreign, nothing waits for that.
local function note_barrier(root, host, barred)
  local name = root .. " " .. host
  if barrier == "" then return redis.pcall("HDEL", P .. "barred", name) end
  if barred == 0 then return end
  local since = string.match(record("HMGET", "barred", name)[1] or "", "^" .. barrier .. " (%d+) %d+$")
  redis.pcall("HSET", P .. "barred", name, table.concat({ barrier, since or str(now), str(now) }, " "))
end
