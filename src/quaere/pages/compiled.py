"""A cache of compiled templates: in this process, and in a store for the next ones, which compile only what changed."""

from __future__ import annotations

import base64

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from quaere.pages.view import Store

_HELD: dict[tuple[str, str], bytes] = {}


class Compiled(BytecodeCache):
    """Compiled templates. Jinja looks whether a template's text is still the same.

    Args:
        store: Keeps them.
        made_by: What they depend on besides their text: the code, and the settings of the environment.
    """

    def __init__(self, store: Store, made_by: str) -> None:
        self._store, self._made_by = store, made_by

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give a template what was kept of it, if anything."""
        name = self._made_by, bucket.key
        if name not in _HELD and (told := self._store.find(self._source(bucket))) is not None:
            _HELD[name] = base64.b64decode(told)
        if name in _HELD:
            bucket.bytecode_from_string(_HELD[name])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a template."""
        compiled = _HELD[self._made_by, bucket.key] = bucket.bytecode_to_string()
        self._store.keep([(self._source(bucket), base64.b64encode(compiled).decode())])

    def _source(self, bucket: Bucket) -> bytes:
        return f"template {self._made_by} {bucket.key} {bucket.checksum}".encode()
