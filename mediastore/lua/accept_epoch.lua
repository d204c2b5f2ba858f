-- accept_epoch: let a frozen namespace go on as it is: nothing that was there before ends by itself for a day.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] keep    ms    for how long
-- ARGV[5..]       text  roots of the caller in twos: root id, the entry that is in its file ("" none, "?" cannot be read)
--
-- Returns {was = "since_ms root shown" or "", until = ms, roots = how many may show what they have}.
-- What the other roots show is taken, if it was made before. Twice with one op: the same answer. Cost: O(roots).

local keep, mine = int(ARGV[4], 1, 9e15), shown_by({ unpack(ARGV, 5) })
local frozen, noted, roots = expect("hash", "frozen"), expect("hash", "noted"), expect("hash", "roots")
expect("string", "clock")
expect("string", "bound")
expect("string", "seq")
local answer = { was = redis.call("HGET", frozen, "epoch") or "", roots = 0 }
answer["until"] = str(now + keep)
redis.call("SET", P .. "bound", str(next_seq()) .. " " .. answer["until"])
redis.call("HDEL", frozen, "epoch", "clock")
redis.call("SET", P .. "clock", str(now))
local all = redis.call("HKEYS", roots)
for _, root in ipairs(redis.call("HKEYS", noted)) do all[#all + 1] = root end
for i = 1, #mine, 2 do all[#all + 1] = mine[i] end
for _, root in ipairs(all) do redis.call("HSET", noted, root, "*" .. str(now)) end
for i = 1, #mine, 2 do
  if is_entry(mine[i + 1]) then keep_notes(mine[i], { seen = true }, mine[i + 1]) end
end
answer.roots = redis.call("HLEN", noted)
return finish(answer)
