-- list: one page of a scope's live refs, in store order. Changes nothing.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] scope   text  percent-encoded
-- ARGV[5] after   int   the seq of the last ref already seen; 0 for the first page
-- ARGV[6] limit   int   most refs to look at, 1..64
--
-- Returns {next = seq to go on after or "", refs = {{id, {field, value, ...}, state, custody, holders}, ...}}.
-- Cost: O(limit).

local scope, limit = ARGV[4], int(ARGV[6], 1, 64)
local page = redis.call("ZRANGEBYSCORE", P .. "scope:" .. scope, "(" .. str(int(ARGV[5], 0, 9e15)), "+inf", "WITHSCORES", "LIMIT", 0, limit)
local answer, marks = { refs = {}, next = "" }, marks_above(scope)
for i = 1, #page, 2 do
  local flat = redis.call("HGETALL", P .. "ref:" .. page[i])
  local ref = {}
  for f = 1, #flat, 2 do ref[flat[f]] = flat[f + 1] end
  if #flat > 0 and not overdue(num(ref.expires_at), num(ref.seq)) and not first_cut(marks, num(ref.seq) or 9e15) then
    local b = redis.call("HMGET", P .. "blob:" .. (ref.blob or ""), "state", "custody", "refs")
    answer.refs[#answer.refs + 1] = { page[i], flat, b[1], b[2], b[3] }
  end
end
if #page == 2 * limit and not num(page[#page]) then corrupt("scope:" .. scope, "a seq") end
if #page == 2 * limit then answer.next = page[#page] end
return finish(answer)
