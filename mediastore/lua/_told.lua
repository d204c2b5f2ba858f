-- _told: put after _policy and _lineage. A ref as a sidecar tells of it.

-- It lives by a policy again that was made again; its deadline stays what it was.
local function lives_by(meta)
  local found = {}
  for i = 1, #meta, 2 do
    if meta[i] == "policy" and is_named(meta[i + 1]) then
      expect_policy(meta[i + 1])
      found = { policy = meta[i + 1], follows = redis.call("HGET", P .. "policies", meta[i + 1]) }
    end
  end
  return found
end

local function read_plan(text)
  local id, blob, scope, path, size, sha, stored, expires, ttl, pinned, first, meta = unpack(cjson.decode(text))
  return {
    id = argument(is_id, id), blob = argument(is_id, blob), line = lineage_to_change(argument(is_scope, scope)), path = argument(is_path, path), size = int(size, 0, 9e15), sha = sha, stored = int(stored, 0, 9e15),
    life = lives_by(meta), expires = expires ~= "" and int(expires, 0, 9e15), ttl = ttl ~= "" and int(ttl, 1, 9e15), pinned = pinned == 1, first = first == 1, meta = meta,
  }
end
