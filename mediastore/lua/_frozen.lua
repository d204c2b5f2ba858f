-- _frozen: put after _paused, in the scripts that end what nobody named, or hand out bytes to be deleted. Whether they may now.
--
-- An index that came back older (a snapshot was put back), or a copy of one, does not know what was changed since, and would
-- delete what that had saved. So each root shows an entry of the index's chain; one that the index does not know freezes
-- the namespace. `tests/epochs_model.py` goes through every order of these steps.
--
-- epochs: entries "n.ms.random", the newest last. born: when the index was made, or first used after it was emptied.
-- noted: root -> "seen entry ...", what was noted before it was written in the root; "*ms": an entry made before is taken.

local MOST_EPOCHS, MOST_NOTES = 64, 4

local function is_entry(text) return text and #text <= 100 and string.find(text, "^%d+%.%d+%.[%w_-]+$") ~= nil end

-- What a root shows: an entry, "" where it has none, "?" where it cannot be read.
local function is_shown(text) return text == "?" or is_entry(text) end

local function number(entry) return num(string.match(entry or "", "^(%d+)%.")) or 0 end
local function made(entry) return num(string.match(entry or "", "^%d+%.(%d+)%.")) or 9e15 end

local function notes_of(root)
  local said = redis.call("HGET", expect("hash", "noted"), root) or ""
  local notes = { before = num(string.match(said, "^%*(%d+)$")), seen = string.sub(said, 1, 1) == "1" }
  for entry in string.gmatch(said, "%d+%.%d+%.[%w_-]+") do notes[#notes + 1] = entry end
  return notes
end

local function has(entries, entry)
  for _, each in ipairs(entries) do if each == entry then return true end end
  return false
end

local function keep_notes(root, notes, entry)
  if not has(notes, entry) then notes[#notes + 1] = entry end
  local words = { notes.seen and "1" or "0", unpack(notes, math.max(1, #notes - MOST_NOTES + 1)) }
  redis.call("HSET", P .. "noted", root, table.concat(words, " "))
end

-- Returns "known", "new" where the index cannot have known better, or nil: the index is not the one that the root knows.
-- Where nothing is noted it is new as well: somebody may be about to write what an index had told that was emptied since.
local function standing(root, shown)
  local notes, born = notes_of(root), redis.call("GET", expect("string", "born"))
  if not is_entry(shown) then return not notes.seen and (#notes > 0 and "known" or "new") or nil end
  if has(notes, shown) then return "known" end
  if has(redis.call("LRANGE", expect("list", "epochs"), 0, -1), shown) then return #notes > 0 and "known" or "new" end
  if #notes > 0 then return nil end
  local before = notes.before or num(born) or redis.call("EXISTS", P .. "format") == 0 and 9e15 or 0
  return made(shown) < before and "new" or nil
end

-- `roots`: root, what it shows, in turns. Returns why nothing may be done: "epoch", "clock", "unknown", "server"; or nil.
local function held(pause, roots)
  for i = 1, keeping().all and 0 or #roots, 2 do
    if not standing(roots[i], roots[i + 1]) then return "unknown" end
  end
  return keeping().all or is_paused(pause) and "server" or nil
end

local function shown_by(roots)
  for at = 1, #roots, 2 do
    argument(is_id, roots[at])
    argument(is_shown, roots[at + 1], true)
  end
  return roots
end
