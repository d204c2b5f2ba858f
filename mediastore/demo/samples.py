"""The real media that the demo's bots store; `media/README.md` says where each file comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

# Not from `mimetypes`: what that knows differs from machine to machine.
CONTENT_TYPES = {
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One file to copy, and what is known about it."""

    path: Path
    content_type: str
    size_bytes: int
    sha256: str


def samples() -> list[Sample]:
    """Return every sample, by name."""
    folder = Path(__file__).with_name("media")
    return [
        Sample(path, CONTENT_TYPES[path.suffix], path.stat().st_size, digest(path))
        for path in sorted(folder.iterdir())
        if path.suffix in CONTENT_TYPES
    ]


def digest(path: Path) -> str:
    """Return the SHA-256 of what is read from the path now."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
