-- extend: move the deadline of a live ref, exempt it from having one, or end that exemption.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the ref
-- ARGV[5] verb    text  "touch", "pin" or "unpin"
-- ARGV[6] ttl     ms    touch: the lifetime from now; "" the same length again, "never" no end
--
-- Returns {verdict = "done" | "dead", expires_at = ms or ""}.
-- A pinned ref keeps its length for the day it is unpinned. With a ttl that is said it leaves its policy. Twice with one op: the same answer. Cost: O(log expiry).

local id, verb, wanted = argument(is_id, ARGV[4]), ARGV[5], ARGV[6]
local given = wanted ~= "" and wanted ~= "never" and int(wanted, 1, 9e15)
enter_kinds()
local ref = live(id)
if not ref then return finish({ verdict = "dead", expires_at = "" }) end
local policy = is_named(ref.policy) and ref.policy
if policy then expect_policy(policy) end
local noted = has_sidecar(ref)

local key = P .. "ref:" .. id
local length = tonumber(ref.ttl or "") or ref.expires_at and tonumber(ref.expires_at) - tonumber(ref.stored_at)
if given then length = given end
if wanted == "never" then length = nil end
if policy and wanted ~= "" then
  redis.call("HDEL", key, "policy")
  redis.call("ZREM", P .. "under:" .. policy, id)
elseif policy then
  -- The new length of a policy that is changing just now counts from here on, and the change passes it by.
  local life = newest(id, policy)
  if life then length = life.ms end
end
local pinned = verb == "pin" or (verb == "touch" and ref.pinned)

-- Without a deadline nothing tells the length any more, and after a new one not the difference to `stored_at`.
if length then redis.call("HSET", key, "ttl", str(length)) else redis.call("HDEL", key, "ttl") end
if pinned then redis.call("HSET", key, "pinned", 1) else redis.call("HDEL", key, "pinned") end
if length and not pinned then
  set_expiry(id, length)
else
  redis.call("HDEL", key, "expires_at")
  redis.call("ZREM", P .. "expiry", id)
end
note_activity(lineage(ref.scope))
if noted then note_sidecar(ref.root, id, ref.blob) end
return finish({ verdict = "done", expires_at = length and not pinned and str(now + length) or "" })
