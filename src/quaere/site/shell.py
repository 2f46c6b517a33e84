"""A page of the theme with placeholders, into which generated pages are put.

The theme renders it once for each folder and place in the navigation; a page is then made by joining strings.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape
from mkdocs.commands.build import get_context
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page as MkDocsPage
from mkdocs.structure.toc import AnchorLink, TableOfContents

from quaere.errors import ConfigError, Place
from quaere.pages.page import Heading, Page
from quaere.site import equations, policy

EDITED = "Qz0EDITz"
"""Stands for the edited file's path in the address of the shell's edit link."""

TITLE = "Qz0TITLEz"
"""Stands for a page's title."""

HEAD = "Qz0HEADz"
"""Stands for what a page's head tells programs."""

# Because of its blanks, whatever makes the page smaller leaves the quotes around it.
_DESCRIPTION, _CANONICAL = "Qz0 DESCRIPTION z", "https://qz0canonicalz.invalid/"
_BODY, _FIRST, _CONTENTS = "<h1>Qz0BODYz</h1>", "#qz0firstz", "Qz0CONTENTSz"
_PLACES = (TITLE, _DESCRIPTION, _CANONICAL, EDITED, HEAD, _BODY, _FIRST, _CONTENTS, policy.STYLES, equations.LINKS)


class Shell:
    """A shell for the pages of one folder that have the same place in the navigation."""

    def __init__(
        self,
        page: MkDocsPage,
        nav: Navigation,
        files: Sequence[File],
        config: MkDocsConfig,
        environment: Any,
        like: Page,
    ) -> None:
        """Have the theme make a shell.

        Args:
            page: A page at the wanted place; what it holds is lost.
            nav: The navigation.
            files: The pages that MkDocs makes.
            config: The configuration.
            environment: The theme's templates.
            like: A page to be filled in: the shell has an edit link, a description and a list of contents if it has.
        """
        page.markdown, page.content = "", _BODY
        page.meta = {"search": {"exclude": True}, **meta(like)}
        if "title" in page.meta:
            page.meta["title"] = TITLE
        if like.description:
            page.meta["description"] = _DESCRIPTION
        if page.canonical_url:
            page.canonical_url = _CANONICAL
        entry = AnchorLink(_CONTENTS, "qz0entryz", 2)
        first = AnchorLink(TITLE, _FIRST.removeprefix("#"), 1)
        first.children = [entry] if like.headings and like.headings[0].below else []
        page.toc = TableOfContents([first])
        page.active = True
        try:
            context: Any = get_context(nav, files, config, page)
            context = config.plugins.on_page_context(context, page=page, config=config, nav=nav)
            written = environment.get_template("main.html").render(context)
            written = config.plugins.on_post_page(written, page=page, config=config)
        finally:
            page.active = False
        self._contents = Contents(environment.get_template("partials/toc-item.html"), {"config": config})
        written = written.replace(self._contents.entries([entry]).strip(), _CONTENTS)
        if written.count(_BODY) != 1 or "qz0entryz" in written:
            problem = "a plugin changes the theme's pages, so that those of the cards can't be filled in"
            raise ConfigError(Place("mkdocs.yml", 0), problem, "leave out plugins that rewrite HTML, such as minify")
        # What stands between two places, and each place by its name.
        self._parts: list[str] = re.split(f"({'|'.join(map(re.escape, _PLACES))})", written)

    def fill(self, page: Page, canonical: str, drawn: str, styles: str) -> str:
        """Return a page with the shell around it.

        Args:
            page: The page.
            canonical: Its whole address, if the site has one.
            drawn: Its body with the equations drawn.
            styles: The address of the equations' style sheet from there.
        """
        headings = page.headings
        filled = {
            TITLE: html.escape(page.title),
            _DESCRIPTION: html.escape(page.description),
            _CANONICAL: canonical,
            EDITED: page.source or "",
            HEAD: page.head,
            _BODY: drawn,
            _FIRST: f"#{html.escape(headings[0].id)}" if headings else "#",
            _CONTENTS: self._contents.entries(list(map(anchor, headings[0].below))) if headings else "",
            equations.LINKS: equations.links(drawn, styles),
            policy.STYLES: policy.styles(page.body, equations.sheet(drawn)),
        }
        return "".join(filled.get(part, part) for part in self._parts)


class Contents:
    """Writes lists of contents as a template of the theme does, from what the template writes around its values.

    The template is asked once, for two entries, instead of for each heading of each page.
    """

    def __init__(self, template: Any, context: Mapping[str, Any]) -> None:
        self._template, self._context = template, context
        self._leaf = self._split(leaf := self._render(_entry()))
        branch = self._render(_entry(_entry(), _entry()))
        start, end = branch.find(leaf), branch.rfind(leaf)
        self._open, self._close = self._split(branch[:start]), self._split(branch[end + len(leaf) :])
        self._between = branch[start + len(leaf) : end]
        tried = _entry(_entry(_entry()), _entry(words="a &amp; &lt;b&gt;"), words="&quot; &#x27; &amp;amp;")
        # A template of the library may do what it likes.
        self._is_known = 0 <= start < end and self._written(tried) == self._render(tried)

    def entries(self, links: Sequence[AnchorLink]) -> str:
        """Return the entries of some headings, and of those below them."""
        return "".join(map(self._written if self._is_known else self._render, links))

    def _render(self, link: AnchorLink) -> str:
        return str(self._template.render({**self._context, "toc_item": link}))

    @staticmethod
    def _split(written: str) -> list[str]:
        return re.split(f"({_ADDRESS}|{_WORDS}|{_LABEL})", written)

    def _written(self, link: AnchorLink) -> str:
        filled = {_ADDRESS: link.url, _WORDS: link.title, _LABEL: str(escape(Markup(link.title).striptags()))}

        def joined(parts: Iterable[str]) -> str:
            return "".join(filled.get(part, part) for part in parts)

        if not link.children:
            return joined(self._leaf)
        return joined(self._open) + self._between.join(map(self._written, link.children)) + joined(self._close)


# The label is the words without their markup.
_ADDRESS, _WORDS, _LABEL = "#qz1addressz", "Qz1<i>WORDS</i>z", "Qz1WORDSz"


def _entry(*below: AnchorLink, words: str = _WORDS) -> AnchorLink:
    link = AnchorLink(words, _ADDRESS.removeprefix("#"), 2)
    link.children = list(below)
    return link


def meta(page: Page) -> dict[str, Any]:
    """Return the metadata of a page for the theme and the search, as in MkDocs' front matter."""
    told: dict[str, Any] = {"title": html.escape(page.title)} if page.path != "index.md" else {}
    if page.description:
        told["description"] = html.escape(page.description)
    if page.hide:
        told["hide"] = list(page.hide)
    return told


def anchor(heading: Heading) -> AnchorLink:
    """Return a heading in MkDocs' own form."""
    link = AnchorLink(html.escape(heading.words), html.escape(heading.id), heading.level)
    link.children = list(map(anchor, heading.below))
    return link
