"""Content that is handed over and given back, the blocking half."""

from __future__ import annotations

from typing import Final

from mediastore import naming
from mediastore.content import Announced, MediaContent
from mediastore.errors import InvalidRequest
from mediastore.flows import content as flows, storing
from mediastore.flows.orders import Asked
from mediastore.model import Duration, MediaMeta, Ref, parse_duration
from mediastore.values import parse_size

from .base import checked_meta
from .driver import Driver
from .writer import Writer

#: picoclaw's limit for media that travel inside a request (`max_media_size`).
INLINE: Final = "20MiB"


class Content(Driver):
    """What writes and reads content."""

    def store_media(
        self,
        content: MediaContent,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        move: bool = False,
    ) -> Ref:
        """Write content into a file of the store's own, and return its ref.

        The ref is there once the whole file is: a call that fails, or a process that is killed, leaves neither a ref
        nor, after the next sweep, a file. With the setting `dedup`, content that is there already is not written again.

        Args:
            content: The bytes, in memory, as a file, an iterator or a path; memory stays bounded whatever the size.
            scope: Where the ref belongs. None: `session/<session_id>` of the metadata, or as the setting `organization` says;
                without such an id the current scope, as of `store`.
            meta: What is known of it; its content type and policy must not contradict those of the content.
            ttl: Lifetime from now; `NEVER` for none. None: the policy, else the setting `max_age`.
            move: Of a `file_path`: the file itself becomes the content, without a copy on the same file system. It loses its
                former name once its ref is there. One with further hard links is copied first, as those could change it.

        Raises:
            TooLarge: there are more bytes than the setting `max_file_size` allows.
            ContentMismatch: the content is shorter, longer or another one than its `size_bytes`, its `sha256` or the
                response that it comes from says.
            InvalidRequest: nothing was changed; also where the id is missing from which the scope would come, and where a
                file object, an iterator or a response gives no bytes at all, unless `size_bytes` is 0.
            StoreFull: Redis or the root has no room.
            BlobsUnavailable: the root does not answer, or the content came so slowly that it was given up.
            IndexUnavailable: Redis failed; the ref was made or not, and if it was, it expires.

        Whatever the source itself raises is raised as it is.

        Extends PromptKit `StoreMedia` (runtime/storage/local/filestore.go).
        """
        meta = checked_meta(meta)
        home = self._home_of(scope, meta)
        return self._run(
            flows.store(self._ctx, checked_content(content), home, meta, ttl, move=move)
        )

    def writer(
        self,
        *,
        scope: str | None = None,
        meta: MediaMeta | None = None,
        ttl: Duration | None = None,
        size_bytes: int | None = None,
        sha256: str = "",
        suffix: str = "",
    ) -> Writer:
        """Have a library write content: a block with a real path and a real file, whose exit makes the ref.

            with store.writer(scope="chat:42", meta=MediaMeta(filename="cat.jpg")) as draft:
                attachment.save(draft.path)      # or draft.file.write(...), or subprocess.run([..., draft.path])
            ref = draft.ref

        Where the body raises, nothing is kept. The limit counts at the exit.

        Args:
            scope: As in `store_media`.
            meta: As in `store_media`.
            ttl: As in `store_media`; it counts from the exit.
            size_bytes: How many bytes there will be, as in `MediaContent`; 0 if nothing may be written.
            sha256: The SHA-256 that they must have, as in `MediaContent`.
            suffix: The extension of the path, such as ".png", for libraries that go by it. Empty (default): that of the content
                type or the filename in the metadata. The stored file gets that of what was written.

        Raises:
            InvalidRequest: at the exit, nothing was written.
            MediaStoreError: at the entry or at the exit, as `store_media`.
        """
        meta = checked_meta(meta)
        said = Announced(size_bytes, sha256)
        asked = Asked(self._home_of(scope, meta), meta, ttl, said, naming.suffix(suffix))
        return Writer(self, asked)

    def retrieve_media(self, ref: str) -> MediaContent:
        """Return what a ref refers to: `file_path`, `mime_type`, `policy` and `size_bytes`; the bytes are not loaded.

        The type is what the bytes are: if they contradict what was said of them, `said_type` has that. Of a file that is
        registered where it lies the first 8 KiB are looked at, of content they were when it was handed over.

        Works for every ref, whether its file was handed over or registered where it lies.

        Raises:
            NotThere: as `resolve`.

        Extends PromptKit `RetrieveMedia`.
        """
        return self._run(flows.retrieve(self._ctx, ref))

    def get_url(self, ref: str, expires_in: Duration | None = None) -> str:
        """Return a URL of what `resolve` returns: `file://`, percent-encoded. It is good on this host, as long as that is there.

        Args:
            ref: A live ref.
            expires_in: For stores whose URLs are signed; a `file://` URL ignores it.

        Raises:
            NotThere: as `resolve`.
            InvalidRequest: `expires_in` is no duration.
        """
        if expires_in is not None:
            parse_duration(expires_in)
        return self._run(storing.resolve(self._ctx, ref))[0].as_uri()

    def get_base64(self, ref: str, limit: int | str = INLINE) -> str:
        """Return the bytes of a ref's file as base64 text, for a request that carries them inline.

        Args:
            ref: A live ref.
            limit: The most bytes of the file, such as 1048576 or "20MiB" (default); less than 0 for any number.

        Raises:
            TooLarge: the file is larger; nothing was read.
            NotThere: as `resolve`.
        """
        return self._run(flows.encoded(self._ctx, ref, parse_size("limit", limit)))[0]

    def get_data_url(self, ref: str, limit: int | str = INLINE) -> str:
        """Return a ref's file as a data URL, `data:image/png;base64,...`. Arguments and errors as `get_base64`.

        It says what the bytes are, as the `mime_type` of `retrieve_media` does.
        """
        text, kind = self._run(flows.encoded(self._ctx, ref, parse_size("limit", limit)))
        return f"data:{kind};base64,{text}"


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
