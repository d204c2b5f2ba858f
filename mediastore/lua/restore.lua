-- restore: make a new ref of a dead ref's bytes, while they are there and no sweeper has ever claimed them.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the dead ref; it stays dead
-- ARGV[5] new     id    the ref to make
-- ARGV[6] scope   text  percent-encoded; "" means the scope that the dead one was in
-- ARGV[7] life    text  its lifetime: ms, "" = never, "@name" = by that policy (see _policy)
--
-- Returns {verdict = "done" | "live" | "late" | "unknown" | "policy", scope}. "policy": nobody knows the one that it is to live by.
-- Twice with one op: the same answer. Cost: O(depth of the scope).

local id, new, scope = argument(is_id, ARGV[4]), argument(is_id, ARGV[5]), ARGV[6]
argument(is_scope, scope, true)
local life = lifetime(ARGV[7])
enter_kinds()
quota_kinds()
expect("hash", "ref:" .. new)
local alive, facts = live(id)
if alive then return finish({ verdict = "live", scope = "" }) end
if not facts.scope then
  local gone = redis.call("GET", P .. "gone:" .. id) or ""
  local home, blob, text = string.match(gone, "^%l+ %d+ (%S+) %S+ %S+ (%S+) ?(.*)$")
  if not home then return finish({ verdict = "unknown", scope = "" }) end
  if not (is_scope(home) and is_id(blob)) then corrupt("gone:" .. id, "its scope or blob") end
  facts = text ~= "" and fields_of(facts_in(id, text)) or {}
  facts.scope, facts.blob = home, blob
end
local b = blob_of(facts.blob)
local late = not b or not (b.state == "live" or (b.state == "doomed" and b.ever == "0"))
if late or redis.call("HEXISTS", expect("hash", "lost"), b.root) == 1 then return finish({ verdict = "late", scope = "" }) end
if not life then return finish({ verdict = "policy", scope = "" }) end
scope = scope ~= "" and scope or facts.scope
local line, paths = lineage_to_change(scope), expect("hash", "path:" .. b.root)
for _, name in ipairs({ "older:", "borrowed:" }) do expect("hash", name .. b.root) end
expect("zset", "trash:" .. b.root)
if b.cut then expect("set", "left:" .. b.cut) end
if b.meta then sidecar_kinds(b.root) end

local size = tonumber(b.size)
local over = over_quota(line, { refs = 1, bytes = size, new_refs = 1, new_bytes = b.state == "doomed" and size or 0 })
if over then return finish({ verdict = over, scope = scope }) end
if b.state == "doomed" then
  rescue(facts.blob, b.root, b)
  note_ended(b.root, facts.blob, b.ended)
  counted_again(b)
  local current = redis.call("HGET", paths, b.path)
  if not current then
    redis.call("HSET", paths, b.path, facts.blob)
    forget_older(b.root, b.path, facts.blob, b.identity)
  elseif current ~= facts.blob then
    displace(b.root, b.path, facts.blob, b.identity)
    lend(b.root, b.path, b.custody, 1)
  end
end
redis.call("HSET", P .. "blob:" .. facts.blob, "state", "live", "refs", b.refs + 1)
copy_ref(new, facts, facts.blob, b, line, life)
return finish({ verdict = "done", scope = scope })
