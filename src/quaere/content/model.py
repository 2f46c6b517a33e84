"""The data model of a knowledge base: cards, references, answers, verdicts, and the state of a question."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from quaere.content import addresses
from quaere.content.bibliography.reference import Reference
from quaere.content.results import Figure, Finding, Result
from quaere.content.settings import Settings
from quaere.content.states import State
from quaere.errors import Place

if TYPE_CHECKING:
    from quaere.content.markdown import Link as Link_

Text = Annotated[str, Field(min_length=1)]
# What a link to a question or a card writes out, wherever it stands.
Line = Annotated[str, Field(min_length=1, max_length=2000)]
VERSION = 2
"""The version of the cards' form that is written today; all before can be read."""
SLUG = r"^[a-z][a-z0-9_]*$"
Slug = Annotated[str, Field(pattern=SLUG)]
ModuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")]
Id = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
QuestionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z0-9]+(-[a-z0-9]+)*$")]
ReadingState = Literal["to-read", "reading", "read"]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$")]


_PRIVATE: bool = Field(default=False, description="whether nothing that is made shows it, unless --private is given")


def _page(written: object) -> object:
    return str(written) if type(written) is int else written


class _Part(BaseModel):
    """Part of a card: no unknown keys, no conversion of values, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Reading(_Part):
    """How far the paper has been read."""

    state: ReadingState = Field(description="`to-read`, `reading` or `read`")
    through: Text | None = Field(None, description="the last part read, such as a page or a section")


class Link(_Part):
    """A link to a related page."""

    kind: Literal["paper", "code", "article", "video", "blog", "discussion"] = Field(description="what is there")
    title: Text = Field(description="what the link is called")
    url: Url = Field(description="where it leads, with http:// or https://")


class Departure(_Part):
    """Where a paper departs from what it builds on, or the implementation from the paper."""

    of: Literal["paper", "implementation"] = Field(
        description="`paper`: from what it builds on; `implementation`: from the paper"
    )
    from_: Text = Field(alias="from", description="a card's slug, or the name of public code")
    where: Text = Field(description="section, equation or file")
    what: Text = Field(description="what is different (Markdown)")
    test: Annotated[str, Field(pattern=r"^test_\w+$")] | None = Field(
        None, description="the test of the paper's test file that fails when the departure is undone"
    )


class Quote(_Part):
    """A passage of the paper, word for word."""

    text: Text = Field(description="the paper's own words; they are shown as they stand, and are no Markdown")
    page: Annotated[Text, BeforeValidator(_page), Field(json_schema_extra={"type": ["string", "integer"]})] | None = (
        Field(default=None, description="where it stands, such as 4, 4–5 or §3.2")
    )
    note: Text | None = Field(default=None, description="your own words on it (Markdown)")
    private: bool = _PRIVATE


class Status(_Part):
    """What has become of a paper since it appeared."""

    state: Literal["withdrawn", "superseded", "retracted"] = Field(description="what has become of it")
    by: Line | None = Field(default=None, description="what supersedes it: a card's slug, or text")
    since: datetime.date | None = Field(default=None, description="the date, such as 2026-11-22")
    note: Line | None = Field(default=None, description="what else there is to say, such as where it was announced")


class Reply(_Part):
    """One of several answers to a question: in prose, or the name of one in code."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["text"]}, {"required": ["code"]}]})

    text: Text | None = Field(default=None, description="an answer in prose (Markdown)")
    code: QuestionName | None = Field(
        default=None, description="the name of an answer in code: `Answers: <name>` in a docstring"
    )
    by: Line | None = Field(default=None, description="who answered")
    answered: datetime.date | None = Field(default=None, description="when")


class Question(_Part):
    """A reader's question. Its state is computed, never written."""

    id: Id = Field(description="its name on the card, which links and answers use: words joined by hyphens")
    ask: Line = Field(description="the question, a line of Markdown")
    asked: datetime.date = Field(description="the date of the question, such as 2026-11-22")
    by: Line | None = Field(default=None, description="who asked")
    answer: Text | None = Field(default=None, description="an answer in prose (Markdown)")
    answers: tuple[Reply, ...] = Field(default=(), description="further answers, or all of them, each with who gave it")
    private: bool = _PRIVATE
    formerly: tuple[Id, ...] = Field(
        default=(), description="ids that the question had before; links to them lead to it"
    )

    @property
    def prose(self) -> str:
        """All answers in prose."""
        return "\n\n".join(filter(None, (self.answer, *(reply.text for reply in self.answers))))


class Claim(_Part):
    """A claim of the paper."""

    id: Id = Field(description="its name on the card, which the experiment uses: words joined by hyphens")
    says: Text = Field(description="the claim in a sentence")
    where: Text = Field(description="the section, table or figure of the paper")
    reported: Text = Field(description="the values that the paper reports; in quotes if it is a number")


def _plain(value: object) -> object:
    """Return what YAML holds as JSON would hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


class Card(_Part):
    """One paper, or a topic, as papers/<slug>.yml holds it."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["cite"]}, {"required": ["title"]}]})

    version: Literal[1, 2] = Field(
        default=1, alias="schema", description="the version of the card's form; 1 where the key is absent"
    )
    cite: Annotated[str, Field(pattern=r"^[^\s,{}]+$")] | None = Field(
        default=None, description="the key of an entry in references.bib"
    )
    title: Line | None = Field(
        default=None, description="what a topic is called: a card of questions that belong to no single paper"
    )
    idea: Line = Field(default="", description="the paper in one sentence")
    short: Annotated[str, Field(min_length=1, max_length=60)] | None = Field(
        None,
        description="the paper's name in links; if absent, its title up to the first colon",
    )
    formerly: tuple[Slug, ...] = Field(
        default=(), description="slugs that the card had before; links to them lead to it"
    )
    tags: tuple[Text, ...] = Field(default=(), description="what the paper is about; lists and filters go by them")
    affiliations: tuple[Text, ...] = Field(default=(), description="where its authors work")
    implementation: ModuleName | None = Field(
        None,
        description="the module, in a folder `layers.positions`; null for a card without code. Where the key is "
        "absent, the one that is called like the card: it must be there in version 1, and may be there in version 2",
    )
    reading: Reading | None = Field(None, description="how far the paper has been read")
    links: tuple[Link, ...] = Field(default=(), description="pages about the paper, and its code")
    builds_on: tuple[Slug, ...] = Field(
        default=(), description="slugs of the cards that the paper builds on; its module may import theirs"
    )
    notes: Text | None = Field(None, description="Markdown with $math$, Mermaid and [[card]] links")
    departures: tuple[Departure, ...] = Field(
        default=(), description="where the paper departs from what it builds on, or the code from the paper"
    )
    questions: tuple[Question, ...] = Field(
        default=(), description="what a reader asks; a docstring of the implementation may answer"
    )
    claims: tuple[Claim, ...] = Field(
        default=(), description="what the paper says that it shows; an experiment puts it to the test"
    )
    quotes: tuple[Quote, ...] = Field(default=(), description="passages of the paper, word for word")
    status: Status | None = Field(None, description="what has become of the paper, if something has")
    private: bool = _PRIVATE
    extra: Annotated[Mapping[str, JsonValue], BeforeValidator(_plain)] = Field(
        default_factory=dict,  # pydantic would copy a default for each card
        description="fields of this library's own, as the JSON Schema says that the settings name",
    )

    @property
    def is_topic(self) -> bool:
        """Whether it is a topic instead of a paper."""
        return self.cite is None

    def texts(self) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
        """Yield the path of each text that may hold links, the text, and whether it is a line."""
        yield ("idea",), self.idea, True
        if self.status and self.status.note:
            yield ("status", "note"), self.status.note, True
        for index, question in enumerate(self.questions):
            yield ("questions", index, "ask"), question.ask, True
        for index, departure in enumerate(self.departures):
            yield ("departures", index, "where"), departure.where, True
            yield ("departures", index, "what"), departure.what, True
        for index, claim in enumerate(self.claims):
            yield ("claims", index, "says"), claim.says, True
            yield ("claims", index, "where"), claim.where, True
            yield ("claims", index, "reported"), claim.reported, True
        if self.notes:
            yield ("notes",), self.notes, False
        for index, question in enumerate(self.questions):
            if question.answer:
                yield ("questions", index, "answer"), question.answer, False
            for n, reply in enumerate(question.answers):
                if reply.text:
                    yield ("questions", index, "answers", n, "text"), reply.text, False
        for index, quote in enumerate(self.quotes):
            if quote.note:
                yield ("quotes", index, "note"), quote.note, False


@dataclass(frozen=True)
class Paper:
    """A card with its name, its entry in the bibliography, the place of each of its parts, and its file's text.

    `links` are those of each text that has some, if they are known already. `origin` tells what the card was made of
    and so where its parts stand.
    """

    slug: str
    file: str
    card: Card
    reference: Reference
    places: Mapping[tuple[str | int, ...], Place] = field(repr=False)
    source: str = field(default="", repr=False)
    links: Mapping[tuple[str | int, ...], tuple[Link_, ...]] | None = field(default=None, repr=False)
    origin: str = field(default="", repr=False)

    @property
    def is_topic(self) -> bool:
        """Whether it is a topic instead of a paper."""
        return self.card.is_topic

    @property
    def name(self) -> str:
        """The paper's name in links, plain text: `short`, or its title up to the first colon."""
        return self.card.short or self.reference.title.partition(": ")[0]

    @cached_property
    def digest(self) -> str:
        """A digest of the card's file, of what was read of it, and of its entry of the bibliography."""
        card = self.origin or f"{self.source} {self.card.model_dump_json()}"
        told = (self.slug, self.file, card, self.card.implementation, self.reference.digest)
        return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()[:32]

    def place(self, *path: str | int) -> Place:
        """Return the place of a part of the card, or of the nearest part around it."""
        return next(self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places)


@dataclass(frozen=True)
class Answer:
    """An answer in code: a section `Answers: <paper>.<question>` of a docstring.

    `parts` are its prose (Markdown) and its doctest in their order; `module` and `object` say where it stands;
    `imports` are the implementation's modules that it reaches, the most shared first; `key` changes whenever its code,
    one of these modules, or a version that it runs on changes.
    """

    id: str
    module: str
    object: str
    place: Place
    parts: tuple[tuple[str, str], ...]
    imports: tuple[str, ...]
    key: str

    @property
    def prose(self) -> str:
        """The Markdown around the code."""
        return "\n\n".join(text for kind, text in self.parts if kind == "text")

    @property
    def code(self) -> str:
        """The doctest."""
        return "\n\n".join(text for kind, text in self.parts if kind == "code")


@dataclass(frozen=True)
class Module:
    """A module of the implementation: its dotted name, its file, and the first line of its docstring.

    `key` changes whenever its code changes, or that of a module that it reaches; docstrings and comments don't count.
    `source` is its text.
    """

    name: str
    file: str
    summary: str
    key: str
    source: str = field(default="", repr=False)

    @property
    def is_package(self) -> bool:
        """Whether other modules may be below it."""
        return self.file.endswith("/__init__.py")


@dataclass(frozen=True)
class Verdict:
    """The verdict on an answer: passed or failed, versions, time (UTC, ISO 8601), and duration in seconds."""

    key: str
    passed: bool
    failure: str
    commit: str
    versions: Mapping[str, str]
    at: str
    seconds: float


@dataclass(frozen=True)
class Asked:
    """A question in its paper, with its answers in code.

    `answer` is the one that is named like the question; `named` are those that its card names, by the name there.
    """

    paper: Paper
    question: Question
    index: int
    answer: Answer | None
    named: Mapping[str, Answer] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """The question's full name, `<paper>.<question>`."""
        return f"{self.paper.slug}.{self.question.id}"

    @property
    def place(self) -> Place:
        """The question's place in its card."""
        return self.paper.place("questions", self.index)

    @cached_property
    def running(self) -> tuple[Answer, ...]:
        """The answers in code, each once; the one that is named like the question comes first."""
        own = [self.answer] if self.answer else []
        return tuple({answer.id: answer for answer in (*own, *self.named.values())}.values())

    @property
    def replies(self) -> tuple[tuple[Reply, Answer | None], ...]:
        """All answers in the order in which they are shown, each with its code if it has some."""
        found = [(reply, self.named.get(reply.code or "")) for reply in self.question.answers]
        first: list[tuple[Reply, Answer | None]] = []
        if self.question.answer:
            first.append((Reply(text=self.question.answer), None))
        if self.answer and self.answer not in self.named.values():
            first.append((Reply(code=self.id), self.answer))
        return (*first, *((reply, answer) for reply, answer in found if reply.text or answer))

    @property
    def prose(self) -> str:
        """The answers in prose, or what is written around the code of those that have no other, as Markdown."""
        return self.question.prose or "\n\n".join(answer.prose for answer in self.running)

    def state(self, verdicts: Mapping[str, Verdict]) -> State:
        """Compute the state from the answers, and from the verdicts on those in code.

        Of several answers in code the worst counts: a question is demonstrated only if all of them passed.
        """
        if not (running := self.running):
            return State.ANSWERED if self.question.prose else State.OPEN
        found = [(answer, verdicts.get(answer.id)) for answer in running]
        current = [verdict.passed for answer, verdict in found if verdict and verdict.key == answer.key]
        if not all(current):
            return State.BROKEN
        return State.DEMONSTRATED if len(current) == len(running) else State.UNVERIFIED


@dataclass(frozen=True)
class Library:
    """Everything in a knowledge base, by name.

    `bibliography` tells where each entry stands; `tests` holds the names of the functions in each paper's test file;
    `docs` the pages written by hand, by path below their folder, and `files` the other files there; `attachments` the
    pictures and documents beside the cards, by their path in the site, and `sizes` the width and height of pictures;
    `templates` those that stand in for ours; `unsound` the cards that are there but at fault: what points at them is
    not judged; `results` what came of each paper's experiment, and `benchmarks` how fast the implementation is;
    `renamed` former names of what the implementation holds, with today's; `extra` the JSON Schema of the cards' own
    fields.
    """

    papers: Mapping[str, Paper]
    bibliography: Mapping[str, Place]
    answers: tuple[Answer, ...]
    modules: tuple[Module, ...]
    tests: Mapping[str, frozenset[str]]
    settings: Settings = field(default_factory=Settings)
    docs: Mapping[str, str] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
    attachments: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    unsound: frozenset[str] = frozenset()
    results: Mapping[str, tuple[Result, ...]] = field(default_factory=dict)
    benchmarks: Result | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def questions(self) -> Mapping[str, Asked]:
        """All questions by full name, in the order of the cards."""
        named = ((self.today(answer.id), answer) for answer in reversed(self.answers))
        answers = {id: answer if answer.id == id else replace(answer, id=id) for id, answer in named}

        def coded(question: Question) -> dict[str, Answer]:
            codes = [reply.code for reply in question.answers if reply.code]
            return {code: answers[self.today(code)] for code in codes if self.today(code) in answers}

        asked = (
            Asked(paper, question, index, answers.get(f"{paper.slug}.{question.id}"), coded(question))
            for paper in self.papers.values()
            for index, question in enumerate(paper.card.questions)
        )
        return {one.id: one for one in asked}

    @cached_property
    def answering(self) -> Mapping[str, str]:
        """The question that names each answer in code which is not named like a question, by the answer's name."""
        found: dict[str, str] = {}
        for slug, paper in self.papers.items():
            for question in paper.card.questions:
                for reply in question.answers:
                    if reply.code and (name := self.today(reply.code)) not in self.questions:
                        found.setdefault(name, f"{slug}.{question.id}")
        return found

    @cached_property
    def former_slugs(self) -> Mapping[str, str]:
        """The names that cards had before, with today's. A name that a card has today leads to that card."""
        former = {old: slug for slug, paper in self.papers.items() for old in paper.card.formerly}
        return {old: slug for old, slug in former.items() if old not in self.papers and old not in self.unsound}

    @cached_property
    def _former_ids(self) -> Mapping[str, str]:
        """The names that questions had before on the cards of today, with today's."""
        former: dict[str, str] = {}
        for slug, paper in self.papers.items():
            ids = {question.id for question in paper.card.questions}
            for question in paper.card.questions:
                former |= {f"{slug}.{old}": f"{slug}.{question.id}" for old in question.formerly if old not in ids}
        return former

    def today(self, name: str) -> str:
        """Return what a card or a question of this name is called today; the name itself if it is no former one."""
        slug, dot, id = name.partition(".")
        name = f"{self.former_slugs.get(slug, slug)}{dot}{id}"
        return self._former_ids.get(name, name)

    def former_names(self, name: str) -> Iterator[str]:
        """Yield all names that a question, or an answer in code, may have had before: of its card and its own."""
        slug, _, id = name.partition(".")
        cards = self.papers[slug].card.formerly if slug in self.papers else ()
        ids = self.questions[name].question.formerly if name in self.questions else ()
        for card in (slug, *cards):
            for one in (id, *ids):
                if (former := f"{card}.{one}") != name and self.today(former) == name:
                    yield former

    def has(self, name: str) -> bool:
        """Tell whether a card or a question of this name exists, or may exist in a card with errors.

        A part of a page, as in `toy#notes`, is not looked at.
        """
        name = name.partition("#")[0]
        return name in self.papers or name in self.questions or name.partition(".")[0] in self.unsound

    @cached_property
    def pages(self) -> frozenset[str]:
        """The paths of all pages."""
        cards = (addresses.card(slug) for slug in (*self.papers, *self.unsound))
        modules = (of(module.name) for module in self.modules for of in (addresses.module, addresses.code))
        return frozenset([*addresses.LISTS, *cards, *modules, *self.docs])

    @cached_property
    def marked_pages(self) -> Set[str]:
        """The paths of pages that hold a sign which begins another part of an address; mostly there are none."""
        return frozenset(path for path in self.pages if "#" in path or "?" in path)

    @cached_property
    def _other_files(self) -> Set[str]:
        return self.files | self.attachments.keys()

    def led_to(self, page: str, written: str) -> str | None:
        """Return the page or the file that a relative address on a page leads to; None if there is none."""
        return addresses.led_to(page, written, self.pages, self._other_files)

    def module_of(self, paper: Paper) -> Module | None:
        """Return the module that implements a paper."""
        wanted = paper.card.implementation
        return None if wanted is None else self._own_names.get(wanted)

    @cached_property
    def named_modules(self) -> Mapping[str, Module]:
        """The modules by their names."""
        return {module.name: module for module in self.modules}

    @cached_property
    def _own_names(self) -> Mapping[str, Module]:
        """The modules by their names without that of the package."""
        return {module.name.partition(".")[2]: module for module in reversed(self.modules)}

    @cached_property
    def experiments(self) -> Mapping[str, Module]:
        """The module of each paper's experiment, `<implementation>.experiments.<slug>`, by slug."""
        named = {slug: self._own_names.get(f"experiments.{slug}") for slug in self.papers}
        return {slug: module for slug, module in named.items() if module}

    def is_stale(self, slug: str, result: Result) -> bool:
        """Tell whether the code of a paper's experiment has changed since a result was written."""
        module = self.experiments.get(slug)
        return module is None or module.key != result.key

    def result_file(self, result: Result) -> str:
        """Return the path of an experiment's result."""
        return f"{self.settings.papers}/results/{result.stem}.json"

    def findings(self, slug: str) -> Mapping[str, tuple[Finding, Result]]:
        """Return the finding on each claim, with its result: that of the largest size that has a verdict, if any."""
        found: dict[str, tuple[Finding, Result]] = {}
        for result in self.results.get(slug, ()):
            for finding in result.findings:
                former = found.get(finding.claim)
                if former is None or finding.outcome.is_verdict > former[0].outcome.is_verdict:
                    found[finding.claim] = finding, result
        return found

    def figure(self, name: str) -> tuple[Result, Figure] | None:
        """Return the figure `paper.figure` of an experiment, of the largest size that has it; None if there is none."""
        slug, _, id = name.partition(".")
        found = ((result, one) for result in self.results.get(slug, ()) for one in result.figures if one.id == id)
        return next(found, None)

    @cached_property
    def code_key(self) -> str:
        """A digest of the implementation's code, which changes whenever a module does that is no experiment."""
        keys = {one.name: one.key for one in self.modules if one.name.split(".")[1:2] != ["experiments"]}
        return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def is_speed_stale(self) -> bool:
        """Tell whether the implementation has changed since its benchmarks were run."""
        return self.benchmarks is not None and self.benchmarks.key != self.code_key


def schema() -> str:
    """Return the JSON Schema of a card, for editors."""
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without_defaults(Card.model_json_schema()),
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _without_defaults(part: Any) -> Any:
    """Leave out defaults, which an editor would write after a key that it completes."""
    if isinstance(part, dict):
        return {key: _without_defaults(value) for key, value in part.items() if key != "default"}
    return [_without_defaults(value) for value in part] if isinstance(part, list) else part


if __name__ == "__main__":
    print(schema(), end="")
