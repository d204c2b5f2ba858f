-- note: say that something was read in a scope, so that its idle deadline, or an ancestor's, moves.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] scope   text  percent-encoded
--
-- Returns {idle = ms or ""}: the shortest idle time above, "" where there is none.
-- Twice with one op: the same answer. Cost: O(depth of the scope).

expect("hash", "lifetimes")
expect("zset", "deadlines")
local idle = note_activity(lineage(ARGV[4]))
return finish({ idle = idle and str(idle) or "" })
