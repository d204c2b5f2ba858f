-- _cuts: put after _marks. What a mark's newest seq does not tell: which of several releases came first.
--
-- cuts: scope -> "seq cause who ..." of each time that it was closed since drains were last done with it, oldest first.

-- As many as are told apart; of more, the newest takes the last one's place.
local MOST_CUTS = 8

local function cuts_of(mark)
  local said = {}
  for seq, cause, who in string.gmatch(redis.call("HGET", P .. "cuts", mark.scope) or "", "(%d+) (%S+) (%S+)") do
    if num(seq) and (cause == "released" or cause == "expired") then said[#said + 1] = { seq = num(seq), scope = mark.scope, cause = cause, who = who } end
  end
  if #said == 0 then said[1] = { seq = mark.seq, scope = mark.scope, cause = "released", who = "." } end
  return said
end

-- Every ref below with a smaller seq is dead from here on. Returns the mark.
local function close(scope, cause, who)
  local mark, words = { seq = next_seq(), scope = scope }, {}
  if redis.call("ZSCORE", P .. "closed", scope) then
    for _, cut in ipairs(cuts_of({ seq = mark.seq - 1, scope = scope })) do
      words[#words + 1] = table.concat({ str(cut.seq), cut.cause, cut.who }, " ")
    end
  end
  words[math.min(#words, MOST_CUTS - 1) + 1] = table.concat({ str(mark.seq), cause, who }, " ")
  redis.call("ZADD", P .. "closed", str(mark.seq), scope)
  redis.call("HSET", P .. "cuts", scope, table.concat(words, " "))
  return str(mark.seq)
end

local function reopen(scope)
  redis.call("ZREM", P .. "closed", scope)
  redis.call("HDEL", P .. "cuts", scope)
end
