-- reserve: enter a blob that is about to be written, or make a ref of the blob that has its content already.
--
-- KEYS[1] prefix    "mediastore:{bots}:"
-- ARGV[4] ref       id    the ref that is to be made
-- ARGV[5] blob      id    the blob; its empty temporary file stands already
-- ARGV[6] scope     text  percent-encoded
-- ARGV[7] root      id    the root that will hold the file
-- ARGV[8] path      text  relative to the root, never used before
-- ARGV[9] size      int   bytes that are to come, as far as known
-- ARGV[10] sha      text  SHA-256 of the content; "" while it is not known, or blobs are not to be shared
-- ARGV[11] alone    id    a blob that is not to be joined, because its file is gone; "" for none
-- ARGV[12] again    int   1: only if the writer's reservation holds still; its path, size and sha are said anew
-- ARGV[13] token    id    the writer's lease, which keeps the reservation
-- ARGV[14] hold     ms    until it ends, unless it is renewed
-- ARGV[15] longest  ms    until it ends however often it is renewed
-- ARGV[16] who      text  the writer, as people will read it
-- ARGV[17] sidecar  int   1: what is known of its refs is written beside the file as well
-- ARGV[18] life     text  lifetime of the ref: ms, "" = never, "@name" = by that policy (see _policy)
-- ARGV[19..]        text  metadata: name, value, name, value, ...
--
-- Returns {verdict, blob, path, until, life = ms or "", limited, stamp = that of a blob that was joined, see commit}. The verdict is "reserved", "joined", "forgotten" (the root),
-- "lost" (it was not renewed in time, or a sweeper has the blob), "policy" (nobody knows it) or "quota:..." (what it would
-- exceed, see _quota). `life`: what the lifetime is as things stand; `limited`: whether a quota is kept to.
-- What was reserved already stays so when another blob is joined. Twice with one op: the same answer; with a ref id that was
-- made or burnt meanwhile: nothing more is written. Cost: O(depth of the scope).

local id, blob, scope = argument(is_id, ARGV[4]), argument(is_id, ARGV[5]), argument(is_scope, ARGV[6])
local root, path, size = argument(is_id, ARGV[7]), argument(is_path, ARGV[8]), int(ARGV[9], 0, 9e15)
local sha, again, token, hold_ms = ARGV[10], int(ARGV[12], 0, 1), argument(is_id, ARGV[13]), int(ARGV[14], 1, 9e15)
local longest, sidecar, life = int(ARGV[15], 1, 9e15), int(ARGV[17], 0, 1), lifetime(ARGV[18])
local twin = earlier(id, blob)
if twin then
  local path, stamp = place_of(twin.blob)
  return finish({ verdict = "joined", blob = twin.blob, path = path, ["until"] = "0", life = "", limited = 0, stamp = stamp })
end

local line = lineage_to_change(scope)
enter_kinds()
own_kinds(root, blob)
local b = redis.call("HMGET", P .. "blob:" .. blob, "state", "path", "size")
local function answer(verdict, of, at, deadline, stamp)
  return finish({ verdict = verdict, blob = of, path = at, ["until"] = str(tonumber(deadline or 0)), life = life and life.ms and str(life.ms) or "", limited = limits_of(scope) and 1 or 0, stamp = stamp or "" })
end
if not life then return answer("policy", blob, path) end
if redis.call("HEXISTS", P .. "lost", root) == 1 then return answer("forgotten", blob, path) end
if again == 1 and not (b[1] == "reserved" and holds(blob, token)) then return answer("lost", blob, path) end

local twin_blob, twin_b = same_content(root, sha, size, argument(is_id, ARGV[11], true))
local more, revived = size - number(b[3]), twin_b and twin_b.state == "doomed"
local refs = b[1] and 0 or 1
local over = over_quota(line, { refs = refs, bytes = more, new_refs = refs, new_bytes = (not twin_blob or revived) and more or 0 })
if over then return answer(over, blob, path) end
if twin_blob then
  join(id, twin_blob, twin_b, line, life, { unpack(ARGV, 19) })
  return answer("joined", twin_blob, twin_b.path, 0, (select(2, place_of(twin_blob))))
end
if b[1] then
  if b[2] and b[2] ~= path then redis.call("HDEL", P .. "path:" .. root, b[2]) end
  reserved(0, more, scope)
else
  reserved(1, size, scope)
  redis.call("HSET", P .. "blob:" .. blob, "state", "reserved", "refs", 0, "ever", 0, "root", root, "custody", "owned", "draft", 1, "scope", scope, stamp())
  if sidecar == 1 then redis.call("HSET", P .. "blob:" .. blob, "meta", id) end
end
redis.call("HSET", P .. "path:" .. root, path, blob)
redis.call("HSET", P .. "blob:" .. blob, "path", path, "size", str(size), "identity", "owned:" .. str(size))
local deadline = hold(blob, token, hold_ms, longest, ARGV[16])
redis.call("HSET", P .. "blob:" .. blob, "leased", str(deadline))
redis.call("ZADD", P .. "trash:" .. root, str(deadline), blob)
return answer("reserved", blob, path, deadline)
