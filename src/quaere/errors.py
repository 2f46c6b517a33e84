"""Errors that an author can correct: where, what, and how to correct them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

_FEW = 12
_COMPARED = 200
_LONGEST = 200
# What a terminal obeys, what turns the direction of words, breaks lines, or is half a character.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, order=True)
class Place:
    """A spot in a file: line and column count from 1; `at` is the path inside the document, as in `$.questions[1]`.

    Line 0 stands for no spot: what is at fault is a folder, or a distribution.
    """

    file: str
    line: int = 1
    column: int = 1
    at: str = ""

    def __str__(self) -> str:
        file = visible(self.file).replace("\n", "\\n").replace("\t", "\\t")
        return f"{file}:{self.line}:{self.column}" if self.line else file


class Severity(StrEnum):
    """How much a finding matters, the most first.

    An error keeps a site from being built. A warning is most likely a mistake. A remark may be worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    REMARK = "remark"


class AuthorError(Exception):
    """A finding in an author's file; shown as place, problem, path and hint, never as a traceback.

    Attributes:
        place: Where.
        problem: What.
        hint: How to correct it.
        severity: How much it matters.
        rule: The name of what is not kept to, as in `duplicate-tag`.
    """

    kind = "files"

    def __init__(
        self, place: Place, problem: str, hint: str = "", *, severity: Severity = Severity.ERROR, rule: str = ""
    ) -> None:
        super().__init__(place, problem, hint)
        self.place, self.problem, self.hint = place, problem, hint
        self.severity, self.rule = severity, rule or self.kind

    def __str__(self) -> str:
        path = f" (at {self.place.at})" if self.place.at else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        place = f"{self.place}: " if self.place.file else ""
        severity = "" if self.severity is Severity.ERROR else f"{self.severity}: "
        return visible(f"{severity}{place}{self.problem}{path}{hint}")


class CardError(AuthorError):
    """An error in a card."""

    kind = "card"


class BibError(AuthorError):
    """An error in the bibliography."""

    kind = "bibliography"


class AnswerError(AuthorError):
    """An error in an answer in the implementation's docstrings."""

    kind = "answer"


class ResultError(AuthorError):
    """An error in a file of results."""

    kind = "result"


class PrivacyError(AuthorError):
    """Something that everybody sees leads to something private."""


class PageError(AuthorError):
    """An error in a page, hand-written or generated."""

    kind = "page"


class ConfigError(AuthorError):
    """An error in the `[tool.quaere]` table, mkdocs.yml or a template."""

    kind = "settings"


class WriteError(AuthorError):
    """A file can't be written."""

    @classmethod
    def refused(cls, path: Path, error: OSError) -> WriteError:
        """Make the error from an `OSError`."""
        problem = f"this can't be written: {error.strerror or error}"
        return cls(Place(str(path), 0), problem, "check the disk, and who owns the folder")


class MisuseError(ConfigError):
    """A command was called in, or on, a folder that it can't be used with."""


class PluginError(AuthorError):
    """A plugin can't be loaded, or failed."""

    kind = "plugin"


class Faults(Exception):  # noqa: N818  (a report, not one error)
    """All the errors that one run found, in the order of their places."""

    def __init__(self, errors: Iterable[AuthorError]) -> None:
        self.errors: Sequence[AuthorError] = sorted(errors, key=lambda error: (error.place, error.problem))
        super().__init__(*self.errors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


def visible(text: str, quoted: Callable[[str], str] = ascii) -> str:
    """Return a text with escapes, as in `\\x1b`, for the characters that control a terminal.

    Args:
        text: The text.
        quoted: Writes a character between quotes, escaped.
    """
    return _UNSEEN.sub(lambda sign: quoted(sign[0])[1:-1], text)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest of the `known` words, or all if they are few; empty if neither helps."""
    if len(word) > _LONGEST:
        return ""
    known, likely = _known(tuple(known))
    # What shares most pairs of letters is compared, of many words: comparing all takes a second a word.
    shared = Counter(name for pair in _pairs(word) for name in likely.get(pair, ()))
    compared = [name for name, _ in shared.most_common(_COMPARED)] if len(known) > _COMPARED else known
    near = get_close_matches(word, sorted(compared), n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"`{candidate}`" for candidate in near) + "?"
    return f"known: {', '.join(f'`{name}`' for name in known)}" if 0 < len(known) <= _FEW else ""


@lru_cache(maxsize=8)
def _known(names: tuple[str, ...]) -> tuple[Sequence[str], Mapping[str, Sequence[str]]]:
    """Return words that are no longer than words are, in order, and which of them hold each pair of letters."""
    words = sorted({name for name in names if len(name) <= _LONGEST})
    holding: dict[str, list[str]] = {}
    if len(words) > _COMPARED:
        for one in words:
            for pair in _pairs(one):
                holding.setdefault(pair, []).append(one)
    return words, holding


def _pairs(word: str) -> set[str]:
    marked = f"^{word}$"
    return {marked[at : at + 2] for at in range(len(marked) - 1)}
