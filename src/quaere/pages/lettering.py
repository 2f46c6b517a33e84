"""How wide words are when a browser shows them, as far as that can be told without its fonts.

The site has no font of its own. The widths are between those of Helvetica and of DejaVu Sans: whoever draws a box
around words leaves some room at their sides.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_EMS = {
    char: width
    for width, chars in (
        (0.26, "ijl|'.,:;!ıˈ"),
        (0.35, 'ftrI()[]{}/\\-`" ·'),
        (0.52, "ckszvxyJ?_^*"),
        (0.84, "mwMW@%—→←…"),
    )
    for char in chars
}
_LOWER, _UPPER, _WIDE = 0.59, 0.69, 1.0


@lru_cache(10_000)
def width(text: str, size: float) -> float:
    """Return the width of a line in letters of a size."""
    return size * sum(map(_em, text))


def _em(char: str) -> float:
    if (known := _EMS.get(char)) is not None:
        return known
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn"):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return _WIDE
    return _UPPER if char.isupper() else _LOWER


def wrap(text: str, limit: float, size: float, most: int) -> list[str]:
    """Break a text into lines.

    Args:
        text: The text; a line break in it stays.
        limit: The width that a line should keep to. A word that is wider is broken.
        size: The size of the letters.
        most: The most lines. If there would be more, the last one ends in an ellipsis.
    """
    lines = [line for paragraph in text.split("\n") for line in _even(paragraph, limit, size)]
    if len(lines) > most:
        last = lines[most - 1]
        while last and width(last + "…", size) > limit:
            last = last[:-1]
        lines = [*lines[: most - 1], last.rstrip() + "…"]
    return lines


def _even(text: str, limit: float, size: float) -> list[str]:
    """Return the lines of a paragraph, about as long as one another."""
    lines = list(_lines(text, limit, size))
    if len(lines) == 1:
        return lines
    for share in (0.6, 0.7, 0.8, 0.9):
        even = list(_lines(text, share * limit, size))
        if len(even) == len(lines):
            return even
    return lines


def _lines(text: str, limit: float, size: float) -> Iterator[str]:
    line, reached = "", 0.0
    blank = width(" ", size)
    for word in text.split():
        for part in _parts(word, limit, size):
            long = width(part, size)
            if line and reached + blank + long > limit:
                yield line
                line, reached = part, long
            else:
                line, reached = (f"{line} {part}", reached + blank + long) if line else (part, long)
    yield line


def _parts(word: str, limit: float, size: float) -> Iterator[str]:
    """Yield a word, in pieces if it is wider than a line."""
    start, reached = 0, 0.0
    for index, char in enumerate(word):
        long = size * _em(char)
        if reached + long > limit and index > start:
            yield word[start:index]
            start, reached = index, 0.0
        reached += long
    yield word[start:]
