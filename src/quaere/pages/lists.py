"""The contexts of the templates that list papers and questions."""

from __future__ import annotations

from typing import Any

from quaere.pages import lineage
from quaere.pages.summary import Summary
from quaere.pages.view import MEANINGS, View

_NEWEST = 6


def tags(view: View) -> dict[str, Any]:
    """Return the papers of each tag."""
    anchors = view.tag_anchors
    return {"groups": view.tags, "anchors": anchors, "reserved": set(anchors.values()), "are_tags": True}


def affiliations(view: View) -> dict[str, Any]:
    """Return the papers of each affiliation."""
    anchors = view.affiliation_anchors
    return {"groups": view.affiliations, "anchors": anchors, "reserved": set(anchors.values()), "are_tags": False}


def questions(view: View) -> dict[str, Any]:
    """Return the papers with questions, and the options of the filters."""
    counts = view.count(view.states)
    asked = [paper for paper in view.summaries.values() if paper.questions]
    tags = [tag for tag, papers in view.tags.items() if any(paper.questions for paper in papers)]
    by_title = sorted(asked, key=lambda paper: paper.title)
    choices = {
        "state": {state.value: f"{state} ({counts[state]})" for state in MEANINGS if counts.get(state)},
        "tag": {tag: tag for tag in tags},
        "paper": {paper.slug: paper.title for paper in by_title},
    }
    return {"papers": asked, "choices": choices}


def by_year(view: View) -> dict[str, Any]:
    """Return the drawings of the lineage, and the papers of each year, the oldest first."""
    years: dict[int | None, list[Summary]] = {}
    for paper in view.summaries.values():
        years.setdefault(paper.year, []).append(paper)
    known = sorted(year for year in years if year is not None)
    in_order = [*known, *([None] if None in years else [])]
    return {"groups": lineage.groups(view.summaries), "years": {year: years[year] for year in in_order}}


def newest(view: View) -> list[Summary]:
    """Return the cards with the newest questions; those with code come before those of the reading list."""

    def newness(paper: Summary) -> tuple[bool, str, int]:
        newest = max((str(one.asked) for one in paper.questions), default="")
        return bool(paper.module), newest, len(paper.questions)

    return sorted(view.summaries.values(), key=newness, reverse=True)[:_NEWEST]
