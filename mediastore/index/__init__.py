"""The Redis half, described as data: key names, one typed command per script, and the reads that need none.

Keys of one namespace share the prefix `mediastore:{<namespace>}:` and so one slot of a cluster:

    ref:<id>         hash    scope seq blob root path size identity stored_at expires_at ttl pinned idle, and the metadata
    blob:<id>        hash    state refs ever token root path custody identity size tries errno cut leased due grace sha stamp draft scope meta ended doomed
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
    claim:<token>    hash    root deadline since prev, and a field blob:<id> for each blob of the batch, "failed" if the
                             last try did not delete it
    left:<scope>     set     blobs that releases of the scope doomed, or that wait since they ended in it, not gone yet
    epochs           list    "n.ms.random" of each minute in which somebody swept, the newest last, 64 at most
    noted            hash    root id -> "seen entry ...": what was noted before it was written in the root, the newest last;
                             seen is 1 once the root showed one; "*ms": an entry made before is taken
    frozen           hash    reason -> "since_ms root shown", "since_ms due live mean" of the breaker: why nothing may expire
                             or be deleted
    breaker          hash    hour -> refs that ended by themselves in it, of the last 24 hours in which any did; allowed -> ms
                             until which all may; nearer -> ms until which a policy counts as changed lately
    bound            string  "seq until_ms": no ref or scope that is older ends by itself until then
    born             string  ms: when the index was first greeted, or for the first time since it was emptied
    server           string  "run_id since_ms": the server that the index was on when it was last asked, and since when
    stuck            hash    blob id -> errno, root and path of a blob that will not go; also "ref:<id>" or "scope:<scope>"
                             -> "CORRUPT", root or ".", and which fields of it cannot be true
    spared           list    "ms root blob identity found path": what stood in the place of a registered file, the newest last
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
