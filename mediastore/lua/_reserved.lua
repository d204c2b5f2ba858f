-- _reserved: put after _rescue and _quota, in the scripts that reserve a blob and in those that end its reservation.

local function reserved(by, bytes, scope)
  bump(P .. "stats", "reserved", by)
  bump(P .. "stats", "reserved_bytes", bytes)
  if not scope then return end
  use(scope, bytes)
  if bump(P .. "writing", scope, by) <= 0 then redis.call("HDEL", P .. "writing", scope) end
end

local function reserved_kinds()
  keeping()
  for _, name in ipairs({ "usage", "writing", "stats" }) do expect("hash", name) end
end

-- Nobody writes it any more.
local function unreserve(blob)
  local b = redis.call("HMGET", P .. "blob:" .. blob, "size", "scope")
  reserved(-1, -(num(b[1]) or 0), is_scope(b[2]) and b[2] or nil)
  redis.call("HDEL", P .. "blob:" .. blob, "scope", "leased")
  redis.call("UNLINK", P .. "lease:" .. blob, P .. "holders:" .. blob)
end

-- What was written of it goes now; it is never handed out (`ever`), and counts for nothing (`draft`).
local function give_up(root, blob)
  unreserve(blob)
  redis.call("HSET", P .. "blob:" .. blob, "state", "doomed", "ever", 1, stamp())
  redis.call("ZADD", P .. "trash:" .. root, str(now), blob)
end
