-- withdraw: take back a ref whose file was deleted, as an earlier registration's, while it was being stored.
--
-- KEYS[1] prefix  "mediastore:{bots}:"
-- ARGV[4] ref     id    the ref that the caller has just made and told nobody
-- ARGV[5] terms   text  "tombstone_ms most_tombstones grace_ms who"
--
-- Returns {refused, kept, doomed = {{root, blob}, ...}}; the id is burnt and counts as never stored.
-- Twice with one op: the same answer. Cost: O(depth of the scope).

agree(ARGV[5])
plan_common()
plan(argument(is_id, ARGV[4]))
ending.cause = "refused"
bury()
return finish(tally)
