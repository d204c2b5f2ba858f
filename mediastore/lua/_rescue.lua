-- _rescue: put after the prelude of the scripts that end the waiting of a doomed blob, or bring one back.

-- A blob without a ref whose bytes stayed for a while waits no more.
local function wait_no_more(due, size)
  if not due then return end
  bump(P .. "stats", "waiting", -1)
  bump(P .. "stats", "waiting_bytes", -(num(size) or 0))
end

local function expect_leases(id)
  expect("zset", "lease:" .. id)
  expect("hash", "holders:" .. id)
end

-- Only where no sweeper has ever claimed it (`ever` is 0): its bytes are whole.
local function rescue(id, root, b)
  redis.call("ZREM", P .. "trash:" .. root, id)
  if b.cut then redis.call("SREM", P .. "left:" .. b.cut, id) end
  redis.call("HDEL", P .. "blob:" .. id, "cut", "due", "grace")
  wait_no_more(b.due, b.size)
end
