"""Retention policies, the blocking half."""

from __future__ import annotations

import os
from datetime import datetime

from mediastore.flows import policing, sweeping
from mediastore.model import SCHEME, Duration, Swept
from mediastore.policies import Policy, PolicyChange

from .driver import Driver


def is_path(ref: str | os.PathLike[str]) -> bool:
    """Whether a file is named, and not a ref."""
    return isinstance(ref, os.PathLike) or (
        isinstance(ref, str) and os.sep in ref and not ref.startswith(SCHEME)
    )


class Policies(Driver):
    """What names lifetimes, and lets refs live by them."""

    def set_policy(self, name: str, lifetime: Duration) -> PolicyChange:
        """Give a named policy its lifetime, for the whole fleet; of one that exists, move the refs that live by it.

        Their deadlines are then the new lifetime from when they were stored, also where they were touched since. What is due by
        that ends with the next sweep, unless it is so much that the breaker trips (`breaker`). Pinned refs stay pinned, and get the new length for when they are unpinned. It is done
        in small steps, at most for the setting `release_budget`; a sweep of any process does the rest, also when this
        one is killed. Of two changes the later wins. Whoever stores by the policy meanwhile gets the new lifetime.

        Args:
            name: `[a-z][a-z0-9._-]{0,62}`, not beginning with `delete-after-` or `retain-`. It wins over the setting `policies`;
                refs that were stored by a policy of the settings are not moved.
            lifetime: A duration, `NEVER`, or a retention policy such as ``"retain-2hours"``.

        Raises:
            InvalidPolicy: `name` cannot be one.
            InvalidRequest: `lifetime` is no duration; nothing was changed.
        """
        return self._run(policing.set_policy(self._ctx, name, lifetime))

    def policies(self) -> list[Policy]:
        """Return the named policies that refs can be stored by: those of the index and of this process's settings; by name."""
        return self._run(policing.listing(self._ctx))

    def remove_policy(self, name: str, *, force: bool = False) -> PolicyChange:
        """Remove a named policy from the index.

        Args:
            name: The policy.
            force: Also when refs live by it. They keep the deadlines that they have, and leave it.

        Raises:
            InvalidPolicy: the index has no such policy.
            InvalidRequest: refs live by it, and `force` was not said; nothing was changed.
        """
        return self._run(policing.remove_policy(self._ctx, name, force=force))

    def apply_policy(self, ref: str | os.PathLike[str], policy: str | None) -> datetime | None:
        """Let a ref, or the refs of a file, live by a policy from now on; returns the deadline, the last of them, None for no end.

        The deadline is the policy's lifetime from when the ref was stored; where that is past, it is due now, and the next sweep
        ends it. A pinned ref stays pinned, and gets the length for when it is unpinned.

        Args:
            ref: A live ref. Or, as PromptKit has it, the path of a file that the store has written: of the first hundred of its
                refs that its sidecars tell of.
            policy: `delete-after-<N>min`, `retain-<N>hours`, `retain-<N>days`, or a name that `policies` lists. None or "" takes
                the ref out of its policy: it keeps the deadline that it has.

        Raises:
            RefGone, RefUnknown: it is dead; nothing was changed.
            InvalidPolicy: nobody knows the policy; nothing was changed.
            InvalidRequest: no sidecar tells which refs the file has.
            FileMissing, NotARegularFile: there is no file at the path.

        Extends PromptKit `ApplyPolicy` (runtime/storage/policy/time_based.go), which looks at a policy's name only when it sweeps.
        """
        if is_path(ref):
            return self._run(policing.apply_to_file(self._ctx, os.fspath(ref), policy))
        return self._run(policing.apply_policy(self._ctx, str(ref), policy))

    def enforce_policy(self) -> Swept:
        """Do one sweep, under the name that PromptKit's `EnforcePolicy` has. As `sweep()`."""
        return self._run(sweeping.sweep(self._ctx, budget=None))
