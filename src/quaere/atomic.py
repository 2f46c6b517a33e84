"""Write files atomically: a reader sees the old content or the new content, never a part of it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import sys
from pathlib import Path

from quaere.errors import Place, WriteError

_SCRATCH = re.compile(r"\.quaere-(\d+)-[0-9a-f]{16}")
_OWN = set[str]()


def write(file: Path, content: str | bytes) -> None:
    """Write a text, or bytes, to a file and sync it to disk. Missing folders are created.

    A file that was there hands on its permissions. A link is replaced, and what it leads to stays.

    Raises:
        WriteError: The disk is full, the folder can't be written to, or something other than a file is there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sweep(file.parent)
        part = scratch(file.parent)
        try:
            mode = _mode(file)
            # A new file gets the permissions of any other.
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "wb") as opened:
                opened.write(content.encode() if isinstance(content, str) else content)
                opened.flush()
                os.fsync(opened.fileno())
            if mode is not None:
                part.chmod(mode)
            part.replace(file)
            _sync(file.parent)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            _OWN.discard(part.name)
    except OSError as error:
        raise WriteError.refused(file, error) from error


def move(file: Path, to: Path) -> None:
    """Move a file within a disk, over another if there is one. Missing folders are created.

    Raises:
        WriteError: The folder can't be written to, or something other than a file is there.
    """
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        _mode(to)
        file.replace(to)
        _sync(to.parent)
    except OSError as error:
        raise WriteError.refused(to, error) from error


def _mode(file: Path) -> int | None:
    """Return the permissions of a file; None if there is no file, or a broken link."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise WriteError(Place(str(file), 0), "this is not a regular file", "name another file")
    return stat.S_IMODE(found.st_mode)


def _sync(folder: Path) -> None:
    """Sync a folder's entries to disk, where the system can do that."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def scratch(folder: Path) -> Path:
    """Return a new name in a folder for a temporary file; it contains the id of this process."""
    name = f".quaere-{os.getpid()}-{secrets.token_hex(8)}"
    _OWN.add(name)
    return folder / name


def sweep(folder: Path) -> None:
    """Remove from a folder the temporary files of processes that have ended."""
    # By name first: a library of ten thousand cards is looked through for each that is written.
    for name in [one for one in os.listdir(folder) if one.startswith(".quaere-")]:  # noqa: PTH208
        if (found := _SCRATCH.fullmatch(name)) and name not in _OWN and not _lives(int(found[1])):
            path = folder / name
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lives(pid: int) -> bool:
    """Tell whether another process is running, as far as the system can say."""
    if pid == os.getpid():
        return False
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True
