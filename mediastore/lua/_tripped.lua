-- _tripped: put after _breaker, in expire and lapse. Whether the breaker is tripped, or trips now.

for name, kind in pairs({ frozen = "hash", stats = "hash", expiry = "zset", deadlines = "zset", closed = "zset", cuts = "hash", changing = "hash" }) do
  expect(kind, name)
end

-- What has passed its deadline, refs and what is in scopes.
local function due_now()
  local ripe = redis.call("ZRANGEBYSCORE", P .. "deadlines", "-inf", str(now), "LIMIT", 0, MOST_SCOPES)
  local scopes = #ripe == MOST_SCOPES and redis.call("ZCOUNT", P .. "deadlines", "-inf", str(now)) or #ripe
  return redis.call("ZCOUNT", P .. "expiry", "-inf", str(now)) + held_by(ripe, scopes - #ripe)
end

-- Refs that a release has ended and no drain has come to: they are due for nobody's deadline.
local function released()
  local scopes, marks = {}, redis.call("ZRANGE", P .. "closed", 0, MOST_SCOPES - 1)
  for _, scope in ipairs(marks) do
    local said = redis.call("HGET", P .. "cuts", scope)
    if not said or string.find(said, " released ", 1, true) then scopes[#scopes + 1] = scope end
  end
  return held_by(scopes, redis.call("ZCARD", P .. "closed") - #marks)
end

-- Refs that a change of a policy has still to come to. One that is at it for an hour counts no more: something stops it.
local function moving()
  local refs = 0
  local changing = redis.call("HGETALL", P .. "changing")
  for i = 1, math.min(#changing, 2 * MOST_SCOPES), 2 do
    local seq, left = string.match(changing[i + 1], "^(%d+) (%d+)$")
    if num(seq) and num(left) and now - num(seq) / 1000 < HOUR_MS then
      refs = refs + many("ZCOUNT", "under:" .. changing[i], left, "(" .. seq)
    end
  end
  return refs
end

local to_reset = false
-- Called by `expire`, once all that can stop it is past: a sweep asks it whenever the breaker is tripped.
local function reset_breaker()
  if to_reset then redis.call("HDEL", P .. "frozen", "breaker") end
end

-- `said`: "breaker_min millionths", of the caller's settings. Returns nil if refs may end by themselves, else "breaker"; or
-- "settling": only when releases and changes of policies are worked off can be told what is due.
local function tripped(said)
  local least, share = string.match(said, "^(%d+) (%d+)$")
  least, share = int(least, 0, 9e15), int(share, 0, 1000000)
  local latched = redis.call("HEXISTS", P .. "frozen", "breaker") == 1
  to_reset = latched
  local due = least > 0 and due_now() or 0
  local unmoved = due + (least > 0 and moving() or 0)
  if unmoved <= least then return nil end
  local past = history()
  if past.allowed > now then return nil end
  if latched and due > least then
    to_reset = false
    return "breaker"
  end
  -- After `epoch accept` most of what is due is only put off.
  if keeping().below > 0 then return nil end
  local function too_many(refs, of, changed)
    return refs > least and refs * 1000000 > share * of and refs > TIMES_THE_MEAN * past.mean
      and (past.hours >= MOST_HOURS or past.nearer > now or changed)
  end
  -- Whatever lives: as a rule that is the end of it.
  if not too_many(unmoved, 0, unmoved > due) then return nil end
  local live, dead = num(redis.call("HGET", P .. "stats", "refs")) or 0, released()
  if too_many(due - dead, live, false) then
    redis.call("HSET", P .. "frozen", "breaker", table.concat({ str(now), str(due), str(live), str(past.mean) }, " "))
    return "breaker"
  end
  return too_many(unmoved, live - dead, unmoved > due) and "settling" or nil
end
