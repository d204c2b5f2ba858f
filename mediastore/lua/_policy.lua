-- _policy: put after _facts, in the scripts that give a ref a lifetime, or end one that has it by a policy.
--
-- policies: name -> ms or "never"; under:<name>: ref id -> the seq at which its deadline was set by it.
-- changing: name -> "seq left": refs set before `seq` get the new length, those before `left` only leave.

-- "retain-30days" says its length itself; only a name can be given another.
local function is_named(policy)
  return policy and not string.match(policy, "^retain%-") and not string.match(policy, "^delete%-after%-")
end

local function expect_policy(name)
  expect("hash", "policies")
  expect("hash", "changing")
  return expect("zset", "under:" .. name)
end

-- How long a ref lives by a policy, as the index says it; nil for no end.
local function length_of(name, said)
  if said == "never" then return nil end
  if not num(said) or num(said) < 1 or num(said) > 4e12 then corrupt("policies", name) end
  return num(said)
end

-- The first word that says a length: ms, "never" or "", or "@name" for what the index says of the policy; "@name:ms" where
-- the index says nothing of it. Returns {ms, policy, follows}, or nil where no word is known. Number formats as `int`.
local function lifetime(text)
  local function length(word) return word ~= "" and word ~= "never" and int(word, 1, 9e15) or nil end
  if text == "" then return {} end
  for word in string.gmatch(text, "%S+") do
    local name, own = string.match(word, "^@([^:]+):?(.*)$")
    if not name then return { ms = length(word) } end
    if is_named(name) then expect_policy(name) end
    local said = is_named(name) and redis.call("HGET", P .. "policies", name)
    if said then return { ms = length_of(name, said), policy = name, follows = true } end
    if own ~= "" then return { ms = length(own), policy = name } end
  end
end

-- What is changing about a policy now; nil where nothing is.
local function change_of(name)
  local seq, left = string.match(redis.call("HGET", P .. "changing", name) or "", "^(%d+) (%d+)$")
  return num(seq) and num(left) and { seq = num(seq), left = num(left) }
end

local function follow(life, id, seq)
  if life.follows then redis.call("ZADD", P .. "under:" .. life.policy, str(seq), id) end
end

-- What a ref lives by that a change of its policy has not come to yet: it is told now. nil where there is no such change.
local function newest(id, policy)
  local change, said = change_of(policy), redis.call("HGET", P .. "policies", policy)
  local since = change and said and tonumber(redis.call("ZSCORE", P .. "under:" .. policy, id) or "")
  if not since or since < change.left then return nil end
  local life = lifetime("@" .. policy)
  follow(life, id, change.seq)
  return life
end

-- Counted from when the ref was stored, and never in the past: until now it has lived.
-- Returns its deadline, nil where it has none.
local function give_lifetime(id, ref, ms)
  local key, due = P .. "ref:" .. id, nil
  if ms and not ref.pinned then due = math.max(tonumber(ref.stored_at) + ms, now) end
  if due then
    redis.call("HSET", key, "expires_at", str(due))
    redis.call("ZADD", P .. "expiry", str(due), id)
  else
    redis.call("HDEL", key, "expires_at")
    redis.call("ZREM", P .. "expiry", id)
  end
  if ms and ref.pinned then redis.call("HSET", key, "ttl", str(ms)) else redis.call("HDEL", key, "ttl") end
  return due
end
