"""What there is to do in a library: answers that fail, open questions, cards to read and to complete, what to cite."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from quaere.content.check import uncited
from quaere.content.model import Asked, Library, Paper, Verdict
from quaere.content.states import Kind, State
from quaere.errors import Place


@dataclass(frozen=True)
class Task:
    """Something to do.

    Attributes:
        kind: What.
        name: Of what: a question, a card, or the key of an entry, as other commands take it.
        says: The question, the title, or nothing.
        place: Where it stands.
        days: How long it has been waiting, where that is known.
        rests: How many cards build on its card, directly or not.
        command: What does it, if a command does.
    """

    kind: Kind
    name: str
    says: str
    place: Place
    days: int | None = None
    rests: int = 0
    command: str = ""


def tasks(library: Library, verdicts: Mapping[str, Verdict], today: datetime.date) -> list[Task]:
    """Return all that there is to do: by kind, and what counts most first.

    A question counts its days times the cards that wait for it: its own and those that build on it.
    """
    rests = _rests(library)
    found = [*_of_questions(library, verdicts, rests, today), *_of_cards(library, rests)]
    found += [
        Task(Kind.NO_CARD, key, "", library.bibliography[key], command=f"quaere add {key}") for key in uncited(library)
    ]
    order = {kind: index for index, kind in enumerate(Kind)}
    # What is being read comes before what is to be read: `_of_cards` yields it first.
    return sorted(found, key=lambda task: (order[task.kind], -_weight(task)))


def _weight(task: Task) -> int:
    return ((task.days or 0) + 1) * (task.rests + 1) if task.kind is Kind.OPEN else task.rests


def _of_questions(
    library: Library, verdicts: Mapping[str, Verdict], rests: Mapping[str, int], today: datetime.date
) -> Iterator[Task]:
    kinds = {State.BROKEN: Kind.BROKEN, State.UNVERIFIED: Kind.UNVERIFIED, State.OPEN: Kind.OPEN}
    for asked in library.questions.values():
        if kind := kinds.get(asked.state(verdicts)):
            yield _of_question(kind, asked, rests, today)


def _of_question(kind: Kind, asked: Asked, rests: Mapping[str, int], today: datetime.date) -> Task:
    place = asked.running[0].place if asked.running else asked.place
    verb = "answer" if kind is Kind.OPEN else "verify"
    days, count = max((today - asked.question.asked).days, 0), rests[asked.paper.slug]
    return Task(kind, asked.id, asked.question.ask, place, days, count, f"quaere {verb} {asked.id}")


def _of_cards(library: Library, rests: Mapping[str, int]) -> Iterator[Task]:
    def task(kind: Kind, paper: Paper, path: str, command: str = "") -> Task:
        return Task(kind, paper.slug, paper.reference.title, paper.place(path), None, rests[paper.slug], command)

    for state in ("reading", "to-read"):
        for paper in library.papers.values():
            if paper.card.reading and paper.card.reading.state == state:
                yield task(Kind.TO_READ, paper, "reading", f"quaere read {paper.slug}")
    for paper in library.papers.values():
        if not paper.card.idea and not paper.is_topic:
            yield task(Kind.NO_IDEA, paper, "idea")


def _rests(library: Library) -> dict[str, int]:
    """Return how many cards build on each card, directly or not; only directly, where they do so in a circle."""
    numbers = {slug: 1 << index for index, slug in enumerate(library.papers)}
    above = dict.fromkeys(library.papers, 0)
    parents = {slug: [one for one in paper.card.builds_on if one in above] for slug, paper in library.papers.items()}
    try:
        order = list(TopologicalSorter(parents).static_order())[::-1]  # the latest first
        is_straight = True
    except CycleError:
        order, is_straight = list(parents), False
    for slug in order:
        for parent in parents[slug]:
            above[parent] |= numbers[slug] | (above[slug] if is_straight else 0)
    return {slug: bits.bit_count() for slug, bits in above.items()}
