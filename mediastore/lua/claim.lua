-- claim: give a sweeper the next blobs of one root's trash, for a while.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] root    id   the root whose trash is meant
-- ARGV[5] token   id   this claim; its directory quarantine/<token> stands already
-- ARGV[6] limit   int  most blobs to claim, 1..64
-- ARGV[7] hold    ms   how long the claim lasts, 1..60000
-- ARGV[8..]       ids  only these blobs; none given: whatever is due, soonest first
--
-- Returns {prev = {token, ...}, blobs = {{id, path or "", identity, custody, size, path as registered}, ...}}.
-- A lapsed claim is taken over whole and alone: `prev` are the tokens it went through, oldest first.
-- Twice with one op: the same batch. Cost: O(limit * log trash).

local root, token = ARGV[4], ARGV[5]
local limit, hold = int(ARGV[6], 1, 64), int(ARGV[7], 1, 60000)
local trash = expect("zset", "trash:" .. root)
local paths = expect("hash", "path:" .. root)
local answer = { prev = {}, blobs = {} }

local due = { unpack(ARGV, 8) }
if #due == 0 then due = redis.call("ZRANGEBYSCORE", trash, "-inf", str(now), "LIMIT", 0, limit) end

local fresh, postponed, old, batch = {}, {}, nil, nil
for _, id in ipairs(due) do
  local b = redis.call("HMGET", P .. "blob:" .. id, "state", "token", "root")
  if b[3] == root and b[1] == "doomed" then
    local score = redis.call("ZSCORE", trash, id)
    if score and tonumber(score) <= now then fresh[#fresh + 1] = id end
  elseif b[3] == root and b[2] then
    local deadline = tonumber(redis.call("HGET", P .. "claim:" .. b[2], "deadline") or "0")
    if deadline > now then postponed[id] = deadline else old = old or b[2] end
  elseif not b[1] then
    postponed[id] = "gone"
  end
end

if old then
  -- Whole, so that the chain of tokens stays one line and every late worker is fenced by one rename.
  batch = {}
  local record = redis.call("HGETALL", P .. "claim:" .. old)
  for i = 1, #record, 2 do
    local id = string.match(record[i], "^blob:(.+)$")
    if id then batch[#batch + 1] = id end
    if record[i] == "prev" then for p in string.gmatch(record[i + 1], "%S+") do answer.prev[#answer.prev + 1] = p end end
  end
  answer.prev[#answer.prev + 1] = old
else
  batch = fresh
end
local views = {}
for i, id in ipairs(batch) do
  views[i] = redis.call("HMGET", P .. "blob:" .. id, "path", "identity", "custody", "size")
  if redis.call("HGET", paths, views[i][1]) ~= id then views[i].stray = true end
end

for id, deadline in pairs(postponed) do
  if deadline == "gone" then redis.call("ZREM", trash, id) else redis.call("ZADD", trash, "XX", str(deadline), id) end
end
if #batch == 0 then return finish(answer) end
local claim = P .. "claim:" .. token
redis.call("HSET", claim, "root", root, "deadline", str(now + hold), "since", str(now), "prev", table.concat(answer.prev, " "))
if old then redis.call("UNLINK", P .. "claim:" .. old) end
for i, id in ipairs(batch) do
  -- From here on the blob may be half gone: it is never handed out again, only finished.
  redis.call("HSET", P .. "blob:" .. id, "state", "deleting", "ever", 1, "token", token)
  redis.call("HSET", claim, "blob:" .. id, "")
  redis.call("ZADD", trash, str(now + hold), id)
  local v = views[i]
  answer.blobs[i] = { id, v.stray and "" or v[1], v[2], v[3], v[4], v[1] }
end
return finish(answer)
