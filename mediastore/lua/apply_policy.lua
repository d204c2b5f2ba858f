-- apply_policy: let a live ref live by a policy from now on, counted from when it was stored; or by none, with the deadline it has.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the ref
-- ARGV[5] life    text  "@name", or "@name:ms" where the index may say nothing of the policy; "" takes it out of its policy
--
-- Returns {verdict = "done" | "dead" | "policy", expires_at = ms or ""}. "policy": nobody knows it.
-- A pinned ref keeps its pin, and the length for the day it is unpinned. Twice with one op: the same answer. Cost: O(log refs).

local id, life = argument(is_id, ARGV[4]), ARGV[5] ~= "" and lifetime(ARGV[5])
enter_kinds()
local ref = live(id)
if not ref then return finish({ verdict = "dead", expires_at = "" }) end
if ARGV[5] ~= "" and not life then return finish({ verdict = "policy", expires_at = "" }) end
local noted = has_sidecar(ref)

local key, due = P .. "ref:" .. id, ref.expires_at
-- The first write: a key of a foreign type stops it here.
if is_named(ref.policy) then redis.call("ZREM", P .. "under:" .. ref.policy, id) end
redis.call("HDEL", key, "policy")
if life then
  due = give_lifetime(id, ref, life.ms)
  if life.policy then redis.call("HSET", key, "policy", life.policy) end
  follow(life, id, next_seq())
end
note_activity(lineage(ref.scope))
if noted then note_sidecar(ref.root, id, ref.blob) end
return finish({ verdict = "done", expires_at = due and str(tonumber(due)) or "" })
