-- _revival: put after _copy, _leases, _reserved and _told. What the index knows of refs that are to be made again, before it writes.

-- The blob that gets the ref, and what is known of it: its own, or the one that was registered at its path since then.
local function find_home(root, r, found)
  local function look(id)
    local ok, b = true, found[id]
    if b == nil then ok, b = pcall(blob_of, id) end
    if not ok and not string.find(tostring(b), "CORRUPT", 1, true) then error(b) end
    found[id] = not ok and { state = "corrupt" } or b or false
    return id, found[id]
  end
  local home, b = look(r.blob)
  local holder = not b and redis.call("HGET", P .. "path:" .. root, r.path)
  if is_id(holder) and holder ~= r.blob then home, b = look(holder) end
  if b then return home, b end
  b = { state = "live", refs = 0, root = root, path = r.path, size = str(r.size), identity = "owned:" .. str(r.size) }
  found[r.blob], r.fresh = b, true
  return r.blob, b
end

-- Of a blob whose last ref ended: whether this one was among those that ended with it.
local function ended_with(b, id) return string.find(" " .. (b.ended or "") .. " ", " " .. id .. " ", 1, true) end

-- Whether the index is known to have come back older, so that it may say of a blob what is not true any more.
local function came_back() return keeping().all == "epoch" or keeping().below > 0 end

local function judge(root, r, found, planned, token)
  if planned[r.id] or redis.call("HGET", P .. "ref:" .. r.id, "blob") then return "known" end
  if redis.call("GET", P .. "gone:" .. r.id) or redis.call("ZSCORE", P .. "meta:" .. root, r.id .. " " .. r.blob) then return "dead" end
  r.home, r.b = find_home(root, r, found)
  if r.b.state == "corrupt" then return "dead" end
  -- Its writer is about to make the ref, or it was made, and that was lost with an index.
  local reserved = r.b.state == "reserved"
  if reserved and not (came_back() and (num(redis.call("HGET", P .. "blob:" .. r.home, "leased")) or 0) <= now) then return "known" end
  local same = r.b.root == root and r.b.path == r.path and tonumber(r.b.size) == r.size
  lease_kinds(r.home)
  -- The refs that came back before these have ended already, and the caller's own lease has kept the file; or another ref has
  -- ended with it, and this one was made since, by an index that was lost.
  local own = token ~= "" and holds(r.home, token)
  local kept = r.b.state == "doomed" and r.b.ever == "0" and (own or came_back() and not ended_with(r.b, r.id))
  if not (same and (kept or reserved or r.b.state == "live")) then return "dead" end
  if r.b.cut then expect("set", "left:" .. r.b.cut) end
  planned[r.id] = true
  return "made"
end

local function plan_revival(root, texts, token)
  enter_kinds()
  quota_kinds()
  reserved_kinds()
  local kinds = { lost = "hash", ["path:" .. root] = "hash", ["dedup:" .. root] = "hash", ["meta:" .. root] = "zset" }
  for name, kind in pairs(kinds) do expect(kind, name) end
  local plans, found, planned = {}, {}, {}
  for i, text in ipairs(texts) do
    plans[i] = read_plan(text)
    plans[i].verdict = judge(root, plans[i], found, planned, token)
  end
  return plans, redis.call("HEXISTS", P .. "lost", root) == 1
end

-- "." in `meta`: its refs have sidecars, and the one beside the file is nobody's so far.
local function make_blob(root, r)
  redis.call("HSET", P .. "blob:" .. r.blob, "state", "live", "refs", 0, "ever", 0, "root", root, "path", r.path,
    "custody", "owned", "identity", r.b.identity, "size", r.b.size, "meta", ".")
  redis.call("HSET", P .. "path:" .. root, r.path, r.blob)
  counted_again(r.b)
  -- Only what was stored to be shared lies there.
  if r.sha ~= "" and string.sub(r.path, 1, 8) == "content/" and redis.call("HEXISTS", P .. "dedup:" .. root, r.sha) == 0 then
    redis.call("HSET", P .. "dedup:" .. root, r.sha, r.blob)
    redis.call("HSET", P .. "blob:" .. r.blob, "sha", r.sha)
  end
end
