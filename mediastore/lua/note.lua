-- note: say that something was read in a scope, so that its idle deadline, or an ancestor's, moves.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] scope   text  percent-encoded
--
-- Returns {again = ms or ""}: for how long nothing more need be said; "" where nothing above idles.
-- Twice with one op: the same answer. Cost: O(depth of the scope).

expect("hash", "lifetimes")
expect("zset", "deadlines")
local _, again = note_activity(lineage(ARGV[4]))
return finish({ again = again and str(again) or "" })
