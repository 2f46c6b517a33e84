"""A page of the theme with placeholders, into which generated pages are put.

The theme renders it once for each folder and place in the navigation; a page is then made by joining strings.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mkdocs.commands.build import get_context
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page as MkDocsPage
from mkdocs.structure.toc import AnchorLink, TableOfContents

from quaere.errors import ConfigError, Place
from quaere.pages.page import Heading, Page
from quaere.site import policy

EDITED = "Qz0EDITz"
"""Stands for the edited file's path in the address of the shell's edit link."""

TITLE = "Qz0TITLEz"
"""Stands for a page's title."""

# Because of its blanks, whatever makes the page smaller leaves the quotes around it.
_DESCRIPTION, _CANONICAL = "Qz0 DESCRIPTION z", "https://qz0canonicalz.invalid/"
_BODY, _FIRST, _CONTENTS = "<h1>Qz0BODYz</h1>", "#qz0firstz", "Qz0CONTENTSz"
_PLACES = (TITLE, _DESCRIPTION, _CANONICAL, EDITED, _BODY, _FIRST, _CONTENTS, policy.STYLES)


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
        self._entry = environment.get_template("partials/toc-item.html")
        self._context: Mapping[str, Any] = {"config": config}
        written = written.replace(self._entries([entry]).strip(), _CONTENTS)
        if written.count(_BODY) != 1 or "qz0entryz" in written:
            problem = "a plugin changes the theme's pages, so that those of the cards can't be filled in"
            raise ConfigError(Place("mkdocs.yml", 0), problem, "leave out plugins that rewrite HTML, such as minify")
        # What stands between two places, and each place by its name.
        self._parts: list[str] = re.split(f"({'|'.join(map(re.escape, _PLACES))})", written)

    def fill(self, page: Page, canonical: str) -> str:
        """Return a page with the shell around it; `canonical` is its whole address, if the site has one."""
        headings = page.headings
        filled = {
            TITLE: html.escape(page.title),
            _DESCRIPTION: html.escape(page.description),
            _CANONICAL: canonical,
            EDITED: page.source or "",
            _BODY: page.body,
            _FIRST: f"#{html.escape(headings[0].id)}" if headings else "#",
            _CONTENTS: self._entries(list(map(anchor, headings[0].below))) if headings else "",
            policy.STYLES: policy.styles(page.body),
        }
        return "".join(filled.get(part, part) for part in self._parts)

    def _entries(self, links: Sequence[AnchorLink]) -> str:
        return "".join(self._entry.render({**self._context, "toc_item": link}) for link in links)


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
