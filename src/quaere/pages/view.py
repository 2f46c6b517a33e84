"""A library as its pages show it: paths, links between pages, and rendered texts."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache, partial
from itertools import takewhile
from typing import Protocol, TypeVar
from urllib.parse import quote, urlsplit

from jinja2 import Environment
from markupsafe import Markup

from quaere.content import addresses, own_fields, wikilinks
from quaere.content.attachments import PICTURES
from quaere.content.bibliography.reference import Reference
from quaere.content.history import History
from quaere.content.markdown import is_relative
from quaere.content.model import Answer, Asked, Library, Module, Paper, Verdict
from quaere.content.results import Figure
from quaere.content.states import State
from quaere.pages import claims, lineage, markup, names, parts
from quaere.pages.lineage import Kin, Trouble
from quaere.pages.markup import Ids, Image, Target
from quaere.pages.names import Known, Names
from quaere.pages.summary import Summary, summarize

SECTIONS = frozenset(
    {"lineage", "links", "notes", "questions", "quotes", "departures", "claims", "experiment", "cite", "history"}
)
"""The sections of a card's page."""

OF_LINEAGE = ("followers", "kin", "lineage", "lineage_places", "troubles")
"""What a view tells of each card by its place in the lineage; a page that asks for one of these asks for most."""

_LOGS = {"github.com": "commits", "gitlab.com": "-/commits", "codeberg.org": "commits/branch"}
"""Under which path each host shows a file's history."""

MEANINGS = {
    State.DEMONSTRATED: "Answered by code that passed on the current code and versions.",
    State.ANSWERED: "Answered in prose only.",
    State.UNVERIFIED: "Answered by code that has changed since it last ran, or never ran.",
    State.BROKEN: "Answered by code that ran and failed.",
    State.OPEN: "Not answered yet.",
}
"""The states in the order in which pages list them, and what each means."""

_TARGET = re.compile(r"([^#?]*)([#?]?)(.*)", re.DOTALL)
_AXES = re.compile(r"^#{1,6} Axes\b[^\n]*\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
_AXIS = re.compile(r"^\| *(`[^|\n]*) *\| *([^|\n]+?) *\|", re.MULTILINE)


T = TypeVar("T")

Kept = Callable[[bytes, Callable[[], str]], str]
"""Returns what was made from a source: what is kept of it, or else what the function makes now."""


def not_kept(source: bytes, make: Callable[[], str]) -> str:
    """Keep nothing."""
    return make()


class Store(Protocol):
    """What keeps texts from one build to the next."""

    def find(self, source: bytes) -> str | None:
        """Return what is kept of a source; None if there is nothing."""

    def keep(self, made: Iterable[tuple[bytes, str]]) -> None:
        """Keep what was made from some sources."""

    def held(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what was made under a name for the last build of this process, or make it now."""

    def hold(self, name: Hashable, value: object) -> None:
        """Hold a value for the next build of this process."""


class _Nothing:
    def find(self, source: bytes) -> str | None:
        return None

    def keep(self, made: Iterable[tuple[bytes, str]]) -> None:
        pass

    def held(self, name: Hashable, make: Callable[[], T]) -> T:
        return make()

    def hold(self, name: Hashable, value: object) -> None:
        pass


NOTHING = _Nothing()
"""Keeps nothing."""


class Derive(Protocol):
    """Returns what follows from a card, read from a text: made by a function of a view, or kept under a name."""

    def __call__(self, view: View, name: str, paper: Paper, make: Callable[[View], str], read: Callable[[str], T]) -> T:
        """Return it."""


class Tell(Protocol):
    """Returns what the library as JSON says of a card."""

    def __call__(self, view: View, slug: str) -> str:
        """Return it."""


def _made(view: View, name: str, paper: Paper, make: Callable[[View], str], read: Callable[[str], T]) -> T:
    return read(make(view))


def _untold(view: View, slug: str) -> str:
    return "{}"


@dataclass(frozen=True)
class Called:
    """A card as a text names it that links to it: by its name in a sentence, or its short name or whole title."""

    slug: str
    name: str
    title: str


@dataclass(frozen=True)
class AskedAs:
    """A question as a text names it that links to it: by what is asked; `id` is its name in its card."""

    slug: str
    id: str
    ask: str
    state: State


@dataclass(frozen=True)
class View:
    """Everything that pages are rendered from.

    `templates` makes them; `repo` is the address of the repository, without which nothing can be edited there, and
    `branch` the one that is linked; `has_documentation` tells whether the modules' pages say what is in them; `kept`
    keeps what takes long to make; `has_folders` tells whether a page has a folder of its own (`papers/toy/`) or a file
    (`papers/toy.html`); `site_url` is the site's whole address, which ends in a slash, or empty; `description` is what
    the site is, in a sentence; `history` tells when cards and answers came; `store` keeps what follows from a card,
    `code` is a digest of what makes it, and `derive` makes it, or finds it there; `tell` says a card in JSON.
    """

    library: Library
    verdicts: Mapping[str, Verdict]
    templates: Environment
    citations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    repo: str = ""
    branch: str = "main"
    name: str = ""
    has_folders: bool = True
    has_documentation: bool = True
    kept: Kept = not_kept
    site_url: str = ""
    description: str = ""
    history: History = field(default_factory=History)
    store: Store = NOTHING
    code: str = ""
    derive: Derive = _made
    tell: Tell = _untold

    @cached_property
    def key(self) -> str:
        """A digest of what all that follows from a card depends on besides the library."""
        templates = sorted(self.library.templates.items())
        site = (self.repo, self.branch, self.name, self.has_folders, self.site_url)
        told = (self.code, templates, site, json.dumps(self.library.extra))
        return _digest(told)

    @cached_property
    def of_cards(self) -> Mapping[str, str]:
        """A digest of all that is known of each card and its questions, other cards aside."""
        return {slug: self._of_card(paper) for slug, paper in self.library.papers.items()}

    def _of_card(self, paper: Paper) -> str:
        library, slug = self.library, paper.slug
        module, experiment = library.module_of(paper), library.experiments.get(slug)
        asked = []
        for one in self.asked[slug]:
            names = dict.fromkeys((one.id, *(answer.id for answer in one.running)))
            verdicts = [self.verdicts.get(name) for name in names]
            answered = self.history.answered(one.id)
            if one.running or any(verdicts) or answered:
                asked.append((one.id, one.running, verdicts, answered))
        ran = [(one.model_dump_json(), library.is_stale(slug, one)) for one in library.results.get(slug, ())]
        span = self.history.files.get(paper.file)
        # Of a module, pages may show anything.
        code = [one and vars(one) for one in (module, experiment)]
        return _digest((paper.digest, code, asked, ran, span))

    @cached_property
    def states(self) -> Mapping[str, State]:
        """The state of each question."""
        return {id: asked.state(self.verdicts) for id, asked in self.library.questions.items()}

    @cached_property
    def asked(self) -> Mapping[str, tuple[Asked, ...]]:
        """The questions of each paper."""
        asked: dict[str, list[Asked]] = {slug: [] for slug in self.library.papers}
        for one in self.library.questions.values():
            asked[one.paper.slug].append(one)
        return {slug: tuple(questions) for slug, questions in asked.items()}

    @cached_property
    def answered_by(self) -> Mapping[str, tuple[str, ...]]:
        """The questions that each module answers."""
        answered: dict[str, list[str]] = {}
        for id, asked in self.library.questions.items():
            for module in dict.fromkeys(answer.module for answer in asked.running):
                answered.setdefault(module, []).append(id)
        return {module: tuple(ids) for module, ids in answered.items()}

    @cached_property
    def papers(self) -> tuple[Paper, ...]:
        """The papers, the newest first."""
        papers = self.library.papers.values()
        return tuple(sorted(papers, key=lambda paper: (-(paper.reference.year or 0), paper.reference.title.casefold())))

    @cached_property
    def summaries(self) -> Mapping[str, Summary]:
        """What other pages may know of each paper, by slug; the newest papers come first."""
        return {paper.slug: self._summary(paper) for paper in self.papers}

    def _summary(self, paper: Paper) -> Summary:
        library = self.library

        def made(shown: View) -> str:
            return summarize(
                paper,
                [(one, self.states[one.id]) for one in self.asked[paper.slug]],
                library.module_of(paper),
                claims.by_outcome(claims.judged(library, paper)),
                [str(one.size) for one in library.results.get(paper.slug, ()) if library.is_stale(paper.slug, one)],
                shown.library.papers,
                own_fields.facets(library.extra),
                _Anywhere(shown, addresses.PAPERS),
            ).tell()

        return self.derive(self, "summary", paper, made, Summary.read)

    @cached_property
    def told(self) -> Mapping[str, str]:
        """What the library as JSON says of each paper. It is long: each is found or made when it is asked for."""
        return _Told(self)

    def telling(self, slug: str) -> tuple[str, Paper, Callable[[View], str]]:
        """Return the name under which it is kept, the paper, and what makes it."""
        return "JSON", self.library.papers[slug], partial(self.tell, slug=slug)

    @cached_property
    def tags(self) -> Mapping[str, tuple[Summary, ...]]:
        """The papers of each tag."""
        return self._grouped(lambda paper: paper.tags)

    @cached_property
    def affiliations(self) -> Mapping[str, tuple[Summary, ...]]:
        """The papers of each affiliation."""
        return self._grouped(lambda paper: paper.affiliations)

    @cached_property
    def tag_anchors(self) -> Mapping[str, str]:
        """The heading of each tag on its page."""
        return _anchors(self.tags)

    @cached_property
    def affiliation_anchors(self) -> Mapping[str, str]:
        """The heading of each affiliation on its page."""
        return _anchors(self.affiliations)

    @cached_property
    def paper_parts(self) -> Mapping[int, tuple[Summary, ...]]:
        """The papers by the number of the page of the list on which they stand."""
        return _numbered(parts.split(self.summaries.values(), parts.PAPERS))

    @cached_property
    def question_parts(self) -> Mapping[int, tuple[Summary, ...]]:
        """The papers with questions by the number of the page on which the questions stand."""
        asked = (paper for paper in self.summaries.values() if paper.questions)
        return _numbered(parts.split(asked, parts.QUESTIONS, lambda paper: len(paper.questions)))

    @cached_property
    def tag_parts(self) -> Mapping[int, tuple[parts.Group, ...]]:
        """The papers of each tag by the number of the page on which they stand."""
        return _numbered(parts.split_groups(self.tags))

    @cached_property
    def affiliation_parts(self) -> Mapping[int, tuple[parts.Group, ...]]:
        """The papers of each affiliation by the number of the page on which they stand."""
        return _numbered(parts.split_groups(self.affiliations))

    @cached_property
    def tag_counts(self) -> Mapping[str, int]:
        """How many papers have each tag."""
        return {tag: len(papers) for tag, papers in self.tags.items()}

    @cached_property
    def affiliation_counts(self) -> Mapping[str, int]:
        """How many papers have each affiliation."""
        return {name: len(papers) for name, papers in self.affiliations.items()}

    @cached_property
    def references(self) -> Mapping[str, Reference]:
        """The entry of each paper in the bibliography; topics have none."""
        return {slug: paper.reference for slug, paper in self.library.papers.items() if slug not in self.topics}

    @cached_property
    def has_status(self) -> bool:
        """Whether something has become of a paper."""
        return any(paper.card.status for paper in self.library.papers.values())

    @cached_property
    def topics(self) -> frozenset[str]:
        """The slugs of the topics."""
        return frozenset(slug for slug, paper in self.library.papers.items() if paper.is_topic)

    @cached_property
    def mentions(self) -> Mapping[str, tuple[str, ...]]:
        """The hand-written pages that link to each paper or to one of its questions."""
        mentions: dict[str, dict[str, None]] = {}
        for page, text in self.library.docs.items():
            for _, target in wikilinks.wikilinks(text):
                slug = re.split(r"[.#]", target)[0]
                mentions.setdefault(self.library.today(slug), {})[page] = None
        return {slug: tuple(pages) for slug, pages in mentions.items()}

    def title_of(self, path: str) -> str:
        """Return the title of a page written by hand."""
        heading = re.search(r"^# (.+?)(?:\s*\{[^}]*\})?\s*$", self.library.docs[path], re.MULTILINE)
        return heading[1] if heading else path

    @cached_property
    def names(self) -> Known:
        """What each module defines."""
        modules = {module.name: module for module in self.library.modules}

        @cache
        def of(name: str) -> Names | None:
            module = modules.get(name)
            return names.of_source(module.name, module.is_package, module.source) if module else None

        return Known(of)

    @cached_property
    def axes(self) -> Mapping[str, str]:
        """What hand-written pages say of axes, in a table below a heading `Axes`: names as code, then the meaning."""
        found: dict[str, str] = {}
        for path in sorted(self.library.docs):
            table = _AXES.search(self.library.docs[path])
            for written, meaning in _AXIS.findall(table[1]) if table else ():
                for name in re.findall(r"`(\w+)`", written):
                    found.setdefault(name, Here(self, path).said(meaning))
        return found

    @cached_property
    def implementing(self) -> Mapping[str, tuple[Summary, ...]]:
        """The papers that each module implements, the newest first."""
        return self._grouped(lambda paper: (paper.module,) if paper.module else ())

    @cached_property
    def built_on(self) -> Mapping[str, tuple[Summary, ...]]:
        """The papers that build on each, the newest first; a paper on which none builds is left out."""
        return self._grouped(lambda paper: paper.builds_on)

    @cached_property
    def kin(self) -> Mapping[str, Kin]:
        """What a lineage shows of each paper, the newest first."""
        return {slug: Kin.of(paper) for slug, paper in self.summaries.items()}

    @cached_property
    def lineage(self) -> Mapping[str, Kin]:
        """The same without the topics, which no paper builds on."""
        return {slug: kin for slug, kin in self.kin.items() if not self.summaries[slug].is_topic}

    @cached_property
    def year_parts(self) -> tuple[tuple[tuple[int | None, tuple[Kin, ...]], ...], ...]:
        """The papers of the lineage by year, the oldest first, by the page on which they stand."""
        years: dict[int | None, list[Kin]] = {}
        for paper in self.lineage.values():
            years.setdefault(paper.year, []).append(paper)
        in_order = sorted(years, key=lambda year: (year is None, year or 0))
        return parts.split_groups({year: tuple(years[year]) for year in in_order})

    @cached_property
    def is_lineage_long(self) -> bool:
        """Whether the papers of the lineage stand on pages of their own."""
        return len(self.year_parts) > 1

    @cached_property
    def lineage_places(self) -> Mapping[str, str]:
        """The place of each paper in the list of the lineage."""
        first = 1 + self.is_lineage_long
        return {
            paper.slug: f"{addresses.part(addresses.LINEAGE, number)}#{paper.slug}"
            for number, part in enumerate(self.year_parts, first)
            for _, papers in part
            for paper in papers
        }

    @cached_property
    def counted(self) -> str:
        """How many papers and topics there are, in words."""
        topics = sum(one.is_topic for one in self.summaries.values())
        papers = len(self.summaries) - topics
        told = f"{papers} paper{'s' * (papers != 1)}"
        return f"{told}, {topics} topic{'s' * (topics != 1)}" if topics else told

    @cached_property
    def troubles(self) -> Mapping[str, Trouble]:
        """What each paper rests on that doesn't hold; a paper for which all holds is left out."""
        return lineage.troubles(self.kin)

    # Slugs only, so that what asks for them does not change with all that their papers say.

    @cached_property
    def tagged(self) -> Mapping[str, tuple[str, ...]]:
        """The slugs of the papers that have each tag, the newest first."""
        return _slugs(self.tags)

    @cached_property
    def followers(self) -> Mapping[str, tuple[str, ...]]:
        """The slugs of the papers that build on each, the newest first; a paper on which none builds is left out."""
        return _slugs(self.built_on)

    @cached_property
    def linked_from(self) -> Mapping[str, tuple[str, ...]]:
        """The slugs of the cards that link to each, the newest first; a paper to which none links is left out."""
        return _slugs(self._grouped(lambda paper: paper.links))

    def linked(self, name: str) -> Called | AskedAs | None:
        """Return what a text may know of the card or question that it links to; None if there is none."""
        library = self.library
        name = library.today(name)
        if paper := library.papers.get(name):
            return Called(name, paper.name, paper.card.short or paper.reference.title)
        name = library.answering.get(name, name)
        if asked := library.questions.get(name):
            return AskedAs(asked.paper.slug, asked.question.id, asked.question.ask, self.states[name])
        return None

    def fragment(self, slug: str, part: str) -> str:
        """Return the id of a part of a card's page, by its heading."""
        return _part(self.library.papers[slug], markup.slug(part))

    def in_lineage(self, slug: str) -> tuple[object, ...]:
        """Return what each of `OF_LINEAGE` says of a card."""
        return tuple(getattr(self, name).get(slug) for name in OF_LINEAGE)

    def count(self, ids: Iterable[str]) -> dict[State, int]:
        """Count some questions by state; states that none has are left out."""
        counts = Counter(self.states[id] for id in ids)
        return {state: counts[state] for state in MEANINGS if counts[state]}

    def _grouped(self, names: Callable[[Summary], Iterable[str]]) -> Mapping[str, tuple[Summary, ...]]:
        found: dict[str, list[Summary]] = {}
        for paper in self.summaries.values():
            for name in names(paper):
                found.setdefault(name, []).append(paper)
        return {name: tuple(found[name]) for name in sorted(found, key=str.casefold)}

    def url(self, path: str) -> str:
        """Return the address of a page or a file from the site's home."""
        return _url(path, self.has_folders)

    def whole(self, target: str) -> str:
        """Return the whole address of a page or a file, with its fragment; empty if the site has none."""
        path, mark, rest = target.partition("#")
        return f"{self.site_url}{self.url(path)}{mark}{rest}" if self.site_url else ""

    def at_run(self, asked: Asked, name: str) -> str:
        """Return the address of the line of one of a question's answers, at the commit on which the answer ran.

        It is empty without a repository, and if the line may have been another one then: if the answer has changed
        since, if files differed from the commit, or if the answer doesn't reach its own module.
        """
        answer = next((one for one in asked.running if one.id == name), None)
        verdict = self.verdicts.get(name)
        if not (self.repo and answer and verdict and verdict.key == answer.key and answer.module in answer.imports):
            return ""
        is_commit = re.fullmatch(r"[0-9a-f]{7,40}", verdict.commit)
        return f"{self.repo}/blob/{verdict.commit}/{quote(answer.place.file)}#L{answer.place.line}" if is_commit else ""

    def edit(self, file: str, line: int = 1) -> str:
        """Return the address at which a file is edited in the browser; empty without a repository."""
        return f"{self.repo}/edit/{self.branch}/{quote(file)}#L{line}" if self.repo else ""

    def log(self, file: str) -> str:
        """Return the address of a file's history in the repository; empty if the host is not known."""
        form = _LOGS.get(urlsplit(self.repo).hostname or "")
        return f"{self.repo}/{form}/{quote(self.branch)}/{quote(file)}" if form else ""

    def commit(self, name: str) -> str:
        """Return the address of a commit; empty without a repository."""
        return f"{self.repo}/commit/{name}" if self.repo else ""


@dataclass(frozen=True)
class Here:
    """A page from whose place others are linked, and on which texts are shown.

    `origin` is the page for which the texts were written, if it is another one; relative addresses lead from there.
    """

    view: View
    path: str
    ids: Ids = field(default_factory=Ids)
    origin: str = ""

    def of(self, written: Paper | Summary | str) -> Here:
        """Return this page for the texts of a card, or of the page of a path."""
        origin = written if isinstance(written, str) else addresses.card(written.slug)
        return self if origin == self.path else replace(self, origin=origin)

    def to(self, target: str) -> str:
        """Return the relative link from this page to another, with its query and fragment."""
        path, mark, rest = _TARGET.fullmatch(target).groups()  # type: ignore[union-attr]
        if mark and (marked := self.view.library.marked_pages) and target in marked:
            path, mark, rest = target, "", ""
        if path == self.path and mark == "#":
            return f"#{rest}"
        return _way(self.view.url(self.path), self.view.url(path)) + mark + rest

    def paper(self, paper: Paper | Summary | Kin) -> str:
        """Return the relative link to a card."""
        return self.to(addresses.card(paper.slug))

    def question(self, asked: Asked) -> str:
        """Return the relative link to a question."""
        return self.to(f"{addresses.card(asked.paper.slug)}#{asked.question.id}")

    def module(self, module: Module) -> str:
        """Return the relative link to a module's page."""
        return self.to(addresses.module(module.name))

    def code_of(self, module: Module) -> str:
        """Return the relative link to the page on which a module's code is read."""
        return self.to(addresses.code(module.name))

    def line(self, answer: Answer) -> str:
        """Return the relative link to the line on which an answer begins, on the page of its module's code."""
        return self.to(f"{addresses.code(answer.module)}#L{answer.place.line}")

    def answer(self, answer: Answer) -> str:
        """Return the relative link to the object that an answer documents, or to the nearest one around it."""
        parts = answer.object.removeprefix(answer.module).strip(".").split(".")
        shown = list(takewhile(lambda part: part and not part.startswith("_"), parts))
        page = addresses.module(answer.module)
        return self.to(f"{page}#{'.'.join([answer.module, *shown])}" if self.view.has_documentation else page)

    def tag(self, tag: str) -> str:
        """Return the relative link to a tag's papers."""
        return self.to(f"{addresses.TAGS}#{self.view.tag_anchors[tag]}")

    def affiliation(self, name: str) -> str:
        """Return the relative link to an affiliation's papers."""
        return self.to(f"{addresses.AFFILIATIONS}#{self.view.affiliation_anchors[name]}")

    def drawing(self, name: str, figure: Figure, ground: str) -> str:
        """Return the relative link to a figure's drawing."""
        return self.to(f"{drawing(name, figure, ground)}#only-{ground}")

    def wikilink(self, target: str) -> Target | None:
        """Return the target of a wikilink, or None; `check` reports dead ones."""
        name, _, part = target.partition("#")
        match self.view.linked(name):
            case Called(slug, short, _):
                at = f"#{self.view.fragment(slug, part)}" if part else ""
                # In a sentence, what stands before the colon is name enough.
                short = short if len(short) <= 300 else f"{short[:300]}…"
                return Target(self.to(addresses.card(slug) + at), short)
            case AskedAs(slug, id, ask, state):
                card = addresses.card(slug)
                return Target(self.to(f"{card}#{id}"), ask, is_plain=False, state=state, around=self.of(card))
        return None

    def address(self, written: str) -> str | None:
        """Return the address of a link; None if it is dead."""
        if not is_relative(written):
            return written
        path = self._led_to(written)
        return None if path is None else self.to(path)

    def _led_to(self, written: str) -> str | None:
        return self.view.library.led_to(self.origin or self.path, written)

    def image(self, written: str) -> Image | None:
        """Return an image beside the cards or the hand-written pages; None if there is none."""
        path = self._led_to(written) if is_relative(written) else None
        is_picture = path is not None and posixpath.splitext(path)[1].lower() in PICTURES
        return Image(self.to(path), self.view.library.sizes.get(path)) if path is not None and is_picture else None

    def said(self, line: str) -> str:
        """Return a line of a card in plain words."""
        return markup.words(line, self)

    def inline(self, line: str) -> Markup:
        """Show a line of a card."""
        return markup.inline(line, self)

    def words(self, line: str) -> Markup:
        """Show a line inside a link, without links of its own."""
        return markup.inline(line, self, links=False)

    def block(self, text: str, below: int) -> Markup:
        """Show a text of a card, its headings below one of a given level."""
        return markup.block(text, self, self.ids, below)

    def folded(self, text: str, below: int) -> Markup:
        """Show a text of a card with what stands below each of its highest headings behind a disclosure."""
        return markup.block(text, self, self.ids, below, is_folded=True)

    def brief(self, asked: Asked) -> Markup:
        """Show the first sentence of a question's answer, as lists do."""
        questions = self.view.summaries[asked.paper.slug].questions
        return next(one.brief for one in questions if one.id == asked.id)

    def title(self, paper: Paper) -> Markup:
        """Show the title of a paper."""
        return markup.runs(paper.reference.heading)

    def code(self, text: str, language: str) -> Markup:
        """Show code."""
        made = self.view.templates.get_template("code.html")
        # Of answers, a card has many and a library few.
        source = f"{language} {self.view.code} {text}".encode(errors="surrogatepass")
        keep = self.view.kept if language == "pycon" else not_kept
        body = keep(source, lambda: str(markup.highlighted(text, language)))
        return Markup(made.render(language=language, body=Markup(body)))


class _Anywhere(Here):
    """Any page: a text for all of them has no images, to which each would lead otherwise."""

    def image(self, written: str) -> None:
        """Return nothing: an image is told in words."""


@lru_cache(10_000)
def _url(path: str, has_folders: bool) -> str:
    stem, dot, suffix = path.rpartition(".")
    # A card as Markdown is a file to download.
    if (dot, suffix) != (".", "md") or path.startswith("assets/"):
        return quote(path)
    if posixpath.basename(stem) == "index":
        return quote(stem.removesuffix("index")) + ("" if has_folders else "index.html")
    return quote(stem) + ("/" if has_folders else ".html")


def _way(here: str, there: str) -> str:
    """Return the relative link from one address of the site to another."""
    shared = 0
    for above, below in zip(here.split("/")[:-1], there.split("/")[:-1], strict=False):
        if above != below:
            break
        shared += len(above) + 1
    return "../" * here.count("/", shared) + there[shared:] or "./"


class _Told(Mapping[str, str]):
    def __init__(self, view: View) -> None:
        self._view = view

    def __getitem__(self, slug: str) -> str:
        return self._view.derive(self._view, *self._view.telling(slug), str)

    def __iter__(self) -> Iterator[str]:
        return iter(self._view.library.papers)

    def __len__(self) -> int:
        return len(self._view.library.papers)


def _digest(told: object) -> str:
    return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()[:32]


def _numbered(found: Iterable[T]) -> dict[int, T]:
    return dict(enumerate(found, 1))


def _slugs(groups: Mapping[str, Sequence[Summary]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(paper.slug for paper in papers) for name, papers in groups.items()}


def _part(paper: Paper, name: str) -> str:
    """Return the id of a part of a card's page; those of its sections end in an underscore, which nobody writes."""
    own = {question.id for question in paper.card.questions}
    return f"{name}_" if name in SECTIONS and name not in own else name


def drawing(name: str, figure: Figure, ground: str) -> str:
    """Return the path of a figure's drawing, for light or for dark pages."""
    return f"assets/results/{name}-{figure.id}-{ground}.svg"


def _anchors(names: Iterable[str]) -> dict[str, str]:
    """Name a heading for each name; those that look alike get a number."""
    anchors: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for name in names:
        taken[id := anchor(name)] += 1
        anchors[name] = id if taken[id] == 1 else f"{id}_{taken[id]}"
    return anchors


def anchor(words: str) -> str:
    """Return the name of a heading, or of an outcome in style sheets: lower-case words joined by hyphens."""
    return re.sub(r"[\W_]+", "-", words.casefold()).strip("-") or "other"
