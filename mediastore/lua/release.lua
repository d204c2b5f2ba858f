-- release: end every ref of a scope and of the scopes below it, in one step whatever their number.
--
-- KEYS[1] prefix   "mediastore:{bots}:"
-- ARGV[4] scope    text  percent-encoded, as key names spell it
-- ARGV[5] limit    int   most refs to end here; a larger scope, or a tree, is closed instead
-- ARGV[6] terms    text  "tombstone_ms most_tombstones grace_ms who"
--
-- Returns {released, expired, kept, doomed = {{root, blob}, ...}, closed = mark or "", others = 0 or 1}.
-- `others`: files that an earlier release of the scope ended are not gone yet.
-- Twice with one op: the same answer; a new call raises the mark, and drains do the rest.
-- Cost: O(1) when closing, O(limit) inline.

local scope, limit = argument(is_scope, ARGV[4]), int(ARGV[5], 1, 64)
agree(ARGV[6])
plan_scope(scope)
expect("zset", "children:" .. scope)
plan_common()
local size = redis.call("ZCARD", P .. "scope:" .. scope)
local parent_of_some = redis.call("EXISTS", P .. "children:" .. scope) == 1
tally.closed, tally.others = "", redis.call("EXISTS", P .. "left:" .. scope)

if size > limit or parent_of_some then
  tally.closed = close(scope, "released", terms.who)
  keep_time()
  return finish(tally)
end

ending.scope = scope
for _, id in ipairs(redis.call("ZRANGE", P .. "scope:" .. scope, 0, -1)) do plan(id, scope, scope) end
bury()
reopen(scope)
return finish(tally)
