-- accept: swap a lease that was handed over for one of the receiver's own; it works once.
--
-- KEYS[1] prefix   "mediastore:{bots}:"
-- ARGV[4] ref      id    the ref it was taken through; it may be dead by now
-- ARGV[5] blob     id    the blob
-- ARGV[6] handed   id    the lease in the message
-- ARGV[7] token    id    the receiver's lease
-- ARGV[8] ttl      ms    until its deadline
-- ARGV[9] longest  ms    until the latest deadline that renewals can reach
-- ARGV[10] who     text  the receiver, as people will read it
--
-- Returns {verdict = "done" | "lost", deadline, facts = {root, path, identity, custody}, meta = {name, value, ...}}.
-- Twice with one op: the same answer. Cost: O(log leases of the blob).

local id, blob = argument(is_id, ARGV[4]), argument(is_id, ARGV[5])
local handed, token = argument(is_id, ARGV[6]), argument(is_id, ARGV[7])
local ttl, longest = int(ARGV[8], 1, 9e15), int(ARGV[9], 1, 9e15)
lease_kinds(blob)
if not holds(blob, handed) then
  -- Told once, it stays lost: also when the clock steps back.
  let_go(blob, handed)
  return finish({ verdict = "lost" })
end

local facts = place_of(blob) or corrupt("blob:" .. blob, "its place")
local meta = redis.call("HGETALL", P .. "ref:" .. id)
if #meta == 0 then
  local told = string.match(redis.call("GET", P .. "gone:" .. id) or "", "^%l+ %d+ %S+ %S+ %S+ %S+ (.+)$")
  meta = told and facts_in(id, told) or meta
end
let_go(blob, handed)
local deadline = hold(blob, token, ttl, longest, ARGV[10])
settle_leases(blob)
return finish({ verdict = "done", deadline = str(deadline), facts = facts, meta = meta })
