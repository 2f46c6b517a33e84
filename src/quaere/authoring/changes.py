"""Changes to an author's files: shown as a diff, or made all together.

What is to be written is kept in a journal until all of it is. So a kill leaves the files as they were, or the journal,
from which the next command makes the rest. Two commands at once follow each other, if each reads within `alone` what
it changes.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from quaere import atomic
from quaere.errors import AuthorError, Place, WriteError

_JOURNAL = ".quaere/changes.json"
_STAGED = ".quaere/staged"
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
    """What a command changes, by file, and what it says of it in one line.

    `copies` are files that are no text, such as pictures, by where they go; `removed` are those that go.
    """

    said: str
    files: Mapping[str, Change] = field(default_factory=dict)
    copies: Mapping[str, Path] = field(default_factory=dict)
    removed: Collection[str] = ()

    @classmethod
    def of(cls, said: str, changes: Iterable[Change]) -> Changes:
        """Collect changes; those that change nothing are left out."""
        return cls(said, {one.file: one for one in changes if one.before != one.after})

    @property
    def diff(self) -> str:
        """All changes as a unified diff."""
        gone = (f"Binary files a/{file} and /dev/null differ\n" for file in sorted(self.removed))
        return "".join([*map(_diff, self.files.values()), *gone])


def apply(root: Path, changes: Changes) -> None:
    """Make changes in the folder of a knowledge base: all of them, or none.

    Raises:
        ChangedError: A file is no longer as the changes know it.
        WriteError: A file can't be written.
    """
    with alone(root):
        for change in changes.files.values():
            if _read(root / change.file) != change.before:
                problem, hint = "this file was changed meanwhile", "run the command again"
                raise ChangedError(Place(change.file), problem, hint)
        texts = {one.file: one.after for one in changes.files.values()} | dict.fromkeys(changes.removed)
        staged = {file: f"{_STAGED}/{number}" for number, file in enumerate(changes.copies)}
        for file, copy in staged.items():
            atomic.write(root / copy, _bytes(changes.copies[file]))
        journal: dict[str, Mapping[str, Any]] = {"texts": texts, "staged": staged}
        if len(texts) + len(staged) > 1:
            atomic.write(root / _JOURNAL, json.dumps(journal, ensure_ascii=False))
        _write(root, journal)


def complete(root: Path) -> None:
    """Make the rest of what a command that was killed had begun to write; wait for one that is writing."""
    if (root / _JOURNAL).exists():
        with alone(root):
            pass


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keep other commands from changing files; what one that was killed had begun is made whole before.

    Raises:
        WriteError: Another command has been at it for half a minute, or the folder can't be written to.
    """
    lock = root / ".quaere" / "changes.lock"
    try:
        lock.parent.mkdir(exist_ok=True)
        held = FileLock(lock, timeout=_PATIENCE, is_singleton=True)
        held.acquire()
    except Timeout:
        problem = "another command has been changing files here for half a minute"
        raise WriteError(Place(str(root), 0), problem, "wait for it, or end it") from None
    except OSError as error:
        raise WriteError.refused(lock, error) from error
    try:
        _complete(root)
        yield
    finally:
        held.release()


def _complete(root: Path) -> None:
    if (told := _read(root / _JOURNAL)) is not None:
        try:
            journal = json.loads(told)
            texts, staged = dict(journal["texts"]), dict(journal["staged"])
            # A folder from somebody else may bring a journal.
            is_ours = all(_is_inside(root, file) for file in (*texts, *staged, *staged.values()))
        except (ValueError, LookupError, TypeError):
            is_ours = False
        if not is_ours:
            hint = "remove it, and look whether the last command did what it was to do"
            raise WriteError(Place(_JOURNAL), "this is no journal of changes to this folder", hint)
        _write(root, {"texts": texts, "staged": staged})
    if (root / _STAGED).exists():
        shutil.rmtree(root / _STAGED, ignore_errors=True)


def _is_inside(root: Path, file: str) -> bool:
    # A file may be a link, which is replaced; a folder may lead elsewhere.
    folder = (root / os.path.normpath(file)).parent
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root))


def _write(root: Path, journal: Mapping[str, Mapping[str, Any]]) -> None:
    texts = journal["texts"]
    for file, copy in journal["staged"].items():
        if (root / copy).exists():  # those that are gone are there already
            atomic.move(root / copy, root / file)
    for file, text in texts.items():
        if text is not None:
            atomic.write(root / file, text)
    # Last, so that nothing is ever nowhere.
    for file, text in texts.items():
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


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WriteError(Place(str(file), 0), f"this can't be read: {error.strerror or error}") from error


def _diff(change: Change) -> str:
    before, after = ((text or "").splitlines(keepends=True) for text in (change.before, change.after))
    former = "/dev/null" if change.before is None else f"a/{change.file}"
    later = "/dev/null" if change.after is None else f"b/{change.file}"
    lines = difflib.unified_diff(before, after, former, later)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
