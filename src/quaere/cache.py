"""Keep what was made under the hash of what it was made from, so that it is made once.

All is in one SQLite file, which may be deleted at any time. What is in it is never trusted: each text has its hash
beside it. A file that is no database is begun anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_DAY = 86400
_FORGOTTEN = 60
_PATIENCE = 1.0
# Bytes that are not written yet.
_MOST = 8_000_000
# With row numbers: texts are long, and SQLite would put them among the names.
_TABLE = "CREATE TABLE IF NOT EXISTS kept (name BLOB PRIMARY KEY, digest BLOB, day INTEGER, data BLOB)"


class Cache:
    """Texts in a folder, by the hash of what they were made from.

    Args:
        folder: The folder; it is made when something is kept. Without write permission nothing is kept.
        is_read_only: Whether nothing is kept in any case.
    """

    def __init__(self, folder: Path, *, is_read_only: bool = False) -> None:
        self.file = folder / "kept.sqlite"
        self._is_read_only = is_read_only
        self._open: sqlite3.Connection | None = None
        # By name: what is not written yet, and what was asked for today.
        self._fresh: dict[bytes, tuple[bytes, bytes, int, bytes]] = {}
        self._asked: dict[bytes, None] = {}
        self._size = 0
        self._held: dict[Hashable, Any] = {}
        self._used: set[Hashable] = set()

    @property
    def keeps(self) -> bool:
        """Whether anything is kept: what nobody keeps need not be written."""
        return not self._is_read_only

    def get(self, source: bytes, make: Callable[[], str]) -> str:
        """Return what was made from a source, or make it now."""
        kept = self.find(source)
        if kept is None:
            kept = make()
            self.keep([(source, kept)])
        return kept

    def find(self, source: bytes) -> str | None:
        """Return what was made from a source; None if nothing is kept of it."""
        name = hashlib.sha256(source).digest()
        if (row := self._row(name)) is None:
            return None
        digest, day, data = row
        try:
            if digest != hashlib.sha256(name + data).digest():
                return None
            if day != _today():
                self._asked[name] = None
            return str(data.decode())
        except (TypeError, AttributeError, ValueError):
            return None

    def keep(self, made: Iterable[tuple[bytes, str]]) -> None:
        """Keep what was made from some sources; it is written together with other things, at the latest by `flush`."""
        for source, text in made:
            # A docstring can hold half of a character, which nothing can write.
            with contextlib.suppress(ValueError):
                name, data = hashlib.sha256(source).digest(), text.encode()
                self._fresh[name] = name, hashlib.sha256(name + data).digest(), _today(), data
                self._size += len(data)
        if self._size > _MOST:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        fresh, asked = list(self._fresh.values()), list(self._asked)
        self._fresh, self._asked, self._size = {}, {}, 0
        if fresh:
            self._do("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", fresh)
        if asked:
            self._do("UPDATE kept SET day = ? WHERE name = ?", [(_today(), name) for name in asked])

    def held(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what was made under a name for the last build of this process, or make it now; it never changes."""
        self._used.add(name)
        if name not in self._held:
            self._held[name] = make()
        return self._held[name]  # type: ignore[no-any-return]

    def hold(self, name: Hashable, value: object) -> None:
        """Hold a value for the next build of this process, in place of a former one."""
        self._used.add(name)
        self._held[name] = value

    def prune(self) -> None:
        """Write what is not written yet, and delete what nobody asked for: in sixty days, or in this build."""
        self._held = {name: value for name, value in self._held.items() if name in self._used}
        self._used.clear()
        self.flush()
        self._do("DELETE FROM kept WHERE day < ?", [(_today() - _FORGOTTEN,)])
        with contextlib.suppress(OSError):
            for file in self.file.parent.glob("site-*"):
                if file.stat().st_mtime < time.time() - _FORGOTTEN * _DAY:
                    file.unlink()

    def _row(self, name: bytes) -> tuple[bytes, int, bytes] | None:
        if fresh := self._fresh.get(name):
            return fresh[1:]
        if self._open is None and not self.file.is_file():
            return None
        with contextlib.suppress(OSError, sqlite3.Error):
            return self._connection().execute("SELECT digest, day, data FROM kept WHERE name = ?", (name,)).fetchone()  # type: ignore[no-any-return]
        return None

    def _do(self, command: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Change something, or begin a broken file anew; without permission to write, nothing is done."""
        rows = list(rows)
        if self._is_read_only:
            return
        for is_again in (False, True):
            try:
                with self._connection() as connection:
                    connection.executemany(command, rows)
            except sqlite3.OperationalError:
                return  # it can't be written to, or another process does
            except (OSError, sqlite3.Error):
                self.close()
                if not is_again:
                    with contextlib.suppress(OSError):
                        self.file.unlink()
                continue
            return

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            opened = sqlite3.connect(self.file, timeout=_PATIENCE, check_same_thread=False)
            try:
                # What a kill of the machine loses is made again.
                opened.execute("PRAGMA synchronous = OFF")
                opened.execute(_TABLE)
            except sqlite3.Error:
                opened.close()
                raise
            self._open = opened
        return self._open

    def close(self) -> None:
        """Write what is not written yet, and let go of the file."""
        self.flush()
        if self._open:
            self._open.close()
            self._open = None

    def __del__(self) -> None:
        self.close()


def _today() -> int:
    return int(time.time() // _DAY)
