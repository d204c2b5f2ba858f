-- transfer: move a live ref to another scope; it keeps its id, its bytes and its deadline.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the ref
-- ARGV[5] scope   text  where to, percent-encoded; "" means the parent of the scope it is in
--
-- Returns {verdict = "done" | "dead" | "top", scope}. "top": there is no parent.
-- It gets a new seq: releases of the new scope before this moment do not concern it, later ones do.
-- Twice with one op: the same answer. Cost: O(depth of both scopes).

local id, scope = argument(is_id, ARGV[4]), argument(is_scope, ARGV[5], true)
enter_kinds()
quota_kinds()
local ref = live(id)
if not ref then return finish({ verdict = "dead", scope = "" }) end
local noted = has_sidecar(ref)
if scope == "" then
  scope = string.match(ref.scope, "^(.*)/[^/]*$")
  if not scope then return finish({ verdict = "top", scope = ref.scope }) end
end
lineage_to_change(ref.scope)
local line = lineage_to_change(scope)
local size = ref.scope ~= scope and tonumber(ref.size) or 0
local over = ref.scope ~= scope and over_quota(line, { refs = 1, bytes = size })
if over then return finish({ verdict = over, scope = scope }) end

local seq = next_seq()
if num(ref.expires_at) and num(ref.expires_at) <= now and keeping().below > 0 then
  redis.call("HSET", P .. "ref:" .. id, "expires_at", str(keeping().till))
  redis.call("ZADD", P .. "expiry", str(keeping().till), id)
end
note_activity(lineage(ref.scope))
redis.call("HSET", P .. "ref:" .. id, "scope", scope, "seq", str(seq))
redis.call("HDEL", P .. "ref:" .. id, "idle")
if ref.scope ~= scope then redis.call("ZREM", P .. "scope:" .. ref.scope, id) end
enter_ref(id, line, seq)
use(ref.scope, -size)
use(scope, size)
if ref.scope ~= scope then prune(ref.scope) end
if noted then note_sidecar(ref.root, id, ref.blob) end
return finish({ verdict = "done", scope = scope })
