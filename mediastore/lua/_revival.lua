-- _revival: put after _copy and _leases. What the index knows of refs that are to be made again; nothing is written
-- before all of it is read.

-- It lives by a policy again that was made again; its deadline stays what it was.
local function lives_by(meta)
  for i = 1, #meta, 2 do
    if meta[i] == "policy" and is_named(meta[i + 1]) then
      expect_policy(meta[i + 1])
      return { policy = meta[i + 1], follows = redis.call("HGET", P .. "policies", meta[i + 1]) }
    end
  end
  return {}
end

local function read_plan(text)
  local id, blob, scope, path, size, sha, stored, expires, ttl, pinned, first, meta = unpack(cjson.decode(text))
  return {
    id = argument(is_id, id), blob = argument(is_id, blob), line = lineage_to_change(argument(is_scope, scope)), path = argument(is_path, path), size = int(size, 0, 9e15), sha = sha, stored = int(stored, 0, 9e15),
    life = lives_by(meta), expires = expires ~= "" and int(expires, 0, 9e15), ttl = ttl ~= "" and int(ttl, 1, 9e15), pinned = pinned == 1, first = first == 1, meta = meta,
  }
end

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

local function judge(root, r, found, planned, token)
  if planned[r.id] or redis.call("HGET", P .. "ref:" .. r.id, "blob") then return "known" end
  if redis.call("GET", P .. "gone:" .. r.id) or redis.call("ZSCORE", P .. "meta:" .. root, r.id .. " " .. r.blob) then return "dead" end
  r.home, r.b = find_home(root, r, found)
  if r.b.state == "corrupt" or r.b.state == "reserved" then return r.b.state == "corrupt" and "dead" or "known" end -- its writer is about to make the ref
  local same = r.b.root == root and r.b.path == r.path and tonumber(r.b.size) == r.size
  lease_kinds(r.home)
  -- The refs that came back before these have ended already; the caller's own lease has kept the file.
  local kept = r.b.state == "doomed" and r.b.ever == "0" and token ~= "" and holds(r.home, token)
  if not same or not (kept or r.b.state == "live") then return "dead" end
  if r.b.cut then expect("set", "left:" .. r.b.cut) end
  planned[r.id] = true
  return "made"
end

local function plan_revival(root, texts, token)
  enter_kinds()
  quota_kinds()
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
