-- _plain: put after the prelude of every script. What the index says, or a caller, is held to its form before it is used.

local function is_id(text) return text and #text <= 128 and string.find(text, "^[%w_-]+$") ~= nil end

-- Milliseconds that are a date, the last of which is in the year 9999, or the length of something.
local function is_ms(text) return (num(text) or 9e15) < 253402300800000 end

local function is_utf8(text)
  if not string.find(text, "[\128-\255]") then return true end
  if string.find(text, "\224[\128-\159]") or string.find(text, "\237[\160-\191]") then return false end
  if string.find(text, "\240[\128-\143]") or string.find(text, "\244[\144-\191]") then return false end
  for _, form in ipairs({ "[\194-\223][\128-\191]", "[\224-\239][\128-\191][\128-\191]", "[\240-\244][\128-\191][\128-\191][\128-\191]" }) do
    text = string.gsub(text, form, ".")
  end
  return not string.find(text, "[\128-\255]")
end

-- No name is "", "." or "..": it leads below the place where it begins, and nowhere else.
local function leads_down(text)
  local whole = "/" .. text .. "/"
  return not string.find(whole, "//", 1, true) and not string.find(whole, "/%.%.?/")
end

-- Relative to a root, and not in our own bookkeeping. Most are told by their letters alone.
local function is_path(text)
  if text and string.find(text, "^[%w_-][%w_. -]*$") then return true end
  return text and leads_down(text) and not string.find(text, "%z") and not string.find(text .. "/", "^%.mediastore/") and is_utf8(text)
end

-- As key names spell it.
local function is_scope(text)
  if text and #text <= 1536 and string.find(text, "^[%w_:-]+$") then return true end
  return text and #text <= 1536 and leads_down(text) and not string.find(text, "[^%w_.~:@!$&'()+,;=%%/-]")
end

local function is_identity(text)
  return text and (string.find(text, "^%l+:[%d:-]+$") or text == "owned:lost") and #text <= 128
end

local function is_custody(text) return text == "owned" or text == "adopted" or text == "borrowed" end

-- Wrong in an argument: somebody calls the script who is none of our clients. `optional`: it may be "".
local function argument(is, text, optional)
  if not is(text) and not (optional and text == "") then error("BADARG " .. (is == is_path and "path " or "") .. string.format("%q", string.sub(text or "", 1, 80))) end
  return text
end

-- Wrong in the index: whoever calls hears which key it is, before anything is written.
local function corrupt(name, what) error("CORRUPT " .. P .. name .. " cannot be true: " .. what) end

-- Read a record of which one that is foreign must not keep others waiting. Returns the reply; {} and true if its key is of another type.
local function record(command, name, ...)
  local reply = redis.pcall(command, P .. name, ...)
  if not reply.err then return reply, false end
  if not string.find(tostring(reply.err), "WRONGTYPE", 1, true) then error(tostring(reply.err)) end
  return {}, true
end

-- Whether the fields of a ref are such as a script has written. Returns the name of one that is not.
local function wrong_in_ref(r)
  local wrong = not is_scope(r.scope) and "scope" or not num(r.seq) and "seq" or not is_id(r.blob) and "blob" or not is_id(r.root) and "root"
    or not is_path(r.path) and "path" or not num(r.size) and "size" or not is_identity(r.identity) and "identity" or not is_ms(r.stored_at) and "stored_at"
  if wrong then return wrong end
  return r.expires_at and not is_ms(r.expires_at) and "expires_at" or r.ttl and not is_ms(r.ttl) and "ttl" or r.idle and not is_ms(r.idle) and "idle" or nil
end

-- The same of a blob.
local function wrong_in_blob(b)
  return not num(b.refs) and "refs" or not is_id(b.root) and "root" or not is_path(b.path) and "path" or not num(b.size) and "size"
    or not is_identity(b.identity) and "identity" or not is_custody(b.custody) and "custody"
    or (b.custody == "owned") ~= (string.sub(b.identity, 1, 6) == "owned:") and "custody" or nil
end
