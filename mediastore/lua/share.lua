-- share: make one more ref of a live ref's bytes, in another scope, with a copy of its metadata.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the live ref
-- ARGV[5] new     id    the ref to make
-- ARGV[6] scope   text  percent-encoded
-- ARGV[7] life    text  its lifetime: ms, "" = never, "@name" = by that policy (see _policy)
--
-- Returns {verdict = "done" | "dead" | "policy" | "quota:..."}. "policy": nobody knows the one that it is to live by.
-- Twice with one op: the same answer. Cost: O(depth of the scope).

local id, new, scope = argument(is_id, ARGV[4]), argument(is_id, ARGV[5]), argument(is_scope, ARGV[6])
local life = lifetime(ARGV[7])
local line = lineage_to_change(scope)
enter_kinds()
quota_kinds()
expect("hash", "ref:" .. new)
local ref = live(id)
local b = ref and blob_of(ref.blob)
if not b then return finish({ verdict = "dead" }) end
local refused = not life and "policy" or over_quota(line, { refs = 1, bytes = tonumber(b.size), new_refs = 1 })
if refused then return finish({ verdict = refused }) end
if b.meta then sidecar_kinds(b.root) end

redis.call("HSET", P .. "blob:" .. ref.blob, "refs", b.refs + 1)
copy_ref(new, ref, ref.blob, b, line, life)
note_activity(lineage(ref.scope))
return finish({ verdict = "done" })
