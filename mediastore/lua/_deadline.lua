-- _deadline: put after the prelude of the scripts that know of the deadlines of scopes.
--
-- A scope's deadline is a member of the scope with a seq of its own, so a release ends it like any ref that is older;
-- and while it lives, the scope is not empty and no release of an ancestor misses it.
--
-- lifetimes: scope -> "fixed_ms idle_ms active_ms seq", 0 where there is none; deadlines: scope -> what is due first.

local DEADLINE = "deadline"

local function life_of(text)
  local fixed, idle, active, seq = string.match(text or "", "^(%d+) (%d+) (%d+) (%d+)$")
  if not (is_ms(fixed) and is_ms(idle) and is_ms(active) and num(seq)) then return nil end
  return { fixed = num(fixed), idle = num(idle), active = num(active), seq = num(seq) }
end

local function keep_life(scope, life)
  local due = life.fixed > 0 and life.fixed or math.huge
  if life.idle > 0 then due = math.min(due, life.active + life.idle) end
  redis.call("HSET", P .. "lifetimes", scope, table.concat({ str(life.fixed), str(life.idle), str(life.active), str(life.seq) }, " "))
  redis.call("ZADD", P .. "deadlines", str(due), scope)
end

local function forget_deadline(scope)
  redis.call("HDEL", P .. "lifetimes", scope)
  redis.call("ZREM", P .. "deadlines", scope)
end

-- Something happened in a scope of this line. Written at most every tenth of the idle time.
-- Returns the shortest idle time above, or nil; and for how long nothing more need be noted.
local function note_activity(line)
  local shortest, again
  for i, text in ipairs(redis.call("HMGET", P .. "lifetimes", unpack(line))) do
    local life = life_of(text)
    if life and life.idle > 0 then
      shortest = math.min(shortest or life.idle, life.idle)
      if now - life.active >= life.idle / 10 then
        life.active = now
        keep_life(line[i], life)
      end
      local rest = life.idle / 10 - (now - life.active)
      again = math.min(again or rest, rest)
    end
  end
  return shortest, again
end
