-- _outcomes: put after _plain and _count, in the script that acknowledges a claim. What became of each blob, and what is remembered of it.
--
-- deleted: we removed its bytes. gone: somebody else had removed them. kept: it was borrowed. spared: something stands at its path
-- that is not, or cannot be shown to be, the registered file. spared, a list: "ms root blob identity found path", the newest last.

local MOST_SPARED = 1000
local answer = { deleted = 0, gone = 0, spared = 0, kept = 0, freed = 0, failed = 0, left = 0 }
local spared = {}

-- After "spared": what stands there, as "file:ino:size:mtime_ns" or what it is instead of a file.
local function is_outcome(text)
  return text == "deleted" or text == "gone" or text and #text <= 128 and string.find(text, "^spared [%w:-]+$") ~= nil
end

local function check_outcome(freed, said)
  int(freed, 0, 9e15)
  argument(is_outcome, said)
end

local function count_outcome(root, id, b, freed, said)
  local kind = b[3] == "borrowed" and "kept" or string.match(said, "^%l+")
  if b[6] then return end -- a draft counts for nothing: it never was a blob
  answer[kind], answer.freed = answer[kind] + 1, answer.freed + freed
  if kind ~= "spared" then return end
  spared[#spared + 1] = table.concat({ str(now), root, id, b[7] or ".", string.match(said, " (.*)$"), b[2] or "." }, " ")
end

local function add_up(stats)
  for field, by in pairs({ deleted_blobs = answer.deleted, gone_blobs = answer.gone, spared_blobs = answer.spared, kept_blobs = answer.kept, freed_bytes = answer.freed }) do
    if by ~= 0 then bump(stats, field, by) end
  end
  if #spared == 0 then return end
  redis.call("RPUSH", P .. "spared", unpack(spared))
  redis.call("LTRIM", P .. "spared", -MOST_SPARED, -1)
end
