"""Find the dead links of a built site, and where their authors wrote them."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from quaere.content import addresses
from quaere.content.model import Library
from quaere.errors import AuthorError, PageError, Place, nearest

_BODY = re.compile(r"<article\b.*</article>", re.DOTALL)
_LINK = re.compile(
    r"""<(?:a|img|source|video|audio)\b[^<>]*?\s(?:href|src)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""",
    re.DOTALL | re.IGNORECASE,
)
# To look for one blank is three times as fast as to look for any.
_ID = re.compile(r" (?:id|name)=\"([^\"]+)\"")
# What belongs to an address, in Markdown, beside a part of it.
_BEFORE, _AFTER = re.compile(r"[^\s()<>\[\]\"'`]*\Z"), re.compile(r"[^\s()<>\[\]\"'`]*")


# No id and no address holds it.
_BETWEEN = "\x1f"


class Found(NamedTuple):
    """What a page of the site has to do with others; it is as short as can be, since a site has many of them.

    Attributes:
        path: The page's path, as `content.addresses` gives it; empty for a page that is no library's.
        anchors: The ids of its anchors, one after another.
        addresses: The addresses of the links and pictures in its body.
    """

    path: str
    anchors: str
    addresses: str

    @classmethod
    def of(cls, path: str, ids: Iterable[str], links: Iterable[str]) -> Found:
        """Return what a page holds."""
        return cls(path, _BETWEEN.join(sorted(ids)), _BETWEEN.join(links))

    @property
    def ids(self) -> frozenset[str]:
        """The ids of its anchors."""
        return _parted(self.anchors)

    @property
    def links(self) -> tuple[str, ...]:
        """The addresses of the links and pictures in its body."""
        return tuple(self.addresses.split(_BETWEEN)) if self.addresses else ()


@lru_cache(maxsize=256)
def _parted(joined: str) -> frozenset[str]:
    return frozenset(joined.split(_BETWEEN)) if joined else frozenset()


def found(path: str, page: str, body: str | None = None, ids: frozenset[str] = frozenset()) -> Found:
    """Look through a page.

    Args:
        path: The page's path.
        page: The page.
        body: Its body; without it, the page's article.
        ids: Ids around the body, if it is all that is looked through.
    """
    if body is None:
        article = _BODY.search(page)
        body, anchors = article[0] if article else "", page
    else:
        anchors = body
    hrefs = dict.fromkeys(map(html.unescape, map("".join, _LINK.findall(body))))
    anchors = anchors.replace("\n", " ").replace("\t", " ")
    return Found.of(path, ids | frozenset(map(html.unescape, _ID.findall(anchors))), hrefs)


def dead(
    looked_at: Iterable[str], pages: Mapping[str, Found], files: Set[str], library: Library
) -> Iterator[AuthorError]:
    """Yield an error for each link in the bodies of pages that leads to no page, file or anchor of the site.

    Args:
        looked_at: The files of the pages whose links are followed.
        pages: What is in each page of the site, by its file.
        files: The files of the site.
        library: What it shows.
    """
    for file in looked_at:
        page = pages[file]
        for href in page.links:
            if _lives(file, href, pages, files):
                continue
            if (near := _dead_part(file, href, pages, files)) is not None:
                place, link = written(library, page.path, href)
                where = "" if link != href else f", on the page {page.path.removesuffix('.md')}"
                yield PageError(place, f"`{link}` leads nowhere{where}", near)


def _lives(here: str, href: str, pages: Mapping[str, Found], files: Set[str]) -> bool:
    """Tell whether a link is plainly good, as most are; of others, `_dead_part` tells."""
    path, _, part = href.partition("#")
    target = here
    if path:
        folder = here.rpartition("/")[0]
        while path.startswith("../") and folder:
            path, folder = path[3:], folder.rpartition("/")[0]
        target = f"{folder}/{path}" if folder else path
        target = f"{target}index.html" if not target or target.endswith("/") else target
    return target in files and (not part or target not in pages or part in pages[target].ids)


def _dead_part(here: str, href: str, pages: Mapping[str, Found], files: Set[str]) -> str | None:
    """Return a hint for a dead link, which may be empty; None if the link is not dead."""
    try:
        parts = urlsplit(href)
    except ValueError:  # half an IPv6 address
        return ""
    if parts.scheme or parts.netloc:
        return None
    target = here
    if parts.path:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), unquote(parts.path)))
        if parts.path.endswith("/") or target not in files:
            target = posixpath.normpath(posixpath.join(target, "index.html"))
        if target not in files:
            return ""
    part = unquote(parts.fragment)
    if not part or part == "top" or target not in pages or part in pages[target].ids:
        return None
    return _only_near(part, {*pages[target].ids, "top"})


def written(library: Library, page: str, link: str) -> tuple[Place, str]:
    """Return where a page's author wrote a link, and how, as far as that is known."""
    file, text = _source(library, page)
    try:
        parts = urlsplit(link)
    except ValueError:
        parts = SplitResult("", "", link, "", "")
    # Between the source and the page, an address loses its suffix and gains dots.
    last = posixpath.basename(parts.path.rstrip("/"))
    for sought in (link, f"#{parts.fragment}" if parts.fragment else "", last):
        found = re.search(rf"(?<![\w-]){re.escape(sought)}(?![\w-])", text) if sought else None
        if found:
            at = found.start()
            if page in library.docs and sought != link:
                at -= len(_BEFORE.search(text[:at])[0])  # type: ignore[index]
                link = text[at : found.end()] + _AFTER.match(text[found.end() :])[0]  # type: ignore[index]
            return Place(file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)), link
    return Place(file, int(bool(text)), 1), link


def hint(library: Library, page: str, link: str) -> str:
    """Return what a dead link may have meant: a page or a file whose path is like it."""
    path = unquote(urlsplit(link).path)
    folder = posixpath.dirname(page) or "."
    known = {posixpath.relpath(one, folder) for one in (*library.pages, *library.files, *library.attachments)}
    return _only_near(path, known) if path and path not in known else ""


def _only_near(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    return near if near.startswith("did you mean") else ""


def _source(library: Library, page: str) -> tuple[str, str]:
    if page in library.docs:
        return f"{library.settings.docs}/{page}", library.docs[page]
    slug = page.removeprefix("papers/").removesuffix(".md")
    if slug in library.papers and addresses.card(slug) == page:
        return library.papers[slug].file, library.papers[slug].source
    for module in library.modules:
        if addresses.module(module.name) == page:
            return module.file, ""
    return page.removesuffix(".md"), ""
