-- _quota: put after the prelude of the scripts that bring refs into scopes, and of those that end them.
--
-- quotas: "bytes", "refs" of the namespace, "scope_bytes", "scope_refs" of each scope, "bytes <scope>", "refs <scope>" of one.
-- usage: scope -> bytes of its refs, those that are being written among them; writing: scope -> how many are.

local function quota_kinds()
  for name, kind in pairs({ quotas = "hash", usage = "hash", writing = "hash", stats = "hash", closed = "zset" }) do expect(kind, name) end
end

local function use(scope, bytes)
  if bytes == 0 then return end
  if bump(P .. "usage", scope, bytes) <= 0 then redis.call("HDEL", P .. "usage", scope) end
end

local function number(said) return num(said) or 0 end

-- The refs of a scope that no release has ended, and those that are being written.
local function refs_in(line)
  local mark = 0
  for _, scope in ipairs(line) do mark = math.max(mark, number(redis.call("ZSCORE", P .. "closed", scope))) end
  local found = redis.call("ZCOUNT", P .. "scope:" .. line[1], "(" .. str(mark), "+inf")
  local deadline = number(redis.call("ZSCORE", P .. "scope:" .. line[1], "deadline"))
  return found - (deadline > mark and 1 or 0) + number(redis.call("HGET", P .. "writing", line[1]))
end

-- What is no whole number can be compared with nothing: it stops the script before anything is written.
local function must_count(key, name, said)
  if said and not (#said <= 16 and string.find(said, "^%d+$")) then error("BADARG " .. P .. key .. ": " .. name .. " is no whole number") end
end

-- The limits of the namespace and of a scope; nil where there is none.
local function limits_of(scope)
  local names = { "bytes", "refs", "scope_bytes", "scope_refs", "bytes " .. scope, "refs " .. scope }
  local q = redis.call("HMGET", P .. "quotas", unpack(names))
  for i, name in ipairs(names) do must_count("quotas", name, q[i]) end
  local limits = { bytes = q[1], refs = q[2], scope_bytes = q[5] or q[3], scope_refs = q[6] or q[4] }
  return (q[1] or q[2] or limits.scope_bytes or limits.scope_refs) and limits or nil
end

-- What more refs and bytes would exceed, in the scope and (new ones) in the namespace, as "quota:what:limit:used:more".
local function over_quota(line, more)
  local limits = limits_of(line[1])
  if not limits then return nil end
  local s = redis.call("HMGET", P .. "stats", "size_bytes", "reserved_bytes", "refs", "reserved")
  local function over(what, by, used)
    if not limits[what] or (by or 0) <= 0 then return nil end
    if not num(limits[what]) then corrupt("quotas", what) end
    local held = used()
    return held + by > num(limits[what]) and table.concat({ "quota", what, limits[what], str(held), str(by) }, ":") or nil
  end
  return over("bytes", more.new_bytes, function() return number(s[1]) + number(s[2]) end)
    or over("refs", more.new_refs, function() return number(s[3]) + number(s[4]) end)
    or over("scope_bytes", more.bytes, function() return number(redis.call("HGET", P .. "usage", line[1])) end)
    or over("scope_refs", more.refs, function() return refs_in(line) end)
end
