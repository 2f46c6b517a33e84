"""Keep what was made under the hash of what it was made from, so that it is made once.

The folder may be deleted at any time. What is in it is never trusted: a file begins with the hash of its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

_DAY = 86400.0
_FORGOTTEN = 60 * _DAY


class Cache:
    """Texts in a folder, by the hash of what they were made from.

    Args:
        folder: The folder; it is made when something is kept. Without write permission nothing is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, source: bytes, make: Callable[[], str]) -> str:
        """Return what was made from a source, or make it now."""
        name = hashlib.sha256(source).hexdigest()
        file = self.folder / name[:2] / name
        kept = _read(file)
        if kept is None:
            kept = make()
            _write(file, kept)
        return kept

    def prune(self) -> None:
        """Delete what nobody asked for in sixty days."""
        with contextlib.suppress(OSError):
            for file in self.folder.glob("??/*"):
                with contextlib.suppress(OSError):
                    if file.stat().st_mtime < time.time() - _FORGOTTEN:
                        file.unlink()


def _read(file: Path) -> str | None:
    try:
        digest, _, data = file.read_bytes().partition(b"\n")
        if digest.decode() != hashlib.sha256(data).hexdigest():
            return None
        if file.stat().st_mtime < time.time() - _DAY:
            os.utime(file)
        return data.decode()
    except (OSError, ValueError):
        return None


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        # A docstring can hold half of a character, which nothing can write.
        data = text.encode()
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
        part.replace(file)
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
