-- delete: end one live ref by hand.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the ref to end
-- ARGV[5] terms   text  "tombstone_ms most_tombstones grace_ms who"
--
-- Returns {verdict = "ended" | "dead", deleted, kept, doomed = {{root, blob}, ...}}.
-- Twice with one op: the same answer. Cost: O(depth of the scope).

local id = argument(is_id, ARGV[4])
agree(ARGV[5])
plan_common()
tally.verdict = live(id) and "ended" or "dead"
if tally.verdict == "dead" then return finish(tally) end
plan(id)
ending.cause = "deleted"
bury()
return finish(tally)
