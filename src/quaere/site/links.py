"""Find the dead links of a built site, and where their authors wrote them."""

from __future__ import annotations

import html
import os
import posixpath
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from quaere.content import addresses
from quaere.content.model import Library
from quaere.errors import AuthorError, PageError, Place, nearest

_BODY = re.compile(r"<article\b.*</article>", re.DOTALL)
_LINK = re.compile(
    r"""<(?:a|img|source|video|audio)\b[^<>]*?\s(?:href|src)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""",
    re.DOTALL | re.IGNORECASE,
)
_ID = re.compile(r"\s(?:id|name)=\"([^\"]+)\"")


def dead(site: Path, library: Library, has_folders: bool) -> list[AuthorError]:
    """Return an error for each link in the pages' bodies that leads to no page, file or anchor of the site.

    Args:
        site: The folder of the site.
        library: What it shows.
        has_folders: Whether each page has a folder of its own.
    """

    @cache
    def anchors(file: Path) -> frozenset[str]:
        return frozenset(map(html.unescape, _ID.findall(file.read_text(encoding="utf-8"))))

    def dead_part(here: Path, href: str) -> str | None:
        """Return a hint for a dead link, which may be empty; None if the link is not dead."""
        try:
            parts = urlsplit(href)
        except ValueError:  # half an IPv6 address
            return ""
        if parts.scheme or parts.netloc:
            return None
        target = here
        if parts.path:
            path = posixpath.normpath(posixpath.join(here.parent.relative_to(site).as_posix(), unquote(parts.path)))
            target = site / path
            if parts.path.endswith("/") or target.is_dir():
                target /= "index.html"
            if path.startswith("../") or not os.path.isfile(target):  # noqa: PTH113  (a name too long is none)
                return ""
        known = {*anchors(target), "top"} if target.suffix == ".html" and parts.fragment else {""}
        part = unquote(parts.fragment)
        return None if part in known or known == {""} else _only_near(part, known)

    faults: list[AuthorError] = []
    for path in sorted(library.pages):
        here = site / addresses.file(path, has_folders)
        if not here.is_file():
            continue
        found = _BODY.search(here.read_text(encoding="utf-8"))
        for href in dict.fromkeys(map(html.unescape, map("".join, _LINK.findall(found[0] if found else "")))):
            if (near := dead_part(here, href)) is not None:
                file, line, column = written(library, path, href)
                problem = f"`{href}` leads nowhere, on the page {path.removesuffix('.md')}"
                faults.append(PageError(Place(file, line, column), problem, near))
    return faults


def written(library: Library, page: str, link: str) -> tuple[str, int, int]:
    """Return the file, the line and the column where a page's author wrote a link, as far as they are known."""
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
            return file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return file, int(bool(text)), 1


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
