-- _reserved: put after _rescue, in the scripts that reserve a blob and in those that end its reservation.

local function reserved(by, bytes)
  redis.call("HINCRBY", P .. "stats", "reserved", by)
  redis.call("HINCRBY", P .. "stats", "reserved_bytes", str(bytes + 0)) -- not "-0"
end

-- What was written of it goes now; it is never handed out (`ever`), and counts for nothing (`draft`).
local function give_up(root, blob, size)
  reserved(-1, -tonumber(size))
  redis.call("HSET", P .. "blob:" .. blob, "state", "doomed", "ever", 1)
  redis.call("HDEL", P .. "blob:" .. blob, "leased")
  redis.call("UNLINK", P .. "lease:" .. blob, P .. "holders:" .. blob)
  redis.call("ZADD", P .. "trash:" .. root, str(now), blob)
end
