"""Take what is private out of a library, before anything is made of it."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from quaere.content import addresses
from quaere.content.markdown import is_relative
from quaere.content.model import Card, Library, Paper

_Path = tuple[str | int, ...]
_LISTS = ("questions", "quotes")
"""The lists of a card whose items may be private."""


def without_private(library: Library) -> Library:
    """Return a library without its private cards, questions and quotes, and without all that belongs to them alone.

    A module goes with the card that it implements, and so do its experiment, its results and its answers; a picture
    goes if only private texts show it. A library in which nothing is private is returned as it is.
    """
    hidden = {slug for slug, paper in library.papers.items() if paper.card.private}
    partly = {slug for slug, paper in library.papers.items() if any(_private_items(paper.card).values())}
    if not hidden and not partly:
        return library
    left = {slug: paper for slug, paper in library.papers.items() if slug not in hidden}
    papers = {slug: _shown(library, paper, hidden, is_partly=slug in partly) for slug, paper in left.items()}
    kept = {module.name for paper in left.values() if (module := library.module_of(paper))}
    kept |= {module.name for slug, module in library.experiments.items() if slug not in hidden}
    own = (library.module_of(library.papers[slug]) or library.experiments.get(slug) for slug in hidden)
    gone = {module.name for module in own if module} | {
        module.name for slug, module in library.experiments.items() if slug in hidden
    }
    gone -= kept
    private = {id for id, asked in library.questions.items() if _is_private(asked.paper.card, asked.index)}
    private |= {name for name, id in library.answering.items() if id in private}
    attached = library.attachments.keys() - _own_attachments(library, papers, hidden)
    cited = {key for paper in papers.values() for key in paper.reference.sources}
    uncited = {key for slug in hidden for key in library.papers[slug].reference.sources} - cited
    return replace(
        library,
        papers=papers,
        bibliography=_except(library.bibliography, uncited),
        answers=tuple(
            one for one in library.answers if library.today(one.id) not in private and one.module not in gone
        ),
        modules=tuple(one for one in library.modules if one.name not in gone),
        tests=_except(library.tests, hidden),
        attachments={path: library.attachments[path] for path in library.attachments if path in attached},
        sizes={path: size for path, size in library.sizes.items() if path in attached or path in library.files},
        results=_except(library.results, hidden),
        renamed={
            old: new
            for old, new in library.renamed.items()
            if not any(f"{new}.".startswith(f"{name}.") for name in gone)
        },
    )


def _except(mapping: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


def _is_private(card: Card, index: int) -> bool:
    return card.private or card.questions[index].private


def _private_items(card: Card) -> dict[str, list[int]]:
    """Return which items of a card are private, by the list."""
    return {name: [n for n, item in enumerate(getattr(card, name)) if item.private] for name in _LISTS}


def _shown(library: Library, paper: Paper, hidden: set[str], *, is_partly: bool) -> Paper:
    """Return a card without its private parts, and without the names of private cards in its fields."""
    card = paper.card

    def is_hidden(name: str | None) -> bool:
        return name is not None and library.today(name) in hidden

    update: dict[str, Any] = {}
    if any(map(is_hidden, card.builds_on)):
        update["builds_on"] = tuple(slug for slug in card.builds_on if not is_hidden(slug))
    if any(is_hidden(one.from_) for one in card.departures):
        update["departures"] = tuple(one for one in card.departures if not is_hidden(one.from_))
    if card.status and is_hidden(card.status.by):
        update["status"] = card.status.model_copy(update={"by": None})
    if not is_partly:
        return _of_part(paper, card.model_copy(update=update)) if update else paper
    moved: dict[str, dict[int, int]] = {}
    for name, private in _private_items(card).items():
        items = getattr(card, name)
        left = [n for n in range(len(items)) if n not in set(private)]
        moved[name] = {old: new for new, old in enumerate(left)}
        update[name] = tuple(items[n] for n in left)
    return replace(
        _of_part(paper, card.model_copy(update=update)),
        places=dict(_moved(paper.places, moved)),
        links=None if paper.links is None else dict(_moved(paper.links, moved)),
        source="",  # it holds what is private
    )


def _of_part(paper: Paper, card: Card) -> Paper:
    """Return a paper with a part of its card; where that stands, the whole of it tells."""
    return replace(paper, card=card, origin=f"{paper.origin} {card.model_dump_json()}")


def _moved(found: Mapping[_Path, Any], moved: Mapping[str, Mapping[int, int]]) -> Iterator[tuple[_Path, Any]]:
    """Yield what is known by path, by the paths that are left."""
    for path, value in found.items():
        if len(path) > 1 and path[0] in moved:
            indexes = moved[str(path[0])]
            if (old := int(path[1])) in indexes:
                yield (path[0], indexes[old], *path[2:]), value
        else:
            yield path, value


def _own_attachments(library: Library, papers: Mapping[str, Paper], hidden: set[str]) -> set[str]:
    """Return the pictures and documents that private texts alone link to, or that lie in a private card's folder."""

    def linked(some: Mapping[str, Paper]) -> set[str]:
        found: set[str] = set()
        for slug, paper in some.items():
            for links in (paper.links or {}).values():
                targets = (link.target for link in links if link.kind != "wikilink" and is_relative(link.target))
                found |= {path for target in targets if (path := library.led_to(addresses.card(slug), target))}
        return found & library.attachments.keys()

    names = hidden | {old for slug in hidden for old in library.papers[slug].card.formerly}
    in_folders = {path for path in library.attachments if path.split("/")[1:2] and path.split("/")[1] in names}
    own = (linked(library.papers) | in_folders) - linked(papers)
    return {path for path in own if not any(_is_named(path, *page) for page in library.docs.items())}


def _is_named(path: str, page: str, text: str) -> bool:
    """Return whether a hand-written page leads to a file, in Markdown or in HTML; one named alike is another."""
    written = re.escape(posixpath.relpath(path, posixpath.dirname(page) or "."))
    # In HTML, an address leads from where the page is in the site.
    return re.search(rf"(?<![\w./-]){written}|(?<=\./){re.escape(path)}", unquote(html.unescape(text))) is not None
