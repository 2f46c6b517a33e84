"""The context of the board: which questions wait for an answer, and what is missing."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from quaere.content.results import Outcome
from quaere.content.states import State
from quaere.pages.summary import QuestionSummary, Summary
from quaere.pages.view import View

_SHOWN, _FOLDED = 15, 150
"""How many lines of a section stand on the page at once, and how many more behind a disclosure."""
_MONTHS = 36
_WIDTH, _HEIGHT, _BAR = 720, 96, 16
"""Of the plot: its measures, and the widest bar."""

Row = tuple[Summary, QuestionSummary | None, str]
"""A card, a question of it if the line is about one, and what else there is to say."""


@dataclass(frozen=True)
class Section:
    """A list of what waits for someone; `query` chooses the same on the page of all questions or papers, if it can."""

    id: str
    title: str
    told: str
    rows: tuple[Row, ...]
    query: str = ""

    @property
    def shown(self) -> tuple[Row, ...]:
        """The lines that stand on the page at once."""
        return self.rows[:_SHOWN]

    @property
    def folded(self) -> tuple[Row, ...]:
        """Those behind a disclosure."""
        return self.rows[_SHOWN : _SHOWN + _FOLDED]

    @property
    def left(self) -> int:
        """How many more there are."""
        return max(0, len(self.rows) - _SHOWN - _FOLDED)


@dataclass(frozen=True)
class Bar:
    """A month in the plot: where it stands, how high it is, and how many questions were asked in it."""

    month: str
    count: int
    x: float
    y: float
    width: float
    height: float


def context(view: View) -> dict[str, Any]:
    """Return the context of the template `board.html`."""
    papers = list(view.summaries.values())
    asked = [(paper, one) for paper in papers for one in paper.questions]
    bars, earlier = months(one.asked for _, one in asked)
    return {
        "states": view.count(view.states),
        "questions": [one for one in _questions(asked) if one.rows],
        "missing": [one for one in _missing(papers) if one.rows],
        "bars": bars,
        "earlier": earlier,
        "most": max((bar.count for bar in bars), default=0),
        "size": (_WIDTH, _HEIGHT),
    }


def _questions(asked: list[tuple[Summary, QuestionSummary]]) -> list[Section]:
    oldest = sorted(asked, key=lambda pair: (pair[1].asked, pair[1].id))

    def those(state: State) -> tuple[Row, ...]:
        return tuple((paper, one, one.asked.isoformat()) for paper, one in oldest if one.state is state)

    return [
        Section("broken", "Broken", "Their code ran and failed.", those(State.BROKEN), "?state=broken"),
        Section(
            "unverified",
            "Unverified",
            "Their code has changed since it ran, or never ran. Run `quaere verify`.",
            those(State.UNVERIFIED),
            "?state=unverified",
        ),
        Section("open", "Open", "Nobody has answered them. The oldest come first.", those(State.OPEN), "?state=open"),
    ]


def _missing(papers: list[Summary]) -> list[Section]:
    def those(lack: Iterable[Summary]) -> tuple[Row, ...]:
        return tuple((paper, None, "") for paper in lack)

    # What a topic lacks, it need not have.
    papers = [one for one in papers if not one.is_topic]
    stale = tuple((paper, None, ", ".join(paper.stale)) for paper in papers if paper.stale)
    claims = tuple(
        (paper, None, f"{count} claim{'' if count == 1 else 's'}")
        for paper in papers
        if (count := paper.outcomes.get(Outcome.NO_EXPERIMENT, 0))
    )
    return [
        Section("stale", "Stale results", "The experiment's code has changed since it ran.", stale),
        Section("untested", "Claims without an experiment", "", claims, "?outcome=no+experiment"),
        Section(
            "no-affiliation",
            "No affiliation",
            "",
            those(one for one in papers if not one.affiliations),
            "?affiliation=",
        ),
        Section("no-link", "No link", "", those(one for one in papers if not one.has_link)),
        Section("no-tag", "No tag", "", those(one for one in papers if not one.tags), "?tag="),
        Section("no-reading", "No reading state", "", those(one for one in papers if not one.reading), "?reading="),
    ]


def months(dates: Iterable[datetime.date]) -> tuple[list[Bar], int]:
    """Return a bar for each of the last months up to the newest question, and how many were asked before."""
    counts = Counter(date.year * 12 + date.month - 1 for date in dates)
    if not counts:
        return [], 0
    last = max(counts)
    first = max(min(counts), last - _MONTHS + 1)
    most, step = max(counts[n] for n in range(first, last + 1)), min(_BAR, _WIDTH / (last - first + 1))
    bars = []
    for n in range(first, last + 1):
        height = round(counts[n] / most * _HEIGHT, 1)
        x = round((n - first) * step, 1)
        bars.append(Bar(f"{n // 12}-{n % 12 + 1:02}", counts[n], x, _HEIGHT - height, round(step * 0.8, 1), height))
    return bars, sum(count for n, count in counts.items() if n < first)
