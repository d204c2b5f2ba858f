"""What the scripts of the model of epochs do: a look, a tick, and which claims they allow."""

from __future__ import annotations

from tests.epochs_world import Entry, Index, Root, World, Writer, with_root

#: Each rule, and what is done if it is left out.
RULES = {
    "notes": "an entry with a smaller number than the oldest of the chain is taken for old",
    "whole": "only the root that shows an unknown entry is frozen, not the namespace",
    "first note": "the entry that a root shows, and that is new to the index, is not noted",
    "seen": "a missing file freezes wherever something was noted, whether it was shown or not",
    "missing": "a missing file never freezes",
    "pause": "claims go on at once after a restart",
    "bound due": "after accept, refs expire that were due before it",
    "bound trash": "after accept, blobs are claimed that were doomed or reserved before it",
    "born": "a root is new to an index that has no blobs there, instead of one that was made after what the root shows",
    "shown": "an entry is noted with each tick, whether the one before has been written or not",
    "early": "an entry is noted by the very script that has it written",
    "mark": "after accept a root may show any entry once, also one that was made after it",
    "clear": "a writer leaves the temporary files of others",
    "announce": "the temporary file is made after the answer and named by its number",
    "compare": "the file is not read again before the rename",
    "clear first": "a root's first entry is noted while writers may be about to rename",
    "twice": "the namespace is frozen although the file has changed since it was read",
}


class Scripts:
    """The rules; those named in `without` are left out. `keep` and `notes` are smaller than the product's 64 and 4."""

    def __init__(self, *without: str, keep: int = 3, notes: int = 2) -> None:
        assert set(without) <= set(RULES), without
        self.without = frozenset(without)
        self.keep, self.notes = keep, notes

    def rule(self, name: str) -> bool:
        return name not in self.without

    def known(self, index: Index, r: int, shown: Entry | None) -> bool:
        root = index.roots[r]
        if shown is None:
            seen = root.seen if self.rule("seen") else bool(root.notes)
            return not seen or not self.rule("missing")
        if shown in index.chain or shown in root.notes:
            return True
        full = len(index.chain) == self.keep
        if full and not self.rule("notes") and shown.n < index.chain[0].n:
            return True
        return self.takes(index, root, shown)

    def takes(self, index: Index, root: Root, shown: Entry) -> bool:
        """Whether an entry that the index does not know is a root's first: after accept, or where all of the root is new."""
        if root.mark:
            return shown.born < root.mark or not self.rule("mark")
        if root.notes:
            return False
        return shown.born < index.born if self.rule("born") else not root.blobs

    def look(self, w: World, k: int, r: int, shown: Entry | None) -> World | None:
        """The world after a look that passed; None after one that did not."""
        index = w.servers[k]
        if not self.known(index, r, shown):
            return None
        root = index.roots[r]
        if w.writers and not root.notes and self.rule("clear first"):
            w = w._replace(writers=self.cleared(w.writers, r))
        if shown is not None:
            root = self.shown(index, root, shown)
        if root != index.roots[r]:
            w = w.with_index(k, with_root(index, r, root))
        return w._replace(unseen=w.unseen - {r}) if r in w.unseen else w

    def shown(self, index: Index, root: Root, shown: Entry) -> Root:
        if root.seen and root.notes and not root.mark:
            return root
        notes = root.notes
        if shown not in notes and (shown in index.chain or self.rule("first note")):
            notes = (*notes, shown)[-self.notes :]
        return root._replace(notes=notes, seen=True, mark=0)

    def tick(
        self, w: World, k: int, r: int, shown: Entry | None, *, push: bool
    ) -> tuple[World, Entry | None] | None:
        """The world after a tick, and what is to be written; None where its look did not pass.

        One that does not push comes some seconds after the newest entry.
        """
        looked = self.look(w, k, r, shown)
        if looked is None:
            return None
        w = self.pushed(looked, k, shown) if push else self.waited(looked)
        index = w.servers[k]
        root = index.roots[r]
        if not index.chain:
            return w, None
        notes, answer = self.noted(index, root.notes, shown, push=push)
        if notes != root.notes or root.mark:
            w = w.with_index(k, with_root(index, r, root._replace(notes=notes, mark=0)))
        return w, answer

    def noted(
        self, index: Index, notes: tuple[Entry, ...], shown: Entry | None, *, push: bool
    ) -> tuple[tuple[Entry, ...], Entry | None]:
        """What is noted after a tick, and what is to be written."""
        newest, at = index.chain[-1], shown.n if shown else 0
        if not self.rule("early"):
            settled = index.chain[-2] if len(index.chain) > 1 else None
            if settled is None or settled.n <= at:
                return notes, None
            return (notes if settled in notes else (*notes, settled)[-self.notes :]), settled
        young = index.chain[-2:] if push else index.chain[-1:]
        last = notes[-1] if notes else None
        waits = last is not None and last.n > at
        answer = last if waits and last not in young else None
        if self.rule("shown") and waits:
            return notes, answer
        if newest.n > at and newest not in notes:
            notes = (*notes, newest)[-self.notes :]
        old = [each for each in notes if each not in young and each.n > at]
        return notes, (old[-1] if old else None) if not self.rule("shown") else None

    def pushed(self, w: World, k: int, shown: Entry | None) -> World:
        index, copy = w.servers[k], w.copy
        last = max(index.chain[-1].n if index.chain else 0, shown.n if shown else 0)
        chain = (*index.chain, Entry(w.now, last + 1))[-self.keep :]
        if copy:
            soon = copy.soon and not copy.pushed
            copy = copy._replace(pushed=min(copy.pushed + 1, 2), soon=soon)
        w = w._replace(now=w.now + 1, copy=copy).spend("pushes")
        return w.with_index(k, index._replace(chain=chain))

    def waited(self, w: World) -> World:
        if w.copy and w.copy.soon and w.copy.pushed:
            return w._replace(copy=w.copy._replace(soon=False))
        return w

    def claimable(self, index: Index) -> bool:
        if index.item in {"kept", "none"}:
            return False
        rule = "bound due" if index.item == "due" else "bound trash"
        return index.released or not index.bound or not self.rule(rule)

    @property
    def order(self) -> tuple[str, ...]:
        """The steps of whoever writes a root's entry."""
        first = ("temp", "read", "tick") if self.rule("announce") else ("read", "tick", "temp")
        again = ("compare",) if self.rule("compare") else ()
        return (*first, "clear", *again, "rename")

    def has_temp(self, writer: Writer) -> bool:
        return writer.done < 0 or writer.done > self.order.index("temp")

    def cleared(
        self, writers: tuple[Writer, ...], r: int, answer: Entry | None = None
    ) -> tuple[Writer, ...]:
        """Those that can still rename once the root's temporary files (by number: those of older entries) are removed."""
        return tuple(
            each
            for each in writers
            if each.root != r
            or not self.has_temp(each)
            or (not self.rule("announce") and answer and each.answer.n >= answer.n)
        )
