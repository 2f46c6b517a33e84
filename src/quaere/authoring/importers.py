"""Reads formats that plugins bring (entry point `quaere.importers`): what they make of a file is read in its place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from quaere.content import plugins
from quaere.errors import MisuseError, Place, PluginError, nearest

Importer = Callable[[bytes], "str | Mapping[str, str]"]
"""Returns a text of what a file holds, or several by their names: notes in Markdown, or entries of a bibliography."""


class Format:
    """A format that a plugin brings.

    Attributes:
        suffixes: How its files end, as in `.org`: those that are read in a folder.
    """

    def __init__(self, name: str) -> None:
        known = dict(plugins.loaded("quaere.importers"))
        if name not in known:
            hint = nearest(name, known) or "a plugin adds one by the entry point `quaere.importers`"
            raise MisuseError(Place("", 0), f"there is no format `{name}`", hint)
        self._name, self._read = name, known[name]
        told: Any = getattr(inspect.unwrap(self._read), "suffixes", ())
        self.suffixes = (told,) if isinstance(told, str) else tuple(map(str, told))

    def texts(self, data: bytes, file: str) -> dict[str, str]:
        """Return the texts of what a file holds, by name.

        Raises:
            PluginError: The plugin fails, or returns something else.
        """
        made = self._read(data)
        texts = dict(made) if isinstance(made, Mapping) else {"": made}
        if not all(isinstance(part, str) for pair in texts.items() for part in pair):
            problem = f"{self._name} of `quaere.importers` returned no text for {file}"
            raise PluginError(Place("", 0), problem, "ask its authors")
        return {f"{file}/{name}" if name else file: text for name, text in texts.items()}
