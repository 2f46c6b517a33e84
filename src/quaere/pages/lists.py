"""The pages that list: papers, questions with their filters, tags, affiliations; and the lists of the home page."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping

from quaere.content.model import Asked, Paper
from quaere.pages import text
from quaere.pages.view import AFFILIATIONS, INDEX, MEANINGS, QUESTIONS, TAGS, Page, View, badge, cite

_NEWEST = 6


def papers(view: View) -> str:
    """Write the page of all cards."""
    page = Page(view, INDEX)
    known = len(view.library.questions)
    lead = (
        f"{_count(len(view.papers), 'paper')}, {_count(known, 'question')}: {page.badges(view.states)}" if known else ""
    )
    tiles = "\n\n".join(_tile(page, paper, "##") for paper in view.papers) or "There is no card yet."
    return f'# Papers\n\n{lead}\n\n<div class="q-cards" markdown="1">\n\n{tiles}\n\n</div>\n'


def tags(view: View) -> str:
    """Write the page of all tags."""
    return _grouped(Page(view, TAGS), "Tags", view.tags, view.tag_anchors)


def affiliations(view: View) -> str:
    """Write the page of all affiliations."""
    return _grouped(Page(view, AFFILIATIONS), "Affiliations", view.affiliations, view.affiliation_anchors)


def questions(view: View) -> str:
    """Write the page of all questions. The filters appear with JavaScript; without, everything is shown."""
    page = Page(view, QUESTIONS)
    groups = (_group(page, paper, view.asked[paper.slug]) for paper in view.papers if view.asked[paper.slug])
    return "\n\n".join(
        [
            "---\nhide: [navigation]\n---\n\n# Questions",
            "Each question has a state that follows from its answer: nobody types it in.",
            _filters(view),
            '<p class="q-nothing" hidden>Nothing matches. <a href="?">Show all questions</a></p>',
            *(groups if view.states else ["Nobody has asked yet."]),
        ]
    )


def states(page: Page) -> str:
    """Count all questions by state, for the home page."""
    counts = page.view.count(page.view.states)
    tiles = (
        f'<div class="q-state" data-state="{state}" markdown="1">\n'
        f"[**{counts.get(state, 0)}** {badge(state)}]({page.to(f'{QUESTIONS}?state={state}')})\n\n{meaning}\n</div>"
        for state, meaning in MEANINGS.items()
    )
    return '<div class="q-states" markdown="1">\n\n' + "\n\n".join(tiles) + "\n\n</div>"


def newest(page: Page) -> str:
    """Show the cards with the newest questions, for the home page."""
    asked = page.view.asked

    def newness(paper: Paper) -> tuple[str, int]:
        return max((str(one.question.asked) for one in asked[paper.slug]), default=""), len(asked[paper.slug])

    papers = sorted(page.view.papers, key=newness, reverse=True)[:_NEWEST]
    tiles = "\n\n".join(_tile(page, paper, "###") for paper in papers)
    return f'<div class="q-cards" markdown="1">\n\n{tiles}\n\n</div>'


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _tile(page: Page, paper: Paper, heading: str) -> str:
    """Show a card in short."""
    lines = [
        '<div class="q-card" markdown="1">',
        f"{heading} {page.paper(paper)} {{ #{paper.slug} }}",
        f"{cite(paper)}\n{{ .q-published }}",
        page.inline(paper.card.idea),
        " ".join(map(page.tag, paper.card.tags)),
        page.badges(asked.id for asked in page.view.asked[paper.slug]),
        "</div>",
    ]
    return "\n\n".join(line for line in lines if line)


def _grouped(page: Page, name: str, groups: Mapping[str, tuple[Paper, ...]], anchors: Mapping[str, str]) -> str:
    """List papers under headings."""
    parts = [f"# {name}"]
    for heading, members in groups.items():
        items = [f"- {page.paper(paper)}<br>{cite(paper)}" for paper in members]
        parts.append("\n".join([f"## {text.escape(heading)} {{ #{anchors[heading]} }}\n", *items]))
    return "\n\n".join(parts if groups else [*parts, "No card names any."]) + "\n"


def _group(page: Page, paper: Paper, asked: Iterable[Asked]) -> str:
    """List a paper's questions; the attributes are what the filters go by."""
    names = html.escape(json.dumps(paper.card.tags, ensure_ascii=False))
    items = "\n".join(f"- {page.question(one)} {badge(page.view.states[one.id])}" for one in asked)
    return (
        f'<div class="q-group" data-paper="{paper.slug}" data-tags="{names}" markdown="1">\n\n'
        f"## {page.paper(paper)} {{ #{paper.slug} }}\n\n{items}\n\n</div>"
    )


def _filters(view: View) -> str:
    """Write the form that filters; assets/quaere.js brings it to life."""
    counts = view.count(view.states)
    shown = [state for state in MEANINGS if counts.get(state)]
    asked = [paper for paper in view.papers if view.asked[paper.slug]]
    options = {
        "state": {str(state): f"{state} ({counts[state]})" for state in shown},
        "tag": {tag: tag for tag, papers in view.tags.items() if any(view.asked[paper.slug] for paper in papers)},
        "paper": {paper.slug: paper.reference.title for paper in sorted(asked, key=lambda one: one.reference.title)},
    }
    selects = "\n".join(_select(name, values) for name, values in options.items())
    return (
        f'<form class="q-filters" hidden>\n{selects}\n<button type="reset">Show all</button>\n</form>\n'
        '<p class="q-shown" role="status" aria-live="polite"></p>'
    )


def _select(name: str, values: Mapping[str, str]) -> str:
    options = [f'<option value="{html.escape(value)}">{html.escape(label)}</option>' for value, label in values.items()]
    lines = [f'<label>{name.capitalize()} <select name="{name}">', '<option value="">any</option>', *options]
    return "\n".join([*lines, "</select></label>"])
