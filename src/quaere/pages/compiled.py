"""A cache of compiled templates: in this process, and in files for the next ones, which compile only what changed.

Compiled templates are code. So they lie beside the engine's own, as Python's compiled modules do, and never in a folder
of a knowledge base, which may be a stranger's.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import jinja2
from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

FOLDER = Path(__file__).parent / "templates" / "__pycache__"
_HELD: dict[tuple[str, str], bytes] = {}


class Compiled(FileSystemBytecodeCache):
    """Compiled templates. Jinja looks whether a template's text is still the same.

    Args:
        form: What they depend on besides their text: the settings of the environment.
    """

    def __init__(self, form: str) -> None:
        self._form = hashlib.sha256(f"{jinja2.__version__} {form}".encode()).hexdigest()[:16]
        super().__init__(str(FOLDER), f"{self._form}-%s.cache")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give a template what was kept of it, if anything."""
        if compiled := _HELD.get((self._form, bucket.key)):
            bucket.bytecode_from_string(compiled)
        else:
            with contextlib.suppress(OSError):
                super().load_bytecode(bucket)
            if bucket.code:
                self._hold(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a template; in this process alone if its file can't be written."""
        self._hold(bucket)
        with contextlib.suppress(OSError):
            FOLDER.mkdir(exist_ok=True)
            super().dump_bytecode(bucket)

    def _hold(self, bucket: Bucket) -> None:
        _HELD[self._form, bucket.key] = bucket.bytecode_to_string()
