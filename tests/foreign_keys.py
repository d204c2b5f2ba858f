"""The keys that each step looks at, in the index of `foreign_steps`."""

from __future__ import annotations

_CONTENT = "blob:b45 clock closed deadlines lifetimes meta:told op:op ref:r46 scopes seq"
_REVIVE = "frozen bound quotas usage writing closed children:s clock deadlines dedup:told expiry lifetimes lost meta:told op:op path:told scope:s/x scopes seq stats"

#: The keys that each step looks at. Those that are missing here and not in the index are planted.
_ENTERED = "clock children:own scope:own/x expiry scopes seq lifetimes deadlines"
#: What a quota is asked for, and what counts against it.
_QUOTA = "quotas usage writing stats closed"
_WRITTEN = f"frozen bound {_ENTERED} lost {_QUOTA} path:own dedup:own trash:own"
_NEW = f"{_WRITTEN} op:op ref:rnew gone:rnew blob:bnew lease:bnew holders:bnew"
_DRAFT = f"{_WRITTEN} ref:r42 gone:r42 blob:b42 lease:b42 holders:b42"
#: What the breaker asks before anything ends by itself.
_JUDGED = (
    "breaker changing under:short scope:kept/y children:kept/y scope:closed children:closed scope:closed/x children:closed/x"
    " stuck clock closed cuts deadlines expiry stats lifetimes scopes seq op:op frozen bound noted born server"
)
LOOKS_AT = {
    "reserve": _NEW,
    "reserve and join": f"{_NEW} blob:b41 left:own/x",
    "reserve again": f"{_DRAFT} op:op",
    "reserve again and join": f"{_DRAFT} op:op blob:b41 left:own/x",
    "commit": _DRAFT,
    "commit and join": f"{_DRAFT} blob:b41 left:own/x",
    "abandon": "clock stats usage writing trash:own blob:b42 lease:b42 holders:b42 frozen bound",
    "claim content": "stuck clock usage writing lost older:own path:own dedup:own stats trash:own claim:t op:op"
    " blob:b43 lease:b43 holders:b43 blob:b44 frozen bound noted born server",
    "forget content": "clock usage writing lost older:own path:own dedup:own roots stats stuck trash:own op:op"
    " blob:b41 left:own/x blob:b42 lease:b42 holders:b42 blob:b43 lease:b43 holders:b43 blob:b44 frozen bound",
    "open": "born frozen clock format roots lost",
    "store": f"{_QUOTA} lost blob:b7 children:s clock expiry left:cut borrowed:root older:root path:root"
    " scope:s/x scopes seq stats trash:root ref:new gone:new deadlines lifetimes policies changing under:short",
    "withdraw": "stuck stuck usage lost blob:b1 children:s clock closed expiry borrowed:root older:root path:root ref:r1"
    " scope:s/x scopes seq stats trash:root op:op cuts deadlines graves left:s/x lifetimes frozen bound",
    "release": "stuck stuck usage lost blob:b2 clock closed expiry borrowed:root older:root path:root ref:r2 scope:small"
    " scopes seq stats trash:root children:small left:small op:op cuts deadlines graves"
    " lifetimes frozen bound",
    "drain": "stuck stuck usage lost blob:b4 blob:b5 children:closed clock closed expiry borrowed:root older:root"
    " path:root ref:r4 ref:r5 scope:closed scope:closed/x scopes seq stats trash:root"
    " children:closed/x left:closed op:op cuts deadlines graves left:closed/x lifetimes frozen bound breaker",
    "expire": "stuck stuck usage lost blob:b3 children:due clock closed expiry borrowed:root older:root path:root ref:r3"
    " scope:due/x scopes seq stats trash:root op:op cuts deadlines graves left:due/x lifetimes frozen bound noted born server breaker changing",
    "claim": "stuck stuck usage writing lost blob:b7 blob:b9 claim:t9 clock dedup:root older:root path:root stats trash:root claim:t op:op frozen bound noted born server",
    "acknowledge": "blob:b8 claim:t8 clock left:cut path:root spared stats stuck trash:root op:op",
    "refuse": "clock ref:new gone:new",
    "forget": "usage writing blob:b6 blob:b7 blob:b8 blob:b9 claim:t6 claim:t8 claim:t9 clock dedup:root left:cut lost meta:root older:root path:root"
    " roots stats stuck trash:root op:op blob:b13 blob:b14 holders:b13 lease:b13 left:kept/x frozen bound",
    "adopt": "clock epochs lost older:root roots seq op:op noted",
    "rebind": "blob:b1 clock roots op:op",
    "roots": "clock lost roots stats trash:root trash:last trash:gone trash:own trash:told",
    "identity_of": "path:root blob:b1",
    "hidden": "clock op:op stats",
    "paths": "path:root",
    "placed": "blob:b1",
    "list": "blob:b1 clock closed ref:r1 scope:s/x",
    "stats": "clock closed frozen roots scopes stats stuck trash:root trash:own trash:told",
    "lookup": "closed ref:r1",
    "look up what is overdue": "closed ref:r1 frozen bound",
    "clock": "clock op:op frozen",
    "epoch": "clock op:op frozen bound noted epochs born server",
    "accept_epoch": "clock op:op frozen noted roots bound seq",
    "farewell": "gone:r1",
    "blob_state": "blob:b1 trash:root",
    "due": "changing closed expiry meta:root trash:root deadlines frozen",
    "due and forgotten": "changing closed expiry lost meta:root roots stats trash:root deadlines frozen",
    "roots_of": "blob:b1 bound",
    "place_of": "roots lost",
    "scope_names": "scopes",
    "children": "children:s",
    "seen": "seen",
    "last_seen": "seen",
    "delete": "stuck stuck usage blob:b15 borrowed:root children:kept clock closed cuts deadlines expiry graves"
    " holders:b15 lease:b15 left:kept/x lifetimes lost older:root op:op path:root ref:r15"
    " scope:kept/x scopes seq stats trash:root under:long frozen bound",
    "extend": "changing clock closed deadlines expiry lifetimes op:op policies ref:r15 scopes seq under:long",
    "transfer": f"{_QUOTA} children:kept children:s clock closed deadlines expiry lifetimes op:op ref:r15"
    " scope:kept/x scope:s/x scopes seq",
    "share": f"{_QUOTA} blob:b15 changing children:s clock closed deadlines expiry lifetimes op:op policies ref:new ref:r15"
    " scope:s/x scopes seq stats under:short",
    "restore": f"{_QUOTA} changing policies under:short blob:b13 borrowed:root children:s clock deadlines expiry gone:r13 left:kept/x lifetimes"
    " lost older:root op:op path:root ref:new ref:r13 scope:s/x scopes seq stats trash:root",
    "lease": "stats trash:root blob:b15 clock closed deadlines holders:b15 lease:b15 lifetimes op:op ref:r15",
    "renew": "stats op:op blob:b13 clock holders:b13 lease:b13 trash:root",
    "end_lease": "stats blob:b13 clock holders:b13 lease:b13 op:op trash:root",
    "accept": "stats blob:b13 clock gone:r13 holders:b13 lease:b13 op:op ref:r13 trash:root",
    "limit": "children:kept/x children:kept clock closed deadlines expiry lifetimes op:op scope:kept/x scopes seq",
    "expire warily": f"{_JUDGED} graves lost usage",
    "lapse warily": _JUDGED,
    "breaker": "frozen breaker expiry deadlines stats",
    "allow_breaker": "clock op:op frozen breaker",
    "lapse": "stuck stuck children:kept children:kept/y clock closed cuts deadlines lifetimes op:op scope:kept/y"
    " scopes seq frozen bound noted born server breaker changing expiry stats",
    "idle": "op:op clock lifetimes deadlines scope:kept/x ref:r15",
    "note": "op:op clock deadlines lifetimes",
    "leases": "holders:b13 lease:b13",
    "remains": "blob:b13",
    "scope_deadlines": "closed lifetimes",
    "left_page": "left:kept/x",
    "waiting": "blob:b13 holders:b13 lease:b13",
    "root_of": "blob:b1",
    "set_policy": "changing clock op:op policies seq under:short",
    "remove_policy": "changing clock op:op policies seq under:short",
    "move_policy": "changing clock closed expiry op:op policies ref:r16 ref:r17 under:short breaker",
    "apply_policy": "changing clock closed deadlines expiry lifetimes op:op policies ref:r15 scopes seq"
    " under:long under:short",
    "policies": "changing policies",
    "counts": "under:short",
    "set_quota": "clock closed op:op quotas scope:s/x stats usage writing",
    "quota": "quotas scope:s/x stats usage writing",
    "journal": "meta:told",
    "told": "blob:b45 closed meta:told ref:r46",
    "inscribed": "clock meta:told op:op",
    "revive": f"{_REVIVE} blob:b45 gone:r47 holders:b45 lease:b45 ref:r47 trash:told",
    "revive a blob": f"{_REVIVE} blob:newb gone:new holders:newb lease:newb ref:new",
    "extend content": f"{_CONTENT} expiry",
    "transfer content": f"{_CONTENT} {_QUOTA} children:s children:told expiry scope:s/x scope:told/y",
    "share content": f"{_CONTENT} {_QUOTA} children:s expiry ref:new scope:s/x stats",
    "delete content": f"stuck stuck {_CONTENT} lost usage borrowed:told children:told cuts expiry graves left:told/y older:told path:told"
    " scope:told/y stats trash:told frozen bound",
    "apply_policy to content": f"{_CONTENT} changing expiry policies under:short",
}
