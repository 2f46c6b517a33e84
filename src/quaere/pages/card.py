"""The context of the template of a card's page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from quaere.content import own_fields
from quaere.content.bibliography.identifiers import doi_of_address
from quaere.content.bibliography.reference import OTHERS, Name, in_one_line
from quaere.content.model import Link, Paper
from quaere.pages import lineage, result
from quaere.pages.facets import READING
from quaere.pages.related import related
from quaere.pages.summary import Summary
from quaere.pages.view import SECTIONS, View

# Of more authors than the first number, as many as the second stand on a card; the others are folded.
_MOST_AUTHORS, _FIRST_AUTHORS = 30, 20

_LINK_KINDS = {
    "paper": "Paper",
    "code": "Code",
    "article": "Articles",
    "video": "Videos",
    "blog": "Blogs",
    "discussion": "Discussions",
}


def context(view: View, paper: Paper) -> dict[str, Any]:
    """Return the context of the template `card.html`."""
    library, card = view.library, paper.card
    # The ids of questions are addresses that people keep; no section's id can be one, because of its underscore.
    reserved = {f"{name}_" for name in (*SECTIONS, "history")} | {question.id for question in card.questions}
    reserved |= {old for question in card.questions for old in question.formerly}
    reserved |= {f"{claim.id}_claim" for claim in card.claims}
    for found in library.results.get(paper.slug, ()):
        reserved |= {f"{figure.id}_figure" for figure in found.figures}
    return {
        "paper": paper,
        "card": card,
        "reserved": reserved,
        **_authors(paper.reference.people),
        "addresses_of": list(_addresses(paper)),
        "reading": READING[card.reading.state] if card.reading else "",
        "module": library.module_of(paper),
        "asked": view.asked[paper.slug],
        **_lineage(view, view.summaries[paper.slug]),
        "mentions": view.mentions.get(paper.slug, ()),
        "links": _links(paper),
        "own": list(_own(library.extra, card.extra)),
        "departures": {
            of: [departure for departure in card.departures if departure.of == of] for of in ("paper", "implementation")
        },
        "citations": _citations(view, paper),
        **result.of_paper(view, paper),
    }


def _authors(people: Sequence[Name]) -> dict[str, Any]:
    """Return the authors in one line; of hundreds, the first ones and the others apart."""
    first = len(people) if len(people) <= _MOST_AUTHORS else _FIRST_AUTHORS
    others = people[first:]
    return {
        "authors": in_one_line(people[:first]),
        "other_authors": in_one_line(others),
        "other_authors_count": len(others) - (OTHERS in others),
    }


def _lineage(view: View, paper: Summary) -> dict[str, Any]:
    slug, kin = paper.slug, view.kin
    before = [kin[one] for one in paper.builds_on]
    after = [kin[one] for one in view.followers.get(slug, ())]
    drawn = lineage.beside(kin[slug], before, after, view.troubles) if before or after else None
    shown = {node.slug for node in drawn.nodes} if drawn else set()
    near = {slug, *(one.slug for one in (*before, *after))}
    tags = {tag: view.tagged[tag] for tag in dict.fromkeys(paper.tags)}
    parents = {one: view.followers[one] for one in paper.builds_on}
    return {
        "lineage": drawn,
        "more": {
            "Also builds on": [one for one in before if one.slug not in shown],
            "Also built on by": [one for one in after if one.slug not in shown],
        },
        "is_built": bool(before),
        "trouble": view.troubles.get(slug),
        "related": related(slug, tags, parents, near),
        "linked_from": [kin[one] for one in view.linked_from.get(slug, ()) if one not in near],
    }


def _own(schema: Mapping[str, Any], extra: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what each of the library's own fields is called, and its values as text; what has parts is JSON."""
    for name, value in extra.items():
        if value not in (None, [], {}):
            shown = own_fields.values(value) or (json.dumps(value, ensure_ascii=False),)
            yield own_fields.title(schema, name), shown


def _citations(view: View, paper: Paper) -> Mapping[str, str]:
    if paper.is_topic:
        return {}
    return view.citations.get(paper.slug, {})


def _links(paper: Paper) -> dict[str, list[Link]]:
    links = {name: [link for link in paper.card.links if link.kind == kind] for kind, name in _LINK_KINDS.items()}
    return {name: found for name, found in links.items() if found}


def _addresses(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield the names and the addresses at which the paper is found."""
    reference = paper.reference
    if doi := reference.doi:
        yield f"doi:{doi}", f"https://doi.org/{quote(doi, safe='/:;()._-')}"
    if arxiv := reference.arxiv:
        yield f"arXiv:{arxiv}", f"https://arxiv.org/abs/{quote(arxiv, safe='/.')}"
    # An address that leads by one of these is no other.
    url = reference.url
    if re.match(r"https?://[^\s/]", url) and not (doi and doi_of_address(url)) and not (arxiv and arxiv in url):
        yield "publisher’s page", url
