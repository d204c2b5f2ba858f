-- epoch: look at what a root shows of the index's chain, make the chain longer, say what the root is to show from now on.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] token   id    random: of the entry that is made
-- ARGV[5] pause   ms    for how long nothing is done after the server was started or replaced
-- ARGV[6] root    id    the root
-- ARGV[7] shown   text  the entry that is in its file; "" where there is none, "?" where it cannot be read
-- ARGV[8] sure    int   1 if the file was read again after an answer "unknown" or "new", and still shows that
--
-- Returns {held = "" | "epoch" | "clock" | "unknown" | "new" | "server", entry = what is to be written there, or ""}.
-- Only who is sure freezes the namespace, or has the index take an entry as its own: what was read first may be outdated.
-- An entry is made once a minute at most. It is noted before it is a minute old and written once it is older: so a failover,
-- which loses the last seconds, loses neither an entry that is written somewhere nor its note.
-- Twice with one op: the same answer. Cost: O(64).

local token, pause, roots = argument(is_id, ARGV[4]), int(ARGV[5], 0, 9e15), shown_by({ ARGV[6], ARGV[7] })
local sure, root, shown = int(ARGV[8], 0, 1) == 1, argument(is_id, roots[1]), roots[2]
local MADE_EVERY_MS, WRITTEN_AFTER_MS = 60000, 65000
local epochs, answer = expect("list", "epochs"), { held = "", entry = "" }
expect("string", "server")
local notes, stands = notes_of(root), standing(root, shown)
local function stop(why)
  answer.held = why
  return finish(answer)
end

if keeping().all then return stop(keeping().all) end
if stands ~= "known" and not sure then return stop(stands or "unknown") end
if not stands then
  redis.call("HSET", P .. "frozen", "epoch", table.concat({ str(now), root, shown }, " "))
  return stop("epoch")
end
if is_entry(shown) and (stands == "new" or not notes.seen) then
  notes.seen = true
  keep_notes(root, notes, shown)
end
if is_paused(pause) then return stop("server") end

local newest = redis.call("LRANGE", epochs, -1, -1)[1]
local age = now - made(newest)
if not newest or age >= MADE_EVERY_MS or age < -MADE_EVERY_MS then
  newest = table.concat({ str(math.max(number(newest), number(shown)) + 1), str(now), token }, ".")
  redis.call("RPUSH", epochs, newest)
  redis.call("LTRIM", epochs, -MOST_EPOCHS, -1)
end
-- What was noted is written before another is noted: else, on a disk that is full for long, the notes would come to know
-- nothing of what the root does show.
local noted = notes[#notes]
if number(noted) <= number(shown) then
  if number(newest) > number(shown) then keep_notes(root, notes, newest) end
elseif now - made(noted) >= WRITTEN_AFTER_MS then
  answer.entry = noted
end
return finish(answer)
