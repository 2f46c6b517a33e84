"""The verdicts of answers: one file, which several processes may read and write at once."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path

from filelock import FileLock

from quaere import atomic
from quaere.content.model import Verdict
from quaere.errors import Place, WriteError

SCHEMA = 1
"""Version of the file's format."""


class Evidence:
    """The verdicts of past runs.

    Attributes:
        verdicts: The verdicts by the answer's id, stale ones included.
        warning: Why what was in the file's place is not trusted, if so, and what became of it. Nothing of it is used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.verdicts: dict[str, Verdict] = {}
        self.warning = ""
        self._written: object = None
        try:
            self.verdicts = _read(file)
        except _DistrustError as error:
            self._mend(str(error))

    def save(self, ids: Iterable[str]) -> None:
        """Write the verdicts on these answers, all or nothing, with those that other processes wrote meanwhile.

        Of two verdicts on an answer the later one stays, of two at the same time this process's own.

        Raises:
            WriteError: The file can't be written.
        """
        with self._locked():
            if self._written is None or self._identity() != self._written:
                self._merge()
            kept = {id: asdict(self.verdicts[id]) for id in sorted(ids) if id in self.verdicts}
            atomic.write(self.file, json.dumps({"schema": SCHEMA, "verdicts": kept}, indent=1))
            self._written = self._identity()

    def _merge(self) -> None:
        try:
            stored = _read(self.file)
        except _DistrustError:
            self._set_aside()
            return
        for id, verdict in stored.items():
            if id not in self.verdicts or self.verdicts[id].at < verdict.at:
                self.verdicts[id] = verdict

    def _mend(self, reason: str) -> None:
        """Set an untrusted file aside, unless another process has already written a new one; set the warning."""
        try:
            with self._locked():
                try:
                    self.verdicts = _read(self.file)
                except _DistrustError:
                    done = f"it is now {self._set_aside()}"
                else:
                    return
        except WriteError as error:
            done = f"it stays where it is ({error.problem})"
        self.warning = f"{self.file} is not trusted ({reason}); {done}, and the answers run again"

    def _set_aside(self) -> str:
        """Rename the file, and return its new name, which nothing had before."""
        if not stat.S_ISREG(self.file.stat().st_mode):
            # It was not written by quaere, and may be a folder of the author's.
            raise WriteError(
                Place(str(self.file), 0), _NO_FILE, "move it elsewhere, or set `evidence` in [tool.quaere]"
            )
        names = (self.file.with_suffix(f".set-aside{f'-{n}' * (n > 1)}.json") for n in count(1))
        aside = next(name for name in names if not name.exists() and not name.is_symlink())
        self.file.rename(aside)
        return aside.name

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from writing."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.file}.lock", timeout=60):
                yield
        except OSError as error:
            raise WriteError.refused(self.file, error) from error

    def _identity(self) -> object:
        """Return a value that changes whenever the file is written."""
        with contextlib.suppress(OSError):
            found = self.file.stat()
            return found.st_ino, found.st_mtime_ns, found.st_size
        return None


_NO_FILE = "this is not a regular file"


class _DistrustError(Exception):
    """The content of the file is not evidence; the message says why."""


def _read(file: Path) -> dict[str, Verdict]:
    """Return the verdicts in a file; none if there is no file."""
    try:
        # Opening a pipe would wait for its other end.
        if not stat.S_ISREG(file.stat().st_mode):
            raise _DistrustError(_NO_FILE)
        content = json.loads(file.read_text(encoding="utf-8"))
        if (schema := content["schema"]) != SCHEMA:
            raise _DistrustError(f"its schema is {schema}, this version writes {SCHEMA}")
        return {id: _verdict(stored) for id, stored in content["verdicts"].items()}
    except FileNotFoundError:
        return {}
    except KeyError as error:
        raise _DistrustError(f"it has no {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _DistrustError(str(error)) from error


def _verdict(stored: Mapping[str, object]) -> Verdict:
    """Make a verdict from an entry of the file; any other form is an error."""
    verdict = Verdict(**stored)  # type: ignore[arg-type]  # checked right below
    forms = {"key": str, "passed": bool, "failure": str, "commit": str, "at": str, "seconds": float, "versions": dict}
    for name, form in forms.items():
        if type(getattr(verdict, name)) is not form:
            raise ValueError(f"`{name}` is not of type {form.__name__}")
    if not all(isinstance(version, str) for version in verdict.versions.values()):
        raise ValueError("a version is not of type str")
    return verdict
