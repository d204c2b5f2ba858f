-- _seize: put after _path, _rescue and _reserved, in the script that hands blobs to a sweeper.

-- A sweeper has it from now on: its content is handed out no more, and nobody waits for it.
local function seize(root, id, v)
  if v.sha and redis.call("HGET", P .. "dedup:" .. root, v.sha) == id then redis.call("HDEL", P .. "dedup:" .. root, v.sha) end
  if v.state == "reserved" then unreserve(id) end
  if v.state == "doomed" and v.path and v[1] then forget_older(root, v.path, id, v[1]) end
  wait_no_more(v.state == "doomed" and v.due, v[3])
  if v.leased > 0 then redis.call("UNLINK", P .. "lease:" .. id, P .. "holders:" .. id) end
end
