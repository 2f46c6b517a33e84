"""Pages that MkDocs makes: those written by hand, and those that document modules.

Both may hold wikilinks and comments that stand for generated parts. MkDocs leaves places for them, which are filled
after its run: so it need not run again when a card changes, and Python-Markdown does not process the texts of cards.
"""

from __future__ import annotations

import hashlib
import html
import json
import posixpath
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

from quaere.content import addresses
from quaere.content.wikilinks import PART
from quaere.pages import render
from quaere.pages.markup import Ids
from quaere.pages.page import ids
from quaere.pages.view import Here, View
from quaere.site import equations, policy
from quaere.site.equations import Equations
from quaere.site.shell import DESCRIPTION

_LINK = r"\[\[(?P<link>[^\[\]\n]+?)\]\]"
_PLACE = re.compile(r"<!--quaere:link (\S*?)-->")
_ESCAPED = re.compile("\x02(\\d+)\x03")
# The text of a link or a picture around a wikilink: it has been opened, and is closed before an address or a reference.
_LABEL = re.compile(r"(?<!\[)\[(?!\[)[^\[\]]*\Z")
_LABEL_END = re.compile(r"[^\[\]]*\](?=[(\[])")
_IMAGE = re.compile(r'<img\s[^>]*?\bsrc="(?P<src>[^"]*)"[^>]*>')
_BODY = "<!--qz0BODYz-->"
_START, _END = "Qz0STARTz", "<i>Qz0ENDz</i>"
_MARKED = re.compile(rf"<(i|h1)>{_START}</\1>(.*?){_END}", re.DOTALL)
# After code, escapes and mathematics, before Markdown's own links.
_PRIORITY = 175


@dataclass(frozen=True)
class Written:
    """A page as MkDocs made it, without what it shows of the library.

    Attributes:
        path: The page.
        title: Its title, plain text.
        description: What it is about, plain text; empty if it doesn't say, and of a module.
        module: The module that it documents; empty for a page written by hand.
        is_found: Whether the search finds it.
        page: The whole page, with a placeholder for its content.
        content: Its content, with places for wikilinks and generated parts; of a module, its documentation.
    """

    path: str
    title: str
    description: str
    module: str
    is_found: bool
    page: str
    content: str

    @classmethod
    def of(cls, page: str, **told: Any) -> Written | None:
        """Split a page whose content is `marked`; None if the marks are gone."""
        found = _MARKED.search(page)
        return found and cls(page=f"{page[: found.start()]}{_BODY}{page[found.end() :]}", content=found[2], **told)

    @classmethod
    def read(cls, told: str) -> Written:
        """Return what was written by `tell`."""
        return cls(**json.loads(told))

    def tell(self) -> str:
        """Write it as text."""
        return json.dumps(asdict(self))

    @property
    def digest(self) -> str:
        """A digest of it."""
        return hashlib.sha256(self.tell().encode()).hexdigest()[:32]

    def shown(self, view: View) -> tuple[str, str]:
        """Make its content of a library; return it as HTML, and what it is about as plain text."""
        content = _filled(view, self.path, self.content)
        if not self.module:
            return content, self.description
        made = render.module(view, self.module, content)
        return made.body, made.description

    def fill(self, view: View, body: str, description: str, draw: Equations, *, is_served: bool) -> str:
        """Put what it shows into the page, draw the flowcharts and the equations, and complete its head."""
        page = self.page.replace(DESCRIPTION, html.escape(description)) if self.module else self.page
        drawn = draw.drawn(render.with_flowcharts(view, page.replace(_BODY, body)))
        folder = posixpath.dirname(addresses.file(self.path, view.has_folders))
        sheet, styles = equations.sheet(drawn), posixpath.relpath(equations.STYLES, folder or ".")
        written = equations.put(drawn, equations.links(drawn, styles, sheet))
        written = equations.put(written, render.headed(view, self.path, self.title, description))
        return policy.put(written, self.page, policy.styles(drawn, sheet), is_served=is_served)


def marked(content: str, *, is_module: bool) -> str:
    """Mark where the content of a page begins and ends; of a module, where its heading will stand."""
    tag = "h1" if is_module else "i"
    return f"<{tag}>{_START}</{tag}>{content}{_END}"


def has_parts(content: str) -> bool:
    """Return whether a page's HTML has generated parts, and so anchors that nobody knows yet."""
    return PART.search(content) is not None


class Wikilinks(Extension):
    """Leaves places for `[[card]]`, `[[card.question]]` and `[[card|text]]`.

    In a heading, which the contents, the navigation and its address repeat, they are shown as they are now; `here`
    returns the page that is being read.
    """

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
        # In a table, a bar is written with a backslash, for which Python-Markdown keeps the sign's number by now.
        link = _ESCAPED.sub(lambda found: chr(int(found[1])), self.unescape(m[0]))
        if _LABEL.search(data[: m.start()]) and _LABEL_END.match(data[m.end() :]):
            return self._here().said(link), m.start(), m.end()  # a link stands in no link, and none in a picture's text
        around: Any = self.md.treeprocessors["inline"]
        is_heading = any(re.fullmatch("h[1-6]", tag) for tag in around.ancestors)
        shown = str(self._here().inline(link)) if is_heading else f"<!--quaere:link {quote(link, safe='')}-->"
        return self.md.htmlStash.store(shown), m.start(), m.end()


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


def _filled(view: View, path: str, content: str) -> str:
    """Insert wikilinks and generated parts; a comment that names no known part stays."""
    here = Here(view, path)
    # Of the parts of a page no two may have the same ids, nor those of the page itself.
    taken = Ids(set(ids(content)))

    def part(found: re.Match[str]) -> str:
        template = render.PARTS.get(found["name"])
        of, is_whole = found["of"] or "", template is not None
        if found["name"] == "question":
            is_whole = of in view.library.questions
        elif found["name"] == "figure":
            is_whole = view.library.figure(of) is not None
        return render.part(view, template, path, found["of"], taken) if template and is_whole else found[0]

    linked = _PLACE.sub(lambda found: str(here.inline(unquote(found[1]))), content)
    return PART.sub(part, linked)
