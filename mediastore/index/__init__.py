"""The Redis half, described as data: key names, one typed command per script, and the reads that need none.

Keys of one namespace share the prefix `mediastore:{<namespace>}:` and so one slot of a cluster:

    ref:<id>         hash    scope seq blob root path size identity stored_at expires_at ttl pinned idle, and the metadata
    blob:<id>        hash    state refs ever token root path custody identity size tries errno cut leased due grace sha stamp draft scope meta ended
    scope:<scope>    zset    ref id -> seq, the scope's refs in store order; `deadline` -> seq, if it has one
    children:<scope> zset    child scope -> lower bound of the seqs below it
    scopes           zset    every scope that holds refs, by name
    closed           zset    scope -> seq at which it was released, until drains are done with it
    cuts             hash    scope -> "seq cause who ..." of each time it was closed, as long; "released" or "expired"
    lifetimes        hash    scope -> its deadlines: "fixed_ms idle_ms last_active_ms seq"
    deadlines        zset    scope -> ms at which the first of them is due
    policies         hash    name -> how long a ref lives by that policy, ms or "never"
    under:<name>     zset    ref id -> seq at which its deadline was set by the policy that the index has by this name
    changing         hash    name -> "seq left": refs set before seq are to be moved, those before left only leave it
    seq clock format string  the last seq given; the latest time a script ended a ref; the format number
    expiry           zset    ref id -> due ms
    path:<root id>   hash    relative path -> its current blob
    older:<root>     hash    inode number and path -> a blob that had the path before its current one, live or waiting
    borrowed:<root>  hash    relative path -> how many live borrowed blobs it had before that one
    meta:<root>      zset    "ref blob" -> the seq of its last change: sidecars that are to be written or removed
    dedup:<root>     hash    SHA-256 of content -> the blob that has it and that no sweeper has claimed
    lease:<blob>     zset    lease token -> deadline ms
    holders:<blob>   hash    lease token -> "last_ms since_ms who": it can be renewed until the first
    trash:<root id>  zset    blob id -> due ms: the journal of bytes that must go
    claim:<token>    hash    root deadline since prev, and a field blob:<id> for each blob of the batch
    left:<scope>     set     blobs that releases of the scope doomed, or that wait since they ended in it, not gone yet
    stuck            hash    blob id -> errno, root and path of a blob that will not go; also "ref:<id>" or "scope:<scope>"
                             -> "CORRUPT", root or ".", and which fields of it cannot be true
    barred           hash    "root host" -> "errno since last": since when a host can make no directory for a claim there
    seen             zset    worker:<node> or beat:<node> -> ms it was last alive; a day at most
    roots stats      hash    root id -> host:path; counters
    quotas           hash    bytes, refs, scope_bytes, scope_refs, "bytes <scope>", "refs <scope>" -> the most of them
    usage            hash    scope -> bytes of its refs, those that are being written among them
    writing          hash    scope -> how many of its refs are being written
    lost             hash    root id -> when it was forgotten, and its place
    graves           list    "ms id" of the tombstones, the oldest first
    gone:<id>        string  tombstone: cause ms scope cut who blob [facts]; cut "." was no scope's   (carries a TTL)
    op:<id>          string  the answer of one call, for its replay  (carries a TTL)
"""
