"""The path of each page in the site, and the target of a relative address in a card's text.

A page is named by the path of a Markdown file, whether or not the file exists: `papers/toy.md` is the page of the card
`toy`. Files in the folder of the cards are in the same folder of the site as the cards' pages.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Set
from urllib.parse import unquote, urlsplit

HOME, PAPERS, LINEAGE, QUESTIONS, BOARD, EXPERIMENTS, TAGS, AFFILIATIONS, REFERENCE = (
    "index.md",
    "papers/index.md",
    "lineage.md",
    "questions.md",
    "board.md",
    "experiments.md",
    "tags.md",
    "affiliations.md",
    "reference/index.md",
)
LISTS = frozenset({HOME, PAPERS, LINEAGE, QUESTIONS, BOARD, EXPERIMENTS, TAGS, AFFILIATIONS, REFERENCE})

_CARD = re.compile(r"papers/([^/]+)\.ya?ml")


def card(slug: str) -> str:
    """Return the path of a card's page."""
    return f"papers/{slug}.md"


def part(path: str, number: int) -> str:
    """Return the path of a page of a long list; the first has the list's own. No card has such a name."""
    folder = path.removesuffix("/index.md").removesuffix(".md")
    return path if number == 1 else f"{folder}/page-{number}.md"


def module(name: str) -> str:
    """Return the path of a module's page. All are in one folder, so that links between pages have the same form."""
    package, _, own = name.partition(".")
    # The list and the package itself have these names.
    return f"reference/{own or package}{'_' * (own in ('index', package))}.md"


def code(name: str) -> str:
    """Return the path of the page on which a module's code is read."""
    return module(name).replace("reference/", "code/", 1)


def source(name: str) -> str:
    """Return the path of a module's source as a text file of the site."""
    return code(name).removesuffix(".md") + ".txt"


def file(page: str, has_folders: bool) -> str:
    """Return the file of the site that holds a page; with folders, each page but an index has one of its own."""
    stem = page.removesuffix(".md")
    return f"{stem}/index.html" if has_folders and posixpath.basename(stem) != "index" else f"{stem}.html"


def led_to(page: str, written: str, pages: Set[str], files: Set[str]) -> str | None:
    """Return the target of a relative address.

    Args:
        page: The page that the text is shown on.
        written: The address: of a page, of a card's file (`toy.yml`), or of what lies beside the cards or the
            hand-written pages; relative to the page, as in a link between Markdown files.
        pages: The pages that there are.
        files: The other files.

    Returns:
        The path of a page or a file, with query and fragment as they were written; None if there is no such thing.
    """
    try:
        parts = urlsplit(written)
    except ValueError:
        return None
    rest = (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    if not parts.path:
        return page + rest
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
    if found := _CARD.fullmatch(path):
        path = card(found[1])
    return path + rest if path in pages or path in files else None
