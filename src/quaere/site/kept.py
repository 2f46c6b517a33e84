"""What is known of the last build of a site, so that the next one makes only what has changed.

It is read from one file, whose content is trusted only if its digest is right and if the same code made it.
"""

from __future__ import annotations

import dataclasses
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from quaere import stamp
from quaere.pages.search import Entry
from quaere.site.links import Found

Numbers: TypeAlias = "array[int]"


class Questions:
    """What was asked of a library, each question with its answer and by a number: most are asked many times."""

    def __init__(self, told: Iterable[tuple[str, str]] = ()) -> None:
        self.answers = dict(told)
        self._numbers = {question: number for number, question in enumerate(self.answers)}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, notes: Mapping[str, str]) -> Numbers:
        """Add what was asked and answered now; return the numbers of the questions."""
        self.answers |= notes
        return array("I", [self._numbers.setdefault(question, len(self._numbers)) for question in notes])

    def changed(self, now: Mapping[str, str]) -> frozenset[int]:
        """Return the numbers of the questions that have another answer now, or none."""
        return frozenset(
            number for number, (question, answer) in enumerate(self.answers.items()) if now.get(question) != answer
        )

    def only(self, asked: Iterable[Numbers]) -> tuple[Questions, dict[int, int]]:
        """Return those of some numbers, and the new numbers by the old ones."""
        used = set().union(*asked)
        left = [(number, told) for number, told in enumerate(self.answers.items()) if number in used]
        return Questions(told for _, told in left), {old: new for new, (old, _) in enumerate(left)}


class Made(NamedTuple):
    """A file of the site as it was written.

    Attributes:
        looks: Its size, and the time of its last change in nanoseconds.
        kind: The name of the kind of its shell; empty for what has none.
        shell: The digest of the shell; of a page that MkDocs makes, that of what it made.
        asked: What was asked of the library while it was made, by numbers.
        found: What was found in it, if it is a page.
        unread: The equations in it that can't be drawn, each with the problem.
        entry: What the search knows of it, if it is found by its words.
    """

    looks: tuple[int, int] = (-1, -1)
    kind: str = ""
    shell: str = ""
    asked: Numbers = array("I")
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
        questions: What was asked while they were made.
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
    questions: Questions = field(default_factory=Questions)
    names: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path, key: str) -> Kept:
        """Return what is kept in a file; nothing if it was made under another key."""
        lines = stamp.read_all(file)
        told = next(lines, None)
        if not isinstance(told, dict) or told.get("key") != key:
            return cls(key)
        try:
            questions = Questions((question, answer) for question, answer in next(lines))
            made: tuple[dict[str, Made], dict[str, Made]] = {}, {}
            for is_output, path, *one in lines:
                made[is_output][path] = _made(one, len(questions))
            by_mkdocs, outputs = made
            names = tuple(told.pop("names"))
            return cls(**told, by_mkdocs=by_mkdocs, outputs=outputs, questions=questions, names=names)
        except (StopIteration, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
            return cls(key)

    def write(self, file: Path) -> None:
        """Keep it in a file."""
        stamp.write_all(file, self._lines())

    def _lines(self) -> Iterator[Any]:
        """Yield it in small parts: all of it at once would fill the memory."""
        long = ("by_mkdocs", "outputs", "questions")
        yield {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name not in long}
        questions, numbers = self.questions.only(one.asked for one in self.outputs.values())
        yield list(questions.answers.items())
        for is_output, made in enumerate((self.by_mkdocs, self.outputs)):
            yield from ([is_output, path, *_told(one, numbers)] for path, one in made.items())


def _told(made: Made, numbers: Mapping[int, int]) -> list[Any]:
    asked = [numbers[number] for number in made.asked]
    return [made.looks, made.kind, made.shell, asked, made.found, made.unread, made.entry and made.entry.tell()]


def _made(told: list[Any], most: int) -> Made:
    looks, kind, shell, asked, found, unread, entry = told
    if asked and max(asked) >= most:
        raise IndexError
    return Made(
        (looks[0], looks[1]),
        sys.intern(kind),
        sys.intern(shell),
        array("I", asked),
        found and Found(*found),
        tuple((equation, problem) for equation, problem in unread),
        entry and Entry.read(entry),
    )
