"""A page of the theme with placeholders, into which generated pages are put.

The theme renders it once for each folder and place in the navigation; a page is then made by joining strings.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from markupsafe import Markup, escape

from quaere.pages.page import Heading, Page
from quaere.site import equations, policy

EDITED = "Qz0EDITz"
"""Stands for the edited file's path in the address of the shell's edit link."""

TITLE = "Qz0TITLEz"
"""Stands for a page's title."""

HEAD = "Qz0HEADz"
"""Stands for what a page's head tells programs."""

# Because of its blanks, whatever makes the page smaller leaves the quotes around it.
DESCRIPTION, CANONICAL = "Qz0 DESCRIPTION z", "https://qz0canonicalz.invalid/"
BODY, FIRST, CONTENTS = "<h1>Qz0BODYz</h1>", "#qz0firstz", "Qz0CONTENTSz"
_PLACES = (TITLE, DESCRIPTION, CANONICAL, EDITED, HEAD, BODY, FIRST, CONTENTS, policy.STYLES, equations.LINKS)
_ID = re.compile(r"\s(?:id|name)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Kind:
    """What tells the shells of a site apart: each page is put into the one of its kind.

    Attributes:
        at: The page's folder, or its path if it stands in the navigation itself.
        hide: What the theme leaves out.
        is_described: Whether the page has a description.
        is_edited: Whether it has a link to edit it.
        has_contents: Whether it has a list of contents.
    """

    at: str
    hide: tuple[str, ...]
    is_described: bool
    is_edited: bool
    has_contents: bool

    @classmethod
    def of(cls, page: Page, at: str) -> Kind:
        """Return the kind of a page."""
        has_contents = bool(page.headings and page.headings[0].below)
        return cls(at, page.hide, bool(page.description), bool(page.source), has_contents)

    @classmethod
    def read(cls, name: str) -> Kind:
        """Return the kind of a name."""
        at, hide, *told = json.loads(name)
        return cls(at, tuple(hide), *told)

    @cached_property
    def name(self) -> str:
        """The kind as text."""
        return json.dumps([self.at, self.hide, self.is_described, self.is_edited, self.has_contents])


@dataclass(frozen=True)
class Contents:
    """Lists of contents as a template of the theme writes them, from what it writes around its values.

    The template is asked once, for two entries, instead of for each heading of each page. `render` stands in where a
    template of the library does something else.
    """

    leaf: tuple[str, ...]
    before: tuple[str, ...]
    between: str
    after: tuple[str, ...]
    render: Callable[[Heading], str] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, render: Callable[[Heading], str]) -> Contents:
        """Make it of a function that renders an entry; its text is HTML."""
        leaf = render(_entry())
        branch = render(_entry(_entry(), _entry()))
        start, end = branch.find(leaf), branch.rfind(leaf)
        parts = (
            _split(leaf),
            _split(branch[:start]),
            branch[start + len(leaf) : end],
            _split(branch[end + len(leaf) :]),
        )
        tried = _entry(_entry(_entry()), _entry(words="a &amp; &lt;b&gt;"), words="&quot; &#x27; &amp;amp;")
        made = cls(*parts)
        is_same = 0 <= start < end and made.entry(tried) == render(tried)
        return made if is_same else cls(*parts, render)

    def entry(self, heading: Heading) -> str:
        """Write a heading, with those below it; its words are HTML, and its id is part of an address."""
        if self.render:
            return self.render(heading)
        label = str(escape(Markup(heading.words).striptags()))
        filled = {_ADDRESS: f"#{heading.id}", _WORDS: heading.words, _LABEL: label}

        def joined(parts: Iterable[str]) -> str:
            return "".join(filled.get(part, part) for part in parts)

        if not heading.below:
            return joined(self.leaf)
        return joined(self.before) + self.between.join(map(self.entry, heading.below)) + joined(self.after)


# The label is the words without their markup.
_ADDRESS, _WORDS, _LABEL = "#qz1addressz", "Qz1<i>WORDS</i>z", "Qz1WORDSz"


def _entry(*below: Heading, words: str = _WORDS) -> Heading:
    return Heading(2, _ADDRESS.removeprefix("#"), words, below)


def _split(written: str) -> tuple[str, ...]:
    return tuple(re.split(f"({_ADDRESS}|{_WORDS}|{_LABEL})", written))


@dataclass(frozen=True)
class Shell:
    """A shell for the pages of one kind: what stands between two places, and each place by its name."""

    parts: tuple[str, ...]
    contents: Contents

    @classmethod
    def of(cls, written: str, contents: Contents) -> Shell:
        """Make a shell of a page of the theme."""
        return cls(tuple(re.split(f"({'|'.join(map(re.escape, _PLACES))})", written)), contents)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Shell:
        """Return a shell that was written by `tell`."""
        leaf, before, between, after = told["contents"]
        return cls(tuple(told["parts"]), Contents(tuple(leaf), tuple(before), between, tuple(after)))

    def tell(self) -> dict[str, Any]:
        """Write a shell as plain values."""
        contents = self.contents
        return {
            "parts": list(self.parts),
            "contents": [list(contents.leaf), list(contents.before), contents.between, list(contents.after)],
        }

    @property
    def is_plain(self) -> bool:
        """Tell whether it can be written."""
        return self.contents.render is None

    @property
    def digest(self) -> str:
        """A digest of it."""
        return hashlib.sha256(json.dumps(self.tell()).encode(errors="surrogatepass")).hexdigest()[:32]

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of the anchors in it."""
        return frozenset(id for part in self.parts for id in _ID.findall(part))

    def fill(self, page: Page, canonical: str, drawn: str, styles: str) -> str:
        """Return a page with the shell around it.

        Args:
            page: The page.
            canonical: Its whole address, if the site has one.
            drawn: Its body with the equations drawn.
            styles: The address of the equations' style sheet from there.
        """
        headings, sheet = page.headings, equations.sheet(drawn)
        filled = {
            TITLE: html.escape(page.title),
            DESCRIPTION: html.escape(page.description),
            CANONICAL: canonical,
            EDITED: page.source or "",
            HEAD: page.head,
            BODY: drawn,
            FIRST: f"#{html.escape(headings[0].id)}" if headings else "#",
            CONTENTS: self._contents(headings[0].below) if headings else "",
            equations.LINKS: equations.links(drawn, styles, sheet),
            policy.STYLES: policy.styles(drawn, sheet),
        }
        return "".join(filled.get(part, part) for part in self.parts)

    def _contents(self, headings: Sequence[Heading]) -> str:
        return "".join(map(self.contents.entry, map(escaped, headings)))


def escaped(heading: Heading) -> Heading:
    """Return a heading with its words as HTML."""
    below = tuple(map(escaped, heading.below))
    return Heading(heading.level, html.escape(heading.id), html.escape(heading.words), below)


def meta(page: Page) -> dict[str, Any]:
    """Return the metadata of a page for the theme and the search, as in MkDocs' front matter."""
    told: dict[str, Any] = {"title": html.escape(page.title)} if page.path != "index.md" else {}
    if page.description:
        told["description"] = html.escape(page.description)
    if page.hide:
        told["hide"] = list(page.hide)
    return told
