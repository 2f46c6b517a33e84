"""A library as its pages show it: what stands where, how a page links to another, and how a state looks."""

from __future__ import annotations

import datetime
import html
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from quaere.content import wikilinks
from quaere.content.model import Asked, Library, Module, Paper, Verdict
from quaere.content.states import State
from quaere.pages import text

MEANINGS = {
    State.DEMONSTRATED: "Answered in code, and it passed on exactly this code and these versions.",
    State.ANSWERED: "Answered in prose only.",
    State.UNVERIFIED: "Answered in code that has not been run as it stands now.",
    State.BROKEN: "Answered in code that ran and failed.",
    State.OPEN: "Nobody has answered.",
}
"""The states in the order in which pages list them, and what each means."""

INDEX, QUESTIONS, EXPERIMENTS, TAGS, AFFILIATIONS, REFERENCE = (
    "papers/index.md",
    "questions.md",
    "experiments.md",
    "tags.md",
    "affiliations.md",
    "reference/index.md",
)

_DIRECTIVE = re.compile(r"<!--\s*quaere:(?P<name>[\w-]+)\s*-->")


@dataclass(frozen=True)
class View:
    """What pages are made of; `docs` are the pages written by hand, by their paths."""

    library: Library
    verdicts: Mapping[str, Verdict]
    repo: str = ""
    docs: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def states(self) -> Mapping[str, State]:
        """The state of each question."""
        return {id: asked.state(self.verdicts.get(id)) for id, asked in self.library.questions.items()}

    @cached_property
    def asked(self) -> Mapping[str, tuple[Asked, ...]]:
        """The questions of each paper."""
        asked: dict[str, list[Asked]] = {slug: [] for slug in self.library.papers}
        for one in self.library.questions.values():
            asked[one.paper.slug].append(one)
        return {slug: tuple(questions) for slug, questions in asked.items()}

    @cached_property
    def papers(self) -> tuple[Paper, ...]:
        """The papers, the newest first."""
        papers = self.library.papers.values()
        return tuple(sorted(papers, key=lambda paper: (-(paper.reference.year or 0), paper.reference.title.casefold())))

    @cached_property
    def tags(self) -> Mapping[str, tuple[Paper, ...]]:
        """The papers of each tag."""
        return self._grouped(lambda paper: paper.card.tags)

    @cached_property
    def affiliations(self) -> Mapping[str, tuple[Paper, ...]]:
        """The papers of each affiliation."""
        return self._grouped(lambda paper: paper.card.affiliations)

    @cached_property
    def tag_anchors(self) -> Mapping[str, str]:
        """The heading of each tag on its page."""
        return _anchors(self.tags)

    @cached_property
    def affiliation_anchors(self) -> Mapping[str, str]:
        """The heading of each affiliation on its page."""
        return _anchors(self.affiliations)

    @cached_property
    def mentions(self) -> Mapping[str, tuple[str, ...]]:
        """The hand-written pages that link to each paper or to one of its questions."""
        mentions: dict[str, dict[str, None]] = {}
        for page, markdown in self.docs.items():
            for _, target in wikilinks.wikilinks(markdown):
                mentions.setdefault(target.partition(".")[0], {})[page] = None
        return {slug: tuple(pages) for slug, pages in mentions.items()}

    def built_on(self, slug: str) -> tuple[Paper, ...]:
        """Return the papers that build on one."""
        return tuple(paper for paper in self.library.papers.values() if slug in paper.card.builds_on)

    def count(self, ids: Iterable[str]) -> dict[State, int]:
        """Count some questions by state; states that none has are left out."""
        counts = Counter(self.states[id] for id in ids)
        return {state: counts[state] for state in MEANINGS if counts[state]}

    def _grouped(self, names: Callable[[Paper], Iterable[str]]) -> Mapping[str, tuple[Paper, ...]]:
        found: dict[str, list[Paper]] = {}
        for paper in self.papers:
            for name in names(paper):
                found.setdefault(name, []).append(paper)
        return {name: tuple(found[name]) for name in sorted(found, key=str.casefold)}

    def source(self, file: str, line: int = 1) -> str:
        """Return the address of a line in the repository."""
        return text.href(f"{self.repo}/blob/main/{file}#L{line}")

    def edit(self, file: str, line: int = 1) -> str:
        """Return the address at which a file is edited in the browser."""
        return text.href(f"{self.repo}/edit/main/{file}#L{line}")


@dataclass(frozen=True)
class Page:
    """A page from whose place others are linked."""

    view: View
    path: str

    def to(self, target: str) -> str:
        """Return the way from this page to another."""
        path, mark, rest = re.fullmatch(r"([^#?]*)([#?]?)(.*)", target, re.DOTALL).groups()  # type: ignore[union-attr]
        if path == self.path and mark == "#":
            return f"#{rest}"
        return posixpath.relpath(path, posixpath.dirname(self.path) or ".") + mark + rest

    def paper(self, paper: Paper) -> str:
        """Link to a card by the paper's title."""
        return f"[{text.escape(paper.reference.title)}]({self.to(card_path(paper.slug))})"

    def question(self, asked: Asked) -> str:
        """Link to a question by what it asks."""
        target = self.to(f"{card_path(asked.paper.slug)}#{asked.question.id}")
        return f"[{text.inline(asked.question.ask, without_links)}]({target})"

    def module(self, module: Module) -> str:
        """Link to a module's page by its name."""
        return f"[`{module.name}`]({self.to(module_path(module.name))})"

    def tag(self, tag: str) -> str:
        """Link to a tag's papers."""
        return f"[{text.escape(tag)}]({self.to(f'{TAGS}#{self.view.tag_anchors[tag]}')}){{ .q-tag }}"

    def affiliation(self, name: str) -> str:
        """Link to an affiliation's papers."""
        return f"[{text.escape(name)}]({self.to(f'{AFFILIATIONS}#{self.view.affiliation_anchors[name]}')})"

    def wikilink(self, target: str, label: str | None) -> str:
        """Write a wikilink. One that leads nowhere leaves its text; that it does is for `check` to say."""
        label = None if label is None else text.inline(label, without_links)
        if paper := self.view.library.papers.get(target):
            # In a sentence, what stands before the colon is name enough.
            label = label or text.escape(paper.reference.title.partition(": ")[0])
            return f"[{label}]({self.to(card_path(target))})"
        if asked := self.view.library.questions.get(target):
            state = badge(self.view.states[target])
            if label is None:
                return f"{self.question(asked)} {state}"
            return f"[{label}]({self.to(f'{card_path(asked.paper.slug)}#{asked.question.id}')}) {state}"
        return label or text.escape(target)

    def inline(self, line: str) -> str:
        """Write a line of a card."""
        return text.inline(line, self.wikilink)

    def block(self, markdown: str) -> str:
        """Write Markdown of a card or an answer."""
        return text.block(markdown, self.wikilink)

    def expand(self, markdown: str, directives: Mapping[str, Callable[[Page], str]]) -> str:
        """Write out the wikilinks and directives of a page written by hand; all else stays as it is."""

        def verbatim(piece: str) -> str:
            found = _DIRECTIVE.fullmatch(piece)
            return directives[found["name"]](self) if found and found["name"] in directives else piece

        return wikilinks.rewrite(markdown, self.wikilink, verbatim=verbatim)

    def badges(self, ids: Iterable[str]) -> str:
        """Count some questions by state, in badges."""
        counts = self.view.count(ids)
        return " ".join(badge(state, f"{count} {state}") for state, count in counts.items())


def card_path(slug: str) -> str:
    """Return where a card's page stands."""
    return f"papers/{slug}.md"


def module_path(name: str) -> str:
    """Return where a module's page stands. All stand in one folder, so that links between pages are alike."""
    return f"reference/{name.partition('.')[2] or name}.md"


def badge(state: State, words: str = "") -> str:
    """Show a state."""
    return f'<span class="q-badge" data-state="{state}">{html.escape(words or state)}</span>'


def stamp(
    view: View, at: str, seconds: float, commit: str, versions: Mapping[str, str], known: Iterable[str] = ()
) -> str:
    """Write when, how long, on which commit and on which versions something ran, and what else is known of it."""
    name = re.match(r"[0-9a-f]{7,40}", commit)
    shown = html.escape(commit.replace(name[0], name[0][:9], 1) if name else commit)
    if name and view.repo:
        shown = f'<a href="{text.href(f"{view.repo}/commit/{name[0]}")}">{shown}</a>'
    on = [f"{html.escape(name)} {html.escape(version)}" for name, version in versions.items()]
    length = f"{seconds:.2f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
    parts = [_time(at), length, *known, f"commit {shown}" if shown else "", *on]
    return f'<span class="q-stamp">{" · ".join(part for part in parts if part)}</span>'


def _time(at: str) -> str:
    try:
        moment = datetime.datetime.fromisoformat(at)
    except ValueError:
        return html.escape(at)
    return f'<time datetime="{html.escape(at)}">{moment:%Y-%m-%d %H:%M} UTC</time>'


def without_links(target: str, label: str | None) -> str:
    """Write a wikilink that stands in the text of a link: as text."""
    return text.escape(label or target)


def cite(paper: Paper) -> str:
    """Write who wrote a paper, when, and where it appeared."""
    names = paper.reference.authors or paper.reference.editors
    families = [text.escape(name.family) for name in names]
    who = f"{families[0]} et al." if len(families) > 2 else " and ".join(families)
    return " · ".join(
        part for part in (who, str(paper.reference.year or ""), text.escape(paper.reference.venue)) if part
    )


def _anchors(names: Iterable[str]) -> dict[str, str]:
    """Name a heading for each name; those that look alike get a number."""
    anchors: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for name in names:
        taken[anchor := text.anchor(name)] += 1
        anchors[name] = anchor if taken[anchor] == 1 else f"{anchor}_{taken[anchor]}"
    return anchors
