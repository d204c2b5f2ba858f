-- _noted: put after the prelude of the scripts that make, change or end refs of content which has sidecars.
--
-- The blob says in `meta` which ref has the sidecar beside the file. What happens to its refs is noted in
-- meta:<root> zset "ref blob" -> seq: whoever sweeps the root writes the sidecar anew, or removes it.

local function sidecar_kinds(root)
  expect("zset", "meta:" .. root)
  expect("string", "seq")
end

-- Also if the root was forgotten: once it is adopted, the next sweep works the journal off.
local function note_sidecar(root, id, blob)
  redis.call("ZADD", P .. "meta:" .. root, str(next_seq()), id .. " " .. blob)
end

-- Whether a live ref has a sidecar. Only content that the store has written costs a second look.
local function has_sidecar(ref)
  local owned = string.sub(ref.identity, 1, 6) == "owned:" and redis.call("HGET", P .. "blob:" .. ref.blob, "meta")
  if owned then sidecar_kinds(ref.root) end
  return owned
end

-- The refs that ended with the blob, as `ended` has them: it lives on, and their sidecars must not bring them back.
local function note_ended(root, blob, ended)
  if not ended then return end
  for id in string.gmatch(ended, "%S+") do note_sidecar(root, id, blob) end
  redis.call("HDEL", P .. "blob:" .. blob, "ended")
end
