"""Arguments that each script takes, and the values that its numbers must not have."""

from __future__ import annotations

ID, BLOB, HELD = "r" * 22, "b" * 22, ("root", "a.jpg", 1, "link:1", "1:1:1", "adopted")
#: Arguments that would change something, and for each number the values it must not have.
LIVE, DEAD = "l" * 22, "d" * 22
DRAFT, SHA = "w" * 22, "5" * 64
RESERVED = ("s", "root", "new.jpg", 1, SHA, "", 0, "token1", 1000, 1000, "me", 1)
TOLD = '["lost", "b", "s", "scopes/s/x", 1, "", 1, "", "", 0, 1, []]'
GOOD = {
    "reserve": (ID, BLOB, *RESERVED, ""),
    "commit": (ID, DRAFT, "s", "token0", 1, SHA, "", 1, ""),
    "abandon": (DRAFT,),
    "delete": (LIVE, "1000 10 0 me"),
    "extend": (LIVE, "touch", 1000),
    "transfer": (LIVE, "t"),
    "share": (LIVE, ID, "t", ""),
    "restore": (DEAD, ID, "t", ""),
    "lease": (LIVE, "token1", 1000, 1000, "me"),
    "renew": (1, "leased", "token0", 1000),
    "end_lease": (1, "leased", "token0"),
    "accept": (LIVE, "leased", "token0", "token1", 1000, 1000, "me"),
    "limit": ("idling", 1000, ""),
    "lapse": (64,),
    "idle": ("idling", 0, 64),
    "withdraw": (LIVE, "1000 10 0 me"),
    "note": ("idling",),
    "store": (ID, BLOB, "s", *HELD, ""),
    "release": ("s", 64, "1000 10 0 me"),
    "drain": ("closed", 64, "1000 10 0 me"),
    "expire": (64, "1000 10 0 me"),
    "claim": ("root", "token", 64, 1000),
    "acknowledge": ("root", "token0", 1, "blob", 1, ""),
    "forget": ("root", 64, 0),
    "adopt": ("root", "host:/media", 0),
    "rebind": ("root", "host:/old", "whole", "link:1", "link:2"),
    "list": ("s", 0, 64),
    "inscribed": ("root", 1, "r b", 5),
    "revive": ("root", 0, "", 1000, "me", TOLD),
    "set_quota": ("s", 1, 2, 3, 4),
    "set_policy": ("short", 2000),
    "remove_policy": ("short", 1),
    "move_policy": ("short", 64),
    "apply_policy": (LIVE, "@other:1000"),
}
LIMIT, SIZE, SPAN = (
    (0, 65, "x", "", "1.5", "-1"),
    (-1, "x", "", "0.5", "1e16"),
    (0, -1, "x", "1e16"),
)
TERMS = ("", "x", "0 10 0 me", "1000 -1 0 me", "1000 10 0.5 me", "1000 10 0")
#: Lifetimes, and a policy that nobody knows.
LIFE = (*SPAN, "@other:0", "@other:x")
TTL = (0, -1, "x", "", "0.5", "1e16")
FLAG = (-1, 2, "x", "", "0.5")
QUOTA = (-1, "x", "0.5", "1e16")
BOUNDS = {
    ("inscribed", 5): LIMIT,
    ("revive", 5): FLAG,
    ("revive", 7): TTL,
    ("set_quota", 5): QUOTA,
    ("set_quota", 6): QUOTA,
    ("set_quota", 7): QUOTA,
    ("set_quota", 8): QUOTA,
    ("reserve", 9): SIZE,
    ("reserve", 12): FLAG,
    ("reserve", 14): TTL,
    ("reserve", 15): TTL,
    ("reserve", 17): FLAG,
    ("reserve", 18): SPAN,
    ("commit", 8): SIZE,
    ("commit", 11): SIZE,
    ("commit", 12): SPAN,
    ("delete", 5): TERMS,
    ("extend", 6): SPAN,
    ("share", 7): LIFE,
    ("restore", 7): LIFE,
    ("set_policy", 5): TTL,
    ("remove_policy", 5): (-1, 2, "x", "", "0.5"),
    ("move_policy", 5): LIMIT,
    ("apply_policy", 5): LIFE,
    ("lease", 6): TTL,
    ("lease", 7): TTL,
    ("renew", 4): LIMIT,
    ("renew", 7): TTL,
    ("end_lease", 4): LIMIT,
    ("accept", 8): TTL,
    ("accept", 9): TTL,
    ("limit", 5): SPAN,
    ("limit", 6): SPAN,
    ("lapse", 4): LIMIT,
    ("idle", 5): SIZE,
    ("withdraw", 5): TERMS,
    ("idle", 6): LIMIT,
    ("store", 9): SIZE,
    ("store", 13): LIFE,
    ("release", 5): LIMIT,
    ("release", 6): TERMS,
    ("drain", 5): LIMIT,
    ("drain", 6): TERMS,
    ("expire", 4): LIMIT,
    ("expire", 5): TERMS,
    ("claim", 6): LIMIT,
    ("claim", 7): (0, 60001, "x", "0.5"),
    ("acknowledge", 6): (-1, 65, "x"),
    ("acknowledge", 8): SIZE,
    ("forget", 5): LIMIT,
    ("adopt", 6): FLAG,
    ("forget", 6): FLAG,
    ("list", 5): SIZE,
    ("list", 6): LIMIT,
}
