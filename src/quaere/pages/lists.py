"""The contexts of the templates that list papers and questions, a page at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from quaere.content import addresses
from quaere.pages import facets, lineage, parts
from quaere.pages.summary import Summary
from quaere.pages.view import View

_NEWEST = 6


def lengths(view: View) -> dict[str, int]:
    """Return how many pages each list has, by the path of its first."""
    groups = {addresses.TAGS: view.tag_parts, addresses.AFFILIATIONS: view.affiliation_parts}
    return {
        addresses.PAPERS: len(view.paper_parts),
        addresses.QUESTIONS: len(view.question_parts),
        addresses.LINEAGE: len(view.year_parts) + view.is_lineage_long,
        # If one page does not hold the groups, the first says where each begins.
        **{path: len(found) + (len(found) > 1) for path, found in groups.items()},
    }


def papers(view: View, number: int) -> dict[str, Any]:
    """Return the context of a page of the papers."""
    context = _context(view, addresses.PAPERS, number)
    context |= {"papers": view.paper_parts[number], "sorts": facets.SORTS, "facets": facets.of_papers(view)}
    if number == 1:
        found = view.summaries.values()
        pages = {one.slug: 1 + n // parts.PAPERS for n, one in enumerate(found)}
        years = facets.by_year(found)
        context["years"] = {year: (count, pages[first.slug], first.slug) for year, (count, first) in years.items()}
    return context


def questions(view: View, number: int) -> dict[str, Any]:
    """Return the context of a page of the questions, which stand by paper."""
    context = _context(view, addresses.QUESTIONS, number)
    return {**context, "papers": view.question_parts[number], "facets": facets.FACETS["questions"]}


def tags(view: View, number: int) -> dict[str, Any]:
    """Return the context of a page of the papers by tag."""
    return _groups(view, addresses.TAGS, number, view.tag_counts, view.tag_parts, view.tag_anchors) | {"facet": "tag"}


def affiliations(view: View, number: int) -> dict[str, Any]:
    """Return the context of a page of the papers by affiliation."""
    path, counts, anchors = addresses.AFFILIATIONS, view.affiliation_counts, view.affiliation_anchors
    return _groups(view, path, number, counts, view.affiliation_parts, anchors) | {"facet": "affiliation"}


def _groups(
    view: View,
    path: str,
    number: int,
    counts: Mapping[str, int],
    found: Mapping[int, tuple[parts.Group, ...]],
    anchors: Mapping[str, str],
) -> dict[str, Any]:
    begins: dict[str, int] = {}
    if len(found) > 1 and number == 1:
        for page, part in found.items():
            for name, _ in part:
                begins.setdefault(name, page + 1)
    return {
        **_context(view, path, number),
        "anchors": anchors,
        "reserved": set(anchors.values()),
        "counts": counts,
        "begins": begins,
        "groups": found[number - (len(found) > 1)] if not begins else (),
    }


def _context(view: View, path: str, number: int) -> dict[str, Any]:
    return {"list": path, "page": number, "pages": lengths(view)[path]}


def by_year(view: View, number: int) -> dict[str, Any]:
    """Return the context of a page of the lineage: its drawings, and the papers of each year, the oldest first."""
    found, is_first = view.year_parts, number == 1
    counts: Counter[int | None] = Counter()
    begins: dict[int | None, int] = {}
    for page, part in enumerate(found, 2) if view.is_lineage_long and is_first else ():
        for year, papers in part:
            begins.setdefault(year, page)
            counts[year] += len(papers)
    return {
        **_context(view, addresses.LINEAGE, number),
        "groups": lineage.groups(view.lineage) if is_first else (),
        "begins": begins,
        "counts": counts,
        "years": dict(found[number - 1 - view.is_lineage_long]) if not begins else {},
    }


def newest(view: View) -> list[Summary]:
    """Return the cards with the newest questions; those with code come before those of the reading list."""

    def newness(paper: Summary) -> tuple[bool, str, int]:
        newest = max((str(one.asked) for one in paper.questions), default="")
        return bool(paper.module), newest, len(paper.questions)

    return sorted(view.summaries.values(), key=newness, reverse=True)[:_NEWEST]
