"""The contexts of the templates that list papers and questions."""

from __future__ import annotations

from typing import Any

from quaere.content.model import Paper
from quaere.pages.view import MEANINGS, View

_NEWEST = 6


def tags(view: View) -> dict[str, Any]:
    """Return the papers of each tag."""
    return {"groups": view.tags, "anchors": view.tag_anchors, "reserved": set(view.tag_anchors.values())}


def affiliations(view: View) -> dict[str, Any]:
    """Return the papers of each affiliation."""
    anchors = view.affiliation_anchors
    return {"groups": view.affiliations, "anchors": anchors, "reserved": set(anchors.values())}


def questions(view: View) -> dict[str, Any]:
    """Return the papers with questions, and the options of the filters."""
    counts = view.count(view.states)
    asked = [paper for paper in view.papers if view.asked[paper.slug]]
    tags = [tag for tag, papers in view.tags.items() if any(view.asked[paper.slug] for paper in papers)]
    by_title = sorted(asked, key=lambda paper: paper.reference.title)
    choices = {
        "state": {state.value: f"{state} ({counts[state]})" for state in MEANINGS if counts.get(state)},
        "tag": {tag: tag for tag in tags},
        "paper": {paper.slug: paper.reference.title for paper in by_title},
    }
    return {"papers": asked, "choices": choices}


def newest(view: View) -> list[Paper]:
    """Return the cards with the newest questions; those with code come before those of the reading list."""

    def newness(paper: Paper) -> tuple[bool, str, int]:
        asked = view.asked[paper.slug]
        newest = max((str(one.question.asked) for one in asked), default="")
        return view.library.module_of(paper) is not None, newest, len(asked)

    return sorted(view.papers, key=newness, reverse=True)[:_NEWEST]
