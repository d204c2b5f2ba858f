-- prelude: put in front of every script by index.py; what all scripts share.
--
-- KEYS[1] prefix     "mediastore:{bots}:"
-- ARGV[1] not_after  ms   refused later than this (server time); "" where nothing is changed
-- ARGV[2] now        ms   tests only; "" reads the server's clock
-- ARGV[3] op         id   the answer is kept under it and given again; "" where ids in the arguments do that

local P, OP = KEYS[1], ARGV[3]
local RECORD_MS = 120000 -- 2 W: a command may be sent again for W = 60 s, and its record must outlive that

-- A whole number as scripts write them; nil for anything else: Lua itself reads "nan", "1e999" and "0x10".
local function num(text)
  local n = text and #text <= 16 and string.match(text, "^%d+$") and tonumber(text)
  return n and n <= 9e15 and n or nil
end

local function int(text, low, high)
  local n = tonumber(text)
  if not n or n ~= math.floor(n) or n < low or n > high then error("BADARG " .. tostring(text)) end
  return n
end

-- Microseconds exceed 2^31 and 14 digits: Lua's own number format would round them.
local function str(n) return string.format("%.0f", n) end

-- Lua never rolls back: a key of a foreign type must be met before the first write.
local checked, present = {}, {}
local function expect(kind, name)
  if checked[name] then return checked[name] end
  local found = redis.call("TYPE", P .. name)["ok"]
  if found ~= "none" and found ~= kind then error("WRONGTYPE " .. P .. name .. " is a " .. found) end
  checked[name], present[name] = P .. name, found ~= "none"
  return checked[name]
end

local time = redis.call("TIME")
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local clock_us = us
if ARGV[2] ~= "" then us = int(ARGV[2], 0, 9000000000000) * 1000 end
-- While the server's clock is known to lie, by so much, what begins and ends goes by the time without the lie.
local jumped = redis.pcall("HGET", P .. "frozen", "clock")
local ahead = type(jumped) == "string" and tonumber(string.match(jumped, "^%d+ (%-?%d+) ") or "") or 0
if math.abs(ahead) < us / 1000 then us = us - ahead * 1000 end
local latest = num(redis.call("GET", P .. "clock")) or 0
if latest <= 9000000000000 then us = math.max(us, latest * 1000) end
local now = math.floor(us / 1000)

if ARGV[1] ~= "" and now > tonumber(ARGV[1]) then return redis.error_reply("STALE this command is too old") end
if OP ~= "" then
  local kept = redis.call("GET", P .. "op:" .. OP)
  if kept then return kept end
end

-- The answer is JSON text, so that RESP2, RESP3 and decoding clients read the same.
local function finish(answer)
  local text = cjson.encode(answer)
  if OP ~= "" then redis.call("SET", P .. "op:" .. OP, text, "PX", RECORD_MS) end
  return text
end

-- A clock that steps back must not revive what a script has ended. By more than a step only `clock` raises what is kept:
-- one that lies for an hour must not make time stand still for another.
local MOST_STEP_MS = 600000
local function keep_time()
  if latest == 0 or now - latest <= MOST_STEP_MS then redis.call("SET", P .. "clock", str(now)) end
end

local function last_seq() return num(redis.call("GET", P .. "seq")) or 0 end

-- Grows even when a failover lost the last writes: never below the server's clock.
local function next_seq()
  local seq = math.max(us, last_seq() + 1)
  redis.call("SET", P .. "seq", str(seq))
  return seq
end
