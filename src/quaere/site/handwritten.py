"""Wikilinks, and generated parts by a comment, in hand-written pages and docstrings.

They show texts of cards, which Python-Markdown must not process: the HTML of `pages` is inserted unchanged.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

from quaere.content.wikilinks import PART
from quaere.pages import render
from quaere.pages.view import Here, View

_LINK = r"\[\[(?P<link>[^\[\]\n]+?)\]\]"
_IMAGE = re.compile(r'<img\s[^>]*?\bsrc="(?P<src>[^"]*)"[^>]*>')
# After code, escapes and mathematics, before Markdown's own links.
_PRIORITY = 175


class Wikilinks(Extension):
    """Shows `[[card]]`, `[[card.question]]` and `[[card|text]]`; `here` returns the page that is being read."""

    def __init__(self, here: Callable[[], Here]) -> None:
        super().__init__()
        self._here = here

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802  (Python-Markdown's own name)
        """Register the processor."""
        md.inlinePatterns.register(_Wikilink(md, self._here), "quaere-wikilinks", _PRIORITY)


class _Wikilink(InlineProcessor):
    def __init__(self, md: Markdown, here: Callable[[], Here]) -> None:
        super().__init__(_LINK, md)
        self._here = here

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element | str | None, int | None, int | None]:  # type: ignore[override]  # noqa: N802
        if data.rfind("<", 0, m.start()) > data.rfind(">", 0, m.start()):
            return None, None, None  # inside a tag
        # In a table, a bar is written with a backslash.
        shown = self._here().inline(m[0].replace("\\|", "|"))
        return self.md.htmlStash.store(str(shown)), m.start(), m.end()


def sized(view: View, url: str, content: str) -> str:
    """Give each image of the library on a page its width and height, so that nothing moves once it is there.

    Args:
        view: The library.
        url: The page's address from the home of the site.
        content: Its HTML.
    """

    def image(found: re.Match[str]) -> str:
        source = unquote(urlsplit(html.unescape(found["src"])).path)
        size = view.library.sizes.get(posixpath.normpath(posixpath.join(posixpath.dirname(url), source)))
        is_sized = re.search(r"\s(?:width|height)=", found[0])
        return found[0] if is_sized or not size else f'<img width="{size[0]}" height="{size[1]}"{found[0][4:]}'

    return _IMAGE.sub(image, content)


def fill(view: View, path: str, content: str) -> str:
    """Insert the generated parts into a page's HTML; a comment that names no known part stays."""

    def part(found: re.Match[str]) -> str:
        template = render.PARTS.get(found["name"])
        of, is_whole = found["of"] or "", template is not None
        if found["name"] == "question":
            is_whole = of in view.library.questions
        elif found["name"] == "figure":
            is_whole = view.library.figure(of) is not None
        return render.part(view, template, path, found["of"]) if template and is_whole else found[0]

    return PART.sub(part, content)
