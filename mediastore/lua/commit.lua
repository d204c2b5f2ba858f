-- commit: make the ref of content that was written and has its name, unless the reservation has ended meanwhile.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the ref to make
-- ARGV[5] blob    id    the reserved blob
-- ARGV[6] scope   text  percent-encoded
-- ARGV[7] token   id    the writer's lease
-- ARGV[8] size    int   bytes that were written
-- ARGV[9] sha     text  SHA-256 of them; "" where blobs are not to be shared
-- ARGV[10] alone  id    a blob that is not to be joined, because its file is gone; "" for none
-- ARGV[11] at     ms    when it was stored, as its sidecar says: not in the future, nor more than a minute ago
-- ARGV[12] stamp  text  what tells later whether somebody has written to the file, "<mtime_ns>:<ctime_ns>"; "" where nothing does
-- ARGV[13] life   text  lifetime of the ref from then on: ms, "" = never, "@name" = by that policy (see _policy)
-- ARGV[14..]      text  metadata: name, value, name, value, ...
--
-- Returns {verdict = "new" | "joined" | "lost" | "forgotten" | "policy", blob, path, stamp}. "joined": another blob has
-- the same content, and the stamp is its own; the caller's is in the trash and due. "policy": nobody knows it any more. "quota:...": what it exceeds (see
-- _quota). Twice with one ref id: nothing more is written. Cost: O(depth of the scope).

local id, blob, scope, token = argument(is_id, ARGV[4]), argument(is_id, ARGV[5]), argument(is_scope, ARGV[6]), argument(is_id, ARGV[7])
local size, sha = int(ARGV[8], 0, 9e15), ARGV[9]
local at, life = math.max(math.min(int(ARGV[11], 0, 9e15), now), now - 60000), lifetime(ARGV[13])
local twin, alone = earlier(id, blob), argument(is_id, ARGV[10], true)
local stamp = argument(is_stamp, ARGV[12], true)
local function answer(verdict, of, path, its) return finish({ verdict = verdict, blob = of, path = path, stamp = its or "" }) end
if twin then
  local path, its = place_of(twin.blob)
  return answer(twin.verdict, twin.blob, path, twin.verdict == "joined" and its or "")
end

local b = blob_of(blob)
if not b or b.state ~= "reserved" then return answer("lost", blob, "") end
local line = lineage_to_change(scope)
enter_kinds()
own_kinds(b.root, blob)
if redis.call("HEXISTS", P .. "lost", b.root) == 1 then return answer("forgotten", blob, b.path) end
if not life then return answer("policy", blob, b.path) end
if b.meta then sidecar_kinds(b.root) end

local meta = { unpack(ARGV, 14) }
local other, its = same_content(b.root, sha, size, alone)
local more = size - tonumber(b.size)
local over = over_quota(line, { bytes = more, new_bytes = more })
if over then return answer(over, blob, b.path) end
if other then
  join(id, other, its, line, life, meta)
  give_up(b.root, blob)
  return answer("joined", other, place_of(other))
end
unreserve(blob)
b.size, b.identity = str(size), "owned:" .. str(size)
redis.call("HSET", P .. "blob:" .. blob, "state", "live", "refs", 1, "size", b.size, "identity", b.identity)
redis.call("HDEL", P .. "blob:" .. blob, "draft")
if stamp ~= "" then redis.call("HSET", P .. "blob:" .. blob, "stamp", stamp) end
if b.meta then redis.call("HSET", P .. "blob:" .. blob, "meta", id) end
if sha ~= "" then
  redis.call("HSET", P .. "blob:" .. blob, "sha", sha)
  redis.call("HSET", P .. "dedup:" .. b.root, sha, blob)
end
redis.call("ZREM", P .. "trash:" .. b.root, blob)
counted_again(b)
make_ref(id, blob, b, line, life, meta, at)
-- What its sidecar says of its lifetime may be wrong by now.
if b.meta and (life.follows or math.abs(at - tonumber(ARGV[11])) > 1000) then note_sidecar(b.root, id, blob) end
return answer("new", blob, b.path)
