-- store: register a file under a scope as a new ref: a new blob, or one more ref of the blob its path already has.
--
-- KEYS[1] prefix    "mediastore:{bots}:"
-- ARGV[4] ref       id    the new ref
-- ARGV[5] blob      id    the blob to make where the path has none
-- ARGV[6] scope     text  percent-encoded
-- ARGV[7] root      id    the root that holds the file
-- ARGV[8] path      text  relative to the root
-- ARGV[9] size      int   bytes
-- ARGV[10] identity text  "link:ino", "inode:ino" or "stat:ino:size:mtime_ns"
-- ARGV[11] stat     text  "ino:size:mtime_ns" of the caller's own held link
-- ARGV[12] custody  text  "adopted" or "borrowed"
-- ARGV[13] life     text  its lifetime: ms, "" = never, "@name" = by that policy (see _policy)
-- ARGV[14..]        text  metadata: name, value, name, value, ...
--
-- Returns {verdict, blob}. The verdict is "new", "joined", "busy" (the path's blob is being deleted, or written: wait for its
-- end and store again with new ids), "forgotten" (the root), "policy" (nobody knows it), "changed" (a file of the store's own that
-- has another size by now) or "quota:..." (what it would exceed, see _quota). A refused ref id is burnt.
-- Twice with one ref id: the first answer, nothing written. Cost: O(depth of the scope).

local id, blob, scope, root, path = argument(is_id, ARGV[4]), argument(is_id, ARGV[5]), argument(is_scope, ARGV[6]), argument(is_id, ARGV[7]), argument(is_path, ARGV[8])
local size, stat, custody, verdict, identity = int(ARGV[9], 0, 9e15), ARGV[11], ARGV[12], "new", ARGV[10]
local life, twin = lifetime(ARGV[13]), earlier(id, blob)
if twin then return finish(twin) end

local line = lineage_to_change(scope)
enter_kinds()
quota_kinds()
for name, kind in pairs({ lost = "hash", ["path:" .. root] = "hash", ["borrowed:" .. root] = "hash", ["older:" .. root] = "hash", ["trash:" .. root] = "zset" }) do expect(kind, name) end

local current = redis.call("HGET", P .. "path:" .. root, path)
local old = seen(current, "path:" .. root)
local busy = old.state == "deleting" or old.state == "reserved" or old.state == "stuck" or (old.state == "doomed" and old.ever == "1")
local there = old.state == "live" and same(old.identity, stat)
local refused = not life and "policy" or redis.call("HEXISTS", P .. "lost", root) == 1 and "forgotten" or busy and "busy"
  or old.custody == "owned" and tonumber(old.size) ~= size and "changed"
  or over_quota(line, { refs = 1, bytes = size, new_refs = 1, new_bytes = there and 0 or size })
if refused then burn(id, current or blob, refused) end
if refused then return finish({ verdict = refused, blob = current or blob }) end
-- On a shared path borrowed wins over adopted, in any order, for as long as one ref of it lives:
-- also a ref of a file that was replaced since, which `borrowed` counts.
local lent = old.state == "live" and old.custody == "borrowed"
if lent or redis.call("HEXISTS", P .. "borrowed:" .. root, path) == 1 then custody = "borrowed" end
if old.custody == "owned" then custody = "owned" end -- the store made that file itself

local found, its = current, old
if not (old.state and same(old.identity, stat)) then
  found = find_older(root, path, stat)
  its = seen(found, "older:" .. root)
  if not (whole(its) and same(its.identity, stat)) then found = nil end
  if found then forget_older(root, path, found, its.identity) end
  if found and its.state == "live" then lend(root, path, its.custody, -1) end
  if whole(old) then displace(root, path, current, old.identity) end
  if old.state == "live" then lend(root, path, old.custody, 1) end
  redis.call("HSET", P .. "path:" .. root, path, found or blob)
end
if found then
  verdict, blob, identity = "joined", found, its.identity
  if its.state == "doomed" then rescue(blob, root, its) end
  note_ended(root, blob, its.ended)
  redis.call("HSET", P .. "blob:" .. blob, "state", "live", "refs", tonumber(its.refs) + 1, "custody", custody)
else
  redis.call("HSET", P .. "blob:" .. blob, "state", "live", "refs", 1, "ever", 0, "root", root, "path", path,
    "custody", custody, "identity", identity, "size", size)
end
local counts = { refs = 1, stored_refs = 1, stored_bytes = size }
if not found or its.state == "doomed" then
  counts.blobs, counts["blobs:" .. root], counts.size_bytes = 1, 1, found and its.size or size
  counts["size_bytes:" .. root] = counts.size_bytes
end
local seq = next_seq()
redis.call("HSET", P .. "ref:" .. id, "scope", scope, "seq", str(seq), "blob", blob, "root", root, "path", path,
  "size", size, "identity", identity, "stored_at", str(now), unpack(ARGV, 14))
if life.ms then set_expiry(id, life.ms) end
follow(life, id, seq)
enter_ref(id, line, seq)
use(scope, size)
if found and its.meta then note_sidecar(root, id, blob) end
for name, by in pairs(counts) do bump(P .. "stats", name, by) end
return finish({ verdict = verdict, blob = blob })
