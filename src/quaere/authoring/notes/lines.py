"""The lines of a note: what each is, and what has become of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
# Older Markdown wants no blank behind the hashes; one hash alone begins a tag, unless a link follows.
_TIGHT = re.compile(r"^ {0,3}(#{2,6}(?=[^\s#\[]|\[[^\[])|#(?=\[[^\[]))(.*?)[ \t]*#*[ \t]*$")
_BULLET = re.compile(r"^([ \t]*)([-*+]|\d{1,3}[.)])[ \t]+(?:\[([ xX])\][ \t]+)?(.*?)[ \t]*$")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})")
_RULE = re.compile(r"^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")


class Kind(StrEnum):
    """What a line is."""

    BLANK = "blank"
    HEADING = "heading"
    BULLET = "bullet"
    QUOTE = "quote"
    TABLE = "table"
    RULE = "rule"
    TEXT = "text"
    VERBATIM = "verbatim"  # in a fence, displayed mathematics or a comment: nothing in it is read


@dataclass(frozen=True)
class Line:
    """A line of a file.

    Attributes:
        number: Its number, from 1.
        text: The line as it was written.
        kind: What it is.
        depth: The level of a heading, or the indentation of a bullet.
        words: The text of a heading or a bullet without its mark; of others, the line without blanks around it.
        is_ticked: Of a bullet with a checkbox, whether it is ticked; None without one.
    """

    number: int
    text: str
    kind: Kind
    depth: int = 0
    words: str = ""
    is_ticked: bool | None = None


def scan(text: str) -> list[Line]:
    """Return the lines of a note."""
    return list(_scan(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")))


def _scan(lines: Sequence[str]) -> Iterator[Line]:
    closing: re.Pattern[str] | None = None
    for number, text in enumerate(lines, 1):
        if closing:
            yield Line(number, text, Kind.VERBATIM)
            if closing.search(text):
                closing = None
            continue
        words = text.strip()
        if fence := _FENCE.match(text):
            closing = re.compile(rf"^[ \t]*{re.escape(fence[1][0])}{{{len(fence[1])},}}[ \t]*$")
        elif words.startswith("$$") and "$$" not in words[2:]:
            closing = re.compile(r"\$\$\s*$")
        elif words.startswith("<!--") and "-->" not in words:
            closing = re.compile("-->")
        if closing or (words.startswith("<!--") and words.endswith("-->")):
            yield Line(number, text, Kind.VERBATIM)
        elif not words:
            yield Line(number, text, Kind.BLANK)
        elif heading := _HEADING.match(text) or _TIGHT.match(text):
            yield Line(number, text, Kind.HEADING, len(heading[1]), heading[2].strip())
        elif _RULE.match(text):
            yield Line(number, text, Kind.RULE)
        elif bullet := _BULLET.match(text):
            depth = indent(text)
            ticked = None if bullet[3] is None else bullet[3] in "xX"
            yield Line(number, text, Kind.BULLET, depth, bullet[4], ticked)
        elif words.startswith(">"):
            yield Line(number, text, Kind.QUOTE, words=words[1:].strip())
        elif words.startswith("|") and words.endswith("|") and len(words) > 1:
            yield Line(number, text, Kind.TABLE, words=words.strip("|"))
        else:
            yield Line(number, text, Kind.TEXT, words=words)


def indent(text: str) -> int:
    """Return how far a line is indented, a tab as four blanks."""
    bare = _spaced(text)
    return len(bare) - len(bare.lstrip(" "))


def dedented(texts: Sequence[str]) -> list[str]:
    """Return lines without the indentation that all of them have."""
    bare = [_spaced(text) for text in texts]
    least = min((indent(text) for text in bare if text.strip()), default=0)
    return [text[least:] for text in bare]


def _spaced(text: str) -> str:
    return text.replace("\t", "    ")


@dataclass(frozen=True)
class Fate:
    """What has become of a line: the part of the card that it went to, or why it was left out.

    Attributes:
        file: The file.
        line: The number of the line.
        to: `notes`, or a field such as `title` or `questions.why-scale`; empty for what was left out.
        why: Why it was left out; empty otherwise.
    """

    file: str
    line: int
    to: str
    why: str = ""
