"""Content that is handed over and given back, the blocking half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediastore.content import MediaContent
from mediastore.errors import InvalidRequest
from mediastore.flows import content as flows

from .base import checked_meta
from .driver import Driver

if TYPE_CHECKING:
    from mediastore.model import Duration, MediaMeta, Ref


class Content(Driver):
    """What writes and reads content."""

    def store_media(
        self,
        content: MediaContent,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
    ) -> Ref:
        """Write content into a file of the store's own, and return its ref.

        The ref is there once the whole file is: a call that fails, or a process that is killed, leaves neither a ref
        nor, after the next sweep, a file. With the setting `dedup`, content that is there already is not written again.

        Args:
            content: The bytes, in memory, as a file, an iterator or a path; memory stays bounded whatever the size.
            scope: Where the ref belongs. None: `session/<session_id>` of the metadata, or as the setting `organization` says.
            meta: What is known of it; its content type and policy must not contradict those of the content.
            ttl: Lifetime from now; `NEVER` for none. None: the policy, else the setting `max_age`.

        Raises:
            TooLarge: there are more bytes than the setting `max_file_size` allows.
            InvalidRequest: nothing was changed; also where the id is missing from which the scope would come.
            StoreFull: Redis or the root has no room.
            BlobsUnavailable: the root does not answer, or the content came so slowly that it was given up.
            IndexUnavailable: Redis failed; the ref was made or not, and if it was, it expires.

        Whatever the source itself raises is raised as it is.

        Extends PromptKit `StoreMedia` (runtime/storage/local/filestore.go).
        """
        return self._run(
            flows.store(self._ctx, checked_content(content), scope, checked_meta(meta), ttl)
        )


def checked_content(content: MediaContent) -> MediaContent:
    """Return the content if it is some.

    Raises:
        InvalidRequest: it is something else.
    """
    if not isinstance(content, MediaContent):
        raise InvalidRequest(
            f"content is a MediaContent, not {type(content).__name__}: MediaContent(data=...) or "
            "MediaContent(file_path=...)"
        )
    return content
