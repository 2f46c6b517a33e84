"""What is known of the last build of a site, so that the next one makes only what has changed.

It is read from one file, whose content is trusted only if its digest is right and if the same code made it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quaere import stamp
from quaere.pages.search import Entry
from quaere.site.links import Found

# No id and no address holds it.
_BETWEEN = "\x1f"


@dataclass(frozen=True)
class Made:
    """A file of the site as it was written.

    Attributes:
        looks: Its size, and the time of its last change in nanoseconds.
        kind: The name of the kind of its shell; empty for what has none.
        shell: The digest of the shell; of a page that MkDocs makes, that of what it made.
        asked: What was asked of the library while it was made.
        found: What was found in it, if it is a page.
        unread: The equations in it that can't be drawn, each with the problem.
        entry: What the search knows of it, if it is found by its words.
    """

    looks: tuple[int, int] = (-1, -1)
    kind: str = ""
    shell: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)
    found: Found | None = None
    unread: tuple[tuple[str, str], ...] = ()
    entry: Entry | None = None


@dataclass(frozen=True)
class Kept:
    """What is kept of a site.

    Attributes:
        key: What all of it depends on: the code, and the settings of the knowledge base.
        settled: What all outputs depend on: settings of mkdocs.yml, and the library's templates.
        front: What MkDocs made, as plain values; None if it must be started each time.
        front_key: What that depends on besides.
        front_asked: What hand-written pages asked of the library.
        by_mkdocs: The files that MkDocs wrote.
        outputs: The files that were made of the library.
        names: The paths that MkDocs reads besides those of the knowledge base.
        environment: The environment variables that mkdocs.yml names.
    """

    key: str = ""
    settled: str = ""
    front: Mapping[str, Any] | None = None
    front_key: str = ""
    front_asked: Mapping[str, str] = field(default_factory=dict)
    by_mkdocs: Mapping[str, Made] = field(default_factory=dict)
    outputs: Mapping[str, Made] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path, key: str) -> Kept:
        """Return what is kept in a file; nothing if it was made under another key."""
        told = stamp.read(file)
        if not isinstance(told, dict) or told.get("key") != key:
            return cls(key)
        try:
            questions = [tuple(one) for one in told.pop("questions")]
            made = {
                name: {path: _made(one, questions) for path, one in told.pop(name).items()}
                for name in ("by_mkdocs", "outputs")
            }
            asked = dict(questions[number] for number in told.pop("front_asked"))
            return cls(**told | made | {"front_asked": asked, "names": tuple(told["names"])})
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            return cls(key)

    def write(self, file: Path) -> None:
        """Keep it in a file."""
        # Most questions are asked of several pages; in a build, each has one answer.
        numbers: dict[tuple[str, str], int] = {}

        def numbered(asked: Mapping[str, str]) -> list[int]:
            return [numbers.setdefault(one, len(numbers)) for one in asked.items()]

        def told(made: Mapping[str, Made]) -> dict[str, Any]:
            return {path: _told(one, numbered(one.asked)) for path, one in made.items()}

        values = {name.name: getattr(self, name.name) for name in dataclasses.fields(self)}
        values["by_mkdocs"], values["outputs"] = told(self.by_mkdocs), told(self.outputs)
        values["front_asked"] = numbered(self.front_asked)
        stamp.write(file, values | {"questions": list(numbers)})


def _told(made: Made, asked: list[int]) -> list[Any]:
    found = made.found and [made.found.path, _BETWEEN.join(sorted(made.found.ids)), _BETWEEN.join(made.found.links)]
    return [list(made.looks), made.kind, made.shell, asked, found, list(made.unread), made.entry and made.entry.tell()]


def _made(told: list[Any], questions: list[tuple[str, str]]) -> Made:
    looks, kind, shell, asked, found, unread, entry = told
    return Made(
        (looks[0], looks[1]),
        kind,
        shell,
        dict(questions[number] for number in asked),
        found and Found(found[0], frozenset(_parted(found[1])), tuple(_parted(found[2]))),
        tuple((equation, problem) for equation, problem in unread),
        entry and Entry.read(entry),
    )


def _parted(joined: str) -> list[str]:
    return joined.split(_BETWEEN) if joined else []
