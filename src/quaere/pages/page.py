"""A page: the body that is put into the site's shell, and its metadata."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from quaere.content.bibliography.tex import Run, Text

_HEADING = re.compile(r'<h([1-6]) id="([^"]+)"[^>]*>(.*?)</h\1>', re.DOTALL)
_TAG = re.compile(r'</?[a-z][^\s/<>]*((?:\s+[^\s=<>/]+(?:="[^"]*")?)*)\s*/?>')
_SELF = re.compile(r'<a class="headerlink"[^>]*>#</a>')
_MATHEMATICS = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_ID = re.compile(r'\sid="([^"]+)"')


@dataclass(frozen=True)
class Heading:
    """A heading with the headings below it; `words` are plain text."""

    level: int
    id: str
    words: str
    below: tuple[Heading, ...] = ()


@dataclass(frozen=True)
class Page:
    """A page of the site.

    Attributes:
        path: Its name, as `content.addresses` gives it.
        title: Plain text.
        body: HTML, with its `<h1>`.
        description: Plain text, for search engines; empty for none.
        source: The file that is edited to change it; None for a page made of many.
        hide: What the theme leaves out on it: `navigation`, `toc`.
        head: HTML for the page's head.
        is_searched: Whether the search finds it.
    """

    path: str
    title: str
    body: str
    description: str = ""
    source: str | None = None
    hide: tuple[str, ...] = ()
    head: str = ""
    is_searched: bool = True

    @cached_property
    def headings(self) -> tuple[Heading, ...]:
        """The headings down to the fourth level, as a tree."""
        found = ((int(level), id, _words(inner)) for level, id, inner in _HEADING.findall(self.body))
        return _tree([Heading(level, id, words) for level, id, words in found if level <= 4])

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of all anchors in the page."""
        return ids(self.body)


def ids(body: str) -> frozenset[str]:
    """Return the ids of all anchors in some HTML."""
    return frozenset(map(html.unescape, _ID.findall("".join(_TAG.findall(body)))))


def _words(inner: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", _SELF.sub("", unicode_mathematics(inner)))).split())


def unicode_mathematics(body: str) -> str:
    """Return HTML with the mathematics of its lines as Unicode, for where none is drawn."""
    return _MATHEMATICS.sub(lambda found: html.escape(unicode_equation(html.unescape(found[1]))), body)


@lru_cache(maxsize=4096)
def unicode_equation(equation: str) -> str:
    """Return an equation as Unicode, as far as Unicode has it."""
    return Text([Run(equation, is_math=True)]).plain


def _tree(flat: Sequence[Heading]) -> tuple[Heading, ...]:
    """Put each heading below the last one of a lower level; from the end on, so that each is moved once a level."""
    waiting: list[Heading] = []  # the first one last
    for one in reversed(flat):
        below = []
        while waiting and waiting[-1].level > one.level:
            below.append(waiting.pop())
        waiting.append(Heading(one.level, one.id, one.words, tuple(below)))
    return tuple(reversed(waiting))
