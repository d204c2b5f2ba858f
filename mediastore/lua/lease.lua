-- lease: keep the bytes of a live ref until a deadline, whatever becomes of the ref.
--
-- KEYS[1] prefix   "mediastore:{bots}:"
-- ARGV[4] ref      id    the live ref
-- ARGV[5] token    id    the lease
-- ARGV[6] ttl      ms    until the deadline
-- ARGV[7] longest  ms    until the latest deadline that renewals can reach
-- ARGV[8] who      text  the holder, as people will read it
--
-- Returns {verdict = "done" | "dead", deadline, blob, facts = {root, path, identity, custody}}.
-- Twice with one op: the same answer. Cost: O(log leases of the blob).

local id, token, ttl, longest = argument(is_id, ARGV[4]), argument(is_id, ARGV[5]), int(ARGV[6], 1, 9e15), int(ARGV[7], 1, 9e15)
expect("hash", "lifetimes")
expect("zset", "deadlines")
local ref = live(id)
if ref then lease_kinds(ref.blob) end
local b = ref and place_of(ref.blob)
if not b then return finish({ verdict = "dead" }) end

local deadline = hold(ref.blob, token, ttl, longest, ARGV[8])
settle_leases(ref.blob)
note_activity(lineage(ref.scope))
return finish({ verdict = "done", deadline = str(deadline), blob = ref.blob, facts = b })
