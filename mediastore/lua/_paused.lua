-- _paused: put after _due. Whether the server was started or replaced a moment ago.
--
-- server: "run_id since_ms", whose the index was when it was last asked. fakeredis knows neither rights nor INFO in a script.

-- For a while after the server was started or replaced: a root that nobody swept since the snapshot cannot tell by itself.
local function is_paused(pause)
  local key = pause > 0 and expect("string", "server")
  local allowed = pause > 0 and (not redis.acl_check_cmd or redis.acl_check_cmd("INFO", "server"))
  local said = allowed and redis.pcall("INFO", "server")
  local run = type(said) == "string" and string.match(said, "run_id:(%x+)")
  if not run then return false end
  local known, since = string.match(redis.call("GET", key) or "", "^(%x+) (%d+)$")
  if known ~= run then
    since = known and str(now) or "0"
    redis.call("SET", key, run .. " " .. since)
  end
  return now < (num(since) or 0) + pause
end
