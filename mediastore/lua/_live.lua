-- _live: put after _facts and _marks, in the scripts that act on a live ref and refuse a dead one.

-- Returns the ref's fields, or nil when it is dead: ended, expired, or under a mark. One that cannot be true stops the script.
local function live(id)
  local ref = fields_of(redis.call("HGETALL", P .. "ref:" .. id))
  if next(ref) == nil then return nil, ref end
  local wrong = wrong_in_ref(ref)
  if wrong then corrupt("ref:" .. id, wrong) end
  if overdue(num(ref.expires_at), num(ref.seq)) or first_cut(marks_above(ref.scope), num(ref.seq)) then return nil, ref end
  return ref
end
