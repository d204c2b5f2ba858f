-- _due: put after _plain in every script. Whether a deadline that has passed counts.
--
-- While the namespace is frozen it does not; nor, for a while after `epoch accept`, for what was there before it.
-- frozen: reason -> "since_ms ..."; bound: "seq until_ms", set by the last accept.

local kept
local function keeping()
  if kept then return kept end
  local why = redis.call("HMGET", expect("hash", "frozen"), "epoch", "clock")
  local seq, till = string.match(redis.call("GET", expect("string", "bound")) or "", "^(%d+) (%d+)$")
  kept = { all = why[1] and "epoch" or why[2] and "clock" or nil, below = 0, till = num(till) or 0 }
  if num(seq) and now < kept.till then kept.below = num(seq) end
  return kept
end

-- What a blob says that has come to its end, or to its beginning, since the last accept: then it may go at once.
-- `ended_at`: the seq of the release that ends it, where that came before.
local ended_at
local function stamp()
  if keeping().below > 0 then return "doomed", str(ended_at or last_seq()) end
end

local function overdue(due, seq)
  return due and due <= now and not (keeping().all or (seq or 0) < keeping().below)
end
