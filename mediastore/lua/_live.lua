-- _live: put after _facts and _marks, in the scripts that act on a live ref and refuse a dead one.

-- Returns the ref's fields, or nil when it is dead: ended, expired, or under a mark.
local function live(id)
  local ref = fields_of(redis.call("HGETALL", P .. "ref:" .. id))
  local due = tonumber(ref.expires_at or "")
  if not ref.scope or (due and due <= now) or first_cut(marks_above(ref.scope), tonumber(ref.seq)) then return nil, ref end
  return ref
end
