"""What other pages may know of a card. Lists, the search, feeds and the graph are made from it, never from the card.

So a page about many cards changes only if one of their summaries does. The texts are the same on every page: they hold
no links.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from quaere.content import own_fields, wikilinks
from quaere.content.bibliography.reference import OTHERS
from quaere.content.model import Asked, Card, Module, Paper
from quaere.content.results import Outcome
from quaere.content.states import State
from quaere.pages import markup


@dataclass(frozen=True)
class QuestionSummary:
    """A question in short.

    Attributes:
        id: Its full name, `<paper>.<question>`.
        name: Its name in the card, which is its anchor on the card's page.
        ask: What is asked, as HTML.
        words: The same as plain text.
        asked: When.
        state: Its state.
        brief: The first sentence of the answer as HTML; empty without one.
        prose: The answer in prose, or what is written around the code that answers, as Markdown; empty without one.
        origin: The first of its full names, by which feeds know it.
        line: Where the question stands in the card's file.
    """

    id: str
    name: str
    ask: Markup
    words: str
    asked: datetime.date
    state: State
    brief: Markup
    prose: str
    origin: str
    line: int


@dataclass(frozen=True)
class Summary:
    """A card in short.

    Attributes:
        slug: The card's name.
        origin: The first of its names, by which feeds know it.
        file: The card's file.
        title: The paper's title as plain text.
        heading: The title as HTML.
        name: The paper's name in links: `short`, or the title up to its colon.
        authors: The names of the authors, as plain text; without "et al.".
        surnames: Their family names, in the same order.
        credits: One or two authors by surname, or the first "et al.".
        year: The year of publication; None if it is unknown.
        issued: When it was published, as text.
        venue: Where it was published.
        doi: The DOI, without a prefix; empty without one.
        arxiv: The arXiv identifier, without a prefix; empty without one.
        idea: The idea as HTML; empty if the card states none.
        words: The idea as plain text.
        tags: The tags.
        affiliations: The affiliations.
        reading: The reading state; empty if the card doesn't say.
        builds_on: The slugs of the cards that it builds on, as far as they exist.
        module: The name of the module that implements it; empty for a card without code.
        questions: The questions in the card's order.
        outcomes: How many claims have each outcome; outcomes without claims are left out.
        links: The slugs of the other cards that its texts link to.
        stale: The experiment's results whose code has changed since, by size.
        has_link: Whether the card has a link.
        status: `withdrawn`, `superseded` or `retracted`; empty if the paper is none of these.
        is_topic: Whether it is a topic instead of a paper.
        own: The values of the library's own fields by which papers are filtered, by the field.
        superseded_by: The slug of the card of the paper that supersedes it; empty without one.
    """

    slug: str
    origin: str
    file: str
    title: str
    heading: Markup
    name: str
    authors: tuple[str, ...]
    surnames: tuple[str, ...]
    credits: str
    year: int | None
    issued: str
    venue: str
    doi: str
    arxiv: str
    idea: Markup
    words: str
    tags: tuple[str, ...]
    affiliations: tuple[str, ...]
    reading: str
    builds_on: tuple[str, ...]
    module: str
    questions: tuple[QuestionSummary, ...]
    outcomes: Mapping[Outcome, int]
    links: tuple[str, ...]
    stale: tuple[str, ...]
    has_link: bool
    status: str
    superseded_by: str
    is_topic: bool
    own: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def cited(self) -> str:
        """Who wrote the paper, when, and where it appeared, in one line; of a topic that it is one."""
        if self.is_topic:
            return "Topic"
        return " · ".join(part for part in (self.credits, self.issued, self.venue) if part)

    @cached_property
    def digest(self) -> str:
        """A digest of all of it."""
        return _digest(self.tell())

    def tell(self) -> str:
        """Write it as text."""
        told = {name: value for name, value in vars(self).items() if name != "digest"}
        told["questions"] = [vars(one) for one in self.questions]
        return json.dumps(told, default=datetime.date.isoformat)

    @classmethod
    def read(cls, text: str) -> Summary:
        """Return what was written by `tell`."""
        told = json.loads(text)
        for name in _TUPLES:
            told[name] = tuple(told[name])
        told["heading"], told["idea"] = Markup(told["heading"]), Markup(told["idea"])
        told["own"] = tuple((name, tuple(values)) for name, values in told["own"])
        told["outcomes"] = {Outcome(name): count for name, count in told["outcomes"].items()}
        told["questions"] = tuple(
            QuestionSummary(
                **one
                | {
                    "ask": Markup(one["ask"]),
                    "asked": datetime.date.fromisoformat(one["asked"]),
                    "state": State(one["state"]),
                    "brief": Markup(one["brief"]),
                }
            )
            for one in told["questions"]
        )
        read = cls(**told)
        read.__dict__["digest"] = _digest(text)
        return read


_TUPLES = ("authors", "surnames", "tags", "affiliations", "builds_on", "links", "stale")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def summarize(
    paper: Paper,
    asked: Iterable[tuple[Asked, State]],
    module: Module | None,
    outcomes: Mapping[Outcome, int],
    stale: Iterable[str],
    known: Container[str],
    own: Iterable[str],
    here: markup.Surroundings,
) -> Summary:
    """Summarize a card.

    Args:
        paper: The card.
        asked: Its questions with their states.
        module: The module that implements it.
        outcomes: How many of its claims have each outcome.
        stale: Which of its experiment's results are stale, by size.
        known: The slugs of all cards.
        own: The library's own fields by which papers are filtered.
        here: Any page: the texts are without links.
    """
    card, reference = paper.card, paper.reference
    asked = list(asked)
    people = [name for name in reference.people if name is not OTHERS]
    return Summary(
        slug=paper.slug,
        origin=(*card.formerly, paper.slug)[0],
        file=paper.file,
        title=reference.title,
        heading=markup.runs(reference.heading),
        name=paper.name,
        authors=tuple(map(str, people)),
        surnames=tuple(name.surname for name in people),
        credits=reference.short_credits,
        year=reference.year,
        issued=str(reference.issued),
        venue=reference.venue,
        doi=reference.doi or "",
        arxiv=reference.arxiv or "",
        idea=markup.inline(card.idea, here, links=False),
        words=markup.words(card.idea, here),
        tags=card.tags,
        affiliations=card.affiliations,
        reading=card.reading.state if card.reading else "",
        builds_on=tuple(slug for slug in dict.fromkeys(card.builds_on) if slug in known and slug != paper.slug),
        module=module.name if module else "",
        questions=tuple(_question(one, state, here) for one, state in asked),
        outcomes=outcomes,
        links=tuple(slug for slug in _linked(card, asked) if slug in known and slug != paper.slug),
        stale=tuple(stale),
        has_link=bool(card.links),
        status=card.status.state if card.status else "",
        is_topic=card.is_topic,
        own=tuple((name, own_fields.values(card.extra.get(name))) for name in own),
        superseded_by=card.status.by if card.status and card.status.by and card.status.by in known else "",
    )


def _linked(card: Card, asked: Iterable[tuple[Asked, State]]) -> dict[str, None]:
    """Return the cards that a card's texts link to, or to whose questions, each once in the order of the texts."""
    texts = [card.idea, card.notes or ""]
    texts += (text for one in card.departures for text in (one.what, one.where))
    for one, _ in asked:
        texts += (one.question.ask, one.question.prose, *(answer.prose for answer in one.running))
    texts += (one.note or "" for one in card.quotes)
    texts += (text for one in card.claims for text in (one.says, one.where, one.reported))
    targets = (target for text in texts if "[[" in text for _, target in wikilinks.wikilinks(text))
    return dict.fromkeys(re.split(r"[.#]", target)[0] for target in targets)


def _question(asked: Asked, state: State, here: markup.Surroundings) -> QuestionSummary:
    question = asked.question
    prose = asked.prose
    return QuestionSummary(
        id=asked.id,
        name=question.id,
        ask=markup.inline(question.ask, here, links=False),
        words=markup.words(question.ask, here),
        asked=question.asked,
        state=state,
        brief=markup.first_sentence(prose, here) if prose else Markup(),
        prose=prose,
        origin=f"{(*asked.paper.card.formerly, asked.paper.slug)[0]}.{(*question.formerly, question.id)[0]}",
        line=asked.place.line,
    )
