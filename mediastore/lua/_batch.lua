-- _batch: put after the prelude of the scripts that change many members of few keys.
-- One variadic command a key at the end: a call for each member would hold the server.

local batches = {}

local function later(command, key, ...)
  local name = command .. " " .. key
  local batch = batches[name] or { command, key }
  batches[name] = batch
  for _, word in ipairs({ ... }) do batch[#batch + 1] = word end
end

local function send_batches()
  for _, batch in pairs(batches) do redis.call(unpack(batch)) end
end
