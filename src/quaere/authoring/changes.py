"""Changes to an author's files: shown as a diff, or made all together.

What is to be written is kept in a journal until all of it is. So a kill leaves the files as they were, or the journal,
from which the next command makes the rest. Two commands at once follow each other.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from quaere import atomic
from quaere.errors import AuthorError, Place, WriteError

_JOURNAL = ".quaere/changes.json"
_PATIENCE = 30


class ChangedError(AuthorError):
    """A file was changed by somebody else meanwhile."""


@dataclass(frozen=True)
class Change:
    """A file before and after; None where there is no file."""

    file: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Changes:
    """What a command changes, by file, and what it says of it in one line."""

    said: str
    files: Mapping[str, Change] = field(default_factory=dict)

    @classmethod
    def of(cls, said: str, changes: Iterable[Change]) -> Changes:
        """Collect changes; those that change nothing are left out."""
        return cls(said, {one.file: one for one in changes if one.before != one.after})

    @property
    def diff(self) -> str:
        """All changes as a unified diff."""
        return "".join(map(_diff, self.files.values()))


def apply(root: Path, changes: Changes) -> None:
    """Make changes in the folder of a knowledge base: all of them, or none.

    Raises:
        ChangedError: A file is no longer as the changes know it.
        WriteError: A file can't be written.
    """
    with _alone(root):
        complete(root)
        for change in changes.files.values():
            if _read(root / change.file) != change.before:
                problem, hint = "this file was changed meanwhile", "run the command again"
                raise ChangedError(Place(change.file), problem, hint)
        journal = {one.file: one.after for one in changes.files.values()}
        if len(journal) > 1:
            atomic.write(root / _JOURNAL, json.dumps(journal, ensure_ascii=False))
        _write(root, journal)


def complete(root: Path) -> None:
    """Make the rest of what a command that was killed had begun to write."""
    if (journal := _read(root / _JOURNAL)) is None:
        return
    with contextlib.suppress(ValueError):
        _write(root, json.loads(journal))


def _write(root: Path, files: Mapping[str, str | None]) -> None:
    for file, text in files.items():
        if text is not None:
            atomic.write(root / file, text)
    # Last, so that nothing is ever nowhere.
    for file, text in files.items():
        if text is None:
            _remove(root / file)
    _remove(root / _JOURNAL)


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError.refused(file, error) from error


def _read(file: Path) -> str | None:
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise WriteError(Place(str(file), 0), f"this can't be read: {error}") from error


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    lock = root / ".quaere" / "changes.lock"
    try:
        lock.parent.mkdir(exist_ok=True)
        with FileLock(lock, timeout=_PATIENCE):
            yield
    except Timeout:
        problem = "another command has been changing files here for half a minute"
        raise WriteError(Place(str(root), 0), problem, "wait for it, or end it") from None
    except OSError as error:
        raise WriteError.refused(lock, error) from error


def _diff(change: Change) -> str:
    before, after = ((text or "").splitlines(keepends=True) for text in (change.before, change.after))
    former = "/dev/null" if change.before is None else f"a/{change.file}"
    later = "/dev/null" if change.after is None else f"b/{change.file}"
    lines = difflib.unified_diff(before, after, former, later)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
