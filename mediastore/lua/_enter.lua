-- _enter: put after _deadline, in the scripts that bring a ref into a scope.

-- `line` is the scope and its ancestors; each of them must know the one below, or a release would miss it.
local function enter(id, line, seq)
  redis.call("ZADD", P .. "scope:" .. line[1], str(seq), id)
  redis.call("ZADD", P .. "scopes", 0, line[1])
  for i = 2, #line do redis.call("ZADD", P .. "children:" .. line[i], "NX", str(seq), line[i - 1]) end
end

-- The refs of an idling scope say so, and whoever resolves one then tells the scope that it is in use.
local function enter_ref(id, line, seq)
  enter(id, line, seq)
  local idle = note_activity(line)
  if idle then redis.call("HSET", P .. "ref:" .. id, "idle", str(idle)) end
end

local function set_expiry(id, ttl)
  redis.call("HSET", P .. "ref:" .. id, "expires_at", str(now + ttl))
  redis.call("ZADD", P .. "expiry", str(now + ttl), id)
end

local function enter_kinds()
  for name, kind in pairs({ expiry = "zset", scopes = "zset", seq = "string", lifetimes = "hash", deadlines = "zset" }) do expect(kind, name) end
end
