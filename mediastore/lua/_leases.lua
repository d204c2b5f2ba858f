-- _leases: put after _rescue, in the scripts that take, renew and end leases of a blob.
--
-- lease:<blob> zset token -> deadline; holders:<blob> hash token -> "last_ms since_ms who"; the blob says `leased`,
-- the latest of the deadlines, which is all that its deletion asks for.

local function lease_kinds(blob)
  expect("hash", "stats")
  expect("zset", "lease:" .. blob)
  expect("hash", "holders:" .. blob)
  local root = redis.call("HGET", P .. "blob:" .. blob, "root")
  if root and not is_id(root) then corrupt("blob:" .. blob, "root") end
  if root then expect("zset", "trash:" .. root) end
end

-- Where the file of a blob is, before a lease of it is promised to anybody; nil where there is none.
local function place_of(blob)
  local facts = redis.call("HMGET", P .. "blob:" .. blob, "root", "path", "identity", "custody")
  if not facts[1] then return nil end
  if not is_path(facts[2]) then corrupt("blob:" .. blob, "path") end
  if not is_identity(facts[3]) then corrupt("blob:" .. blob, "identity") end
  if not is_custody(facts[4]) then corrupt("blob:" .. blob, "custody") end
  return facts
end

-- Whether this lease still holds; a late holder learns here that it does not.
local function holds(blob, token)
  local deadline = redis.call("ZSCORE", P .. "lease:" .. blob, token)
  return deadline and tonumber(deadline) > now
end

local function drop_lapsed(blob)
  local lapsed = redis.call("ZRANGEBYSCORE", P .. "lease:" .. blob, "-inf", str(now), "LIMIT", 0, 64)
  if #lapsed == 0 then return end
  redis.call("ZREM", P .. "lease:" .. blob, unpack(lapsed))
  redis.call("HDEL", P .. "holders:" .. blob, unpack(lapsed))
end

local function let_go(blob, token)
  redis.call("ZREM", P .. "lease:" .. blob, token)
  redis.call("HDEL", P .. "holders:" .. blob, token)
end

-- Returns the deadline of a new lease that lasts `ttl` and, renewed, no longer than `longest`.
local function hold(blob, token, ttl, longest, who)
  local deadline = now + math.min(ttl, longest)
  redis.call("ZADD", P .. "lease:" .. blob, str(deadline), token)
  redis.call("HSET", P .. "holders:" .. blob, token, table.concat({ str(now + longest), str(now), who }, " "))
  return deadline
end

-- Say again how long the bytes are needed. Returns whether a blob without a ref may go now.
local function settle_leases(blob)
  drop_lapsed(blob)
  local b = redis.call("HMGET", P .. "blob:" .. blob, "state", "root", "grace", "due", "size")
  if not (b[1] and b[2]) then return false end
  local last = redis.call("ZRANGE", P .. "lease:" .. blob, 0, 0, "REV", "WITHSCORES")[2]
  if last then
    redis.call("HSET", P .. "blob:" .. blob, "leased", last)
  else
    redis.call("HDEL", P .. "blob:" .. blob, "leased")
  end
  if b[1] ~= "doomed" then return false end
  -- One that waits for nothing may be claimed at any time, and nobody holds a lease of it.
  if not b[4] then return true end
  local due = math.max(tonumber(last or "0"), num(b[3]) or 0, now)
  redis.call("ZADD", P .. "trash:" .. b[2], "XX", str(due), blob)
  if due > now then
    redis.call("HSET", P .. "blob:" .. blob, "due", str(due))
  else
    redis.call("HDEL", P .. "blob:" .. blob, "due", "grace")
    wait_no_more(b[4], b[5])
  end
  return due <= now
end
