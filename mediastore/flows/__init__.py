"""Every operation once, as a generator of steps; the only place where order is decided.

Rules that keep them safe:
1. No I/O, no clock, no randomness: ids come from `new_id`, time from steps.
2. Never `yield` inside `finally`: a cancelled or killed call just stops, and the sweep is the one recovery path.
3. Journal first, bytes second, acknowledge last.
4. One answer type per step; bytes never travel through a flow.

`storing` registers and resolves, `ending` releases, expires and deletes, `listing` reads.
"""
