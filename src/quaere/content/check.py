"""What is wrong between sound parts: a registry of small functions from a library to problems.

Other distributions add theirs by the entry point `quaere.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from quaere.content import plugins
from quaere.content.model import SLUG, Library, Paper
from quaere.content.wikilinks import wikilinks
from quaere.errors import AnswerError, AuthorError, BibError, CardError, Place, PluginError, ResultError, nearest

Check = Callable[[Library], Iterator[AuthorError]]
CHECKS: list[Check] = []


def check(library: Library) -> list[AuthorError]:
    """Return all that the registered checks find."""
    found = [problem for one in CHECKS for problem in one(library)]
    try:
        return found + [problem for _, one in plugins.loaded("quaere.checks") for problem in one(library)]
    except PluginError as error:
        return [*found, error]


def _registered(function: Check) -> Check:
    CHECKS.append(function)
    return function


@_registered
def answers_to_no_question(library: Library) -> Iterator[AuthorError]:
    """Each answer in code names a question that a card asks."""
    for answer in library.answers:
        if not library.has(answer.id):
            yield AnswerError(answer.place, f"no card asks `{answer.id}`", nearest(answer.id, library.questions))


@_registered
def questions_answered_twice(library: Library) -> Iterator[AuthorError]:
    """Each question has one answer in code, so that its state has one meaning."""
    first: dict[str, Place] = {}
    for answer in library.answers:
        if answer.id in first:
            hint = f"the first answer is {first[answer.id]}: keep one of them"
            yield AnswerError(answer.place, f"`{answer.id}` is answered twice", hint)
        first.setdefault(answer.id, answer.place)


@_registered
def lineage(library: Library) -> Iterator[AuthorError]:
    """A card builds on other cards that are there, and not on itself by any road."""
    for paper in library.papers.values():
        for index, slug in enumerate(paper.card.builds_on):
            if not library.has(slug):
                place = paper.place("builds_on", index)
                yield CardError(place, f"there is no card `{slug}`", nearest(slug, library.papers))
    ancestors = {slug: set(paper.card.builds_on) for slug, paper in library.papers.items()}
    while circle := _circle(ancestors):
        later, earlier = circle[:2]
        ancestors[later].remove(earlier)
        place = library.papers[later].place("builds_on", library.papers[later].card.builds_on.index(earlier))
        problem = f"the papers build on each other in a circle: {' on '.join(f'`{slug}`' for slug in circle)}"
        yield CardError(place, problem, "remove the one that the earlier paper can't have known")


def _circle(ancestors: Mapping[str, set[str]]) -> list[str]:
    """Return the slugs of a circle, if there is one: each before one that it builds on, the first again at the end."""
    try:
        TopologicalSorter(ancestors).prepare()
    except CycleError as error:
        members: list[str] = error.args[1][:0:-1]
        start = members.index(min(members))
        return [*members[start:], *members[: start + 1]]
    return []


@_registered
def links_to_unknown_cards(library: Library) -> Iterator[AuthorError]:
    """Each [[link]] names a card or a question that is there."""
    known = {*library.papers, *library.questions}
    for text, place, source in _texts(library):
        for offset, target in wikilinks(text):
            if not library.has(target):
                where = _place_within(text, offset, place, source)
                yield CardError(where, f"[[{target}]] leads nowhere", nearest(target, known))
    for answer in library.answers:
        for _, target in wikilinks(answer.prose):
            if not library.has(target):
                yield AnswerError(answer.place, f"[[{target}]] leads nowhere", nearest(target, known))


def _texts(library: Library) -> Iterator[tuple[str, Place, str]]:
    """Yield each text that may hold links, where it starts, and the text of the file around it."""
    for paper in library.papers.values():
        card = paper.card
        texts: list[tuple[str | None, *tuple[str | int, ...]]] = [(card.idea, "idea"), (card.notes, "notes")]
        for index, question in enumerate(card.questions):
            texts += ((getattr(question, name), "questions", index, name) for name in ("ask", "answer"))
        for index, departure in enumerate(card.departures):
            texts += ((getattr(departure, name), "departures", index, name) for name in ("where", "what"))
        for index, claim in enumerate(card.claims):
            texts += ((getattr(claim, name), "claims", index, name) for name in ("says", "where", "reported"))
        yield from ((text, paper.place(*path), paper.source) for text, *path in texts if text)
    for path, text in library.docs.items():
        yield text, Place(path), text


def _place_within(text: str, offset: int, start: Place, source: str) -> Place:
    """Return where the link at an offset of a text stands in the file, whatever YAML did to indentation and lines."""
    link = text[offset : text.index("]]", offset) + 2]
    before = source.split("\n")[: start.line - 1]
    position = sum(len(line) + 1 for line in before) + start.column - 2
    for _ in range(text.count(link, 0, offset) + 1):
        position = source.find(link, position + 1)
    if position < 0:
        return start
    column = position - source.rfind("\n", 0, position)
    return Place(start.file, source.count("\n", 0, position) + 1, column, start.at)


@_registered
def unused_references(library: Library) -> Iterator[AuthorError]:
    """Each entry of the bibliography is cited by a card."""
    cited = {paper.card.cite for paper in library.papers.values()}
    for key, place in library.bibliography.items():
        # A card that can't be read may cite it.
        if key not in cited and library.papers and not library.unsound:
            yield BibError(place, f"no card cites `{key}`", "write its card, or remove the entry")


@_registered
def incomplete_references(library: Library) -> Iterator[AuthorError]:
    """Each reference tells who wrote what, and when."""
    for paper in library.papers.values():
        reference = paper.reference
        present = {"author": reference.authors or reference.editors, "title": "title" in reference.fields}
        for name, value in (*present.items(), ("year", reference.year)):
            if not value:
                yield BibError(reference.place, f"entry `{reference.key}` has no {name}", f"add `{name} = {{…}}`")


@_registered
def tags_outside_the_vocabulary(library: Library) -> Iterator[AuthorError]:
    """Each tag is one of those agreed on, once a card."""
    for paper in library.papers.values():
        for index, tag in enumerate(paper.card.tags):
            place = paper.place("tags", index)
            if library.vocabulary is not None and tag not in library.vocabulary:
                near = nearest(tag, library.vocabulary)
                hint = "; ".join(filter(None, ["if it is meant, add it to `tags` in [tool.quaere]", near]))
                yield CardError(place, f"unknown tag `{tag}`", hint)
            elif tag in paper.card.tags[:index]:
                yield CardError(place, f"the tag `{tag}` stands here twice", "keep one of them")


@_registered
def links_without_encryption(library: Library) -> Iterator[AuthorError]:
    """A link is an https address."""
    for paper in library.papers.values():
        for index, link in enumerate(paper.card.links):
            if link.url.startswith("http:"):
                place = paper.place("links", index, "url")
                yield CardError(place, f"`{link.url}` goes over http", "write https://")


@_registered
def missing_implementations(library: Library) -> Iterator[AuthorError]:
    """A card's module is there, unless the card says that it has none."""
    for paper in library.papers.values():
        if paper.card.implementation and not library.module_of(paper):
            modules = [module.name.partition(".")[2] for module in library.modules]
            hint = nearest(paper.card.implementation, filter(None, modules))
            place = paper.place("implementation")
            problem = f"there is no module `{paper.card.implementation}`"
            hint = "; ".join(filter(None, ["write `implementation: null` on a card without code", hint]))
            yield CardError(place, problem, hint)


@_registered
def departures(library: Library) -> Iterator[AuthorError]:
    """Each departure is from a known card, or from what has none, and a test of the paper guards it."""
    for paper in library.papers.values():
        for index, departure in enumerate(paper.card.departures):
            place = paper.place("departures", index)
            # What reads as a slug means a card; other papers and public code go by their names.
            if re.fullmatch(SLUG, departure.from_) and not library.has(departure.from_):
                where = paper.place("departures", index, "from")
                hint = nearest(departure.from_, library.papers)
                yield CardError(where, f"there is no card `{departure.from_}`", hint)
            if departure.test:
                yield from _missing_test(library, paper, index, departure.test)
            elif paper.card.implementation:
                yield CardError(place, "no test guards this departure", "name one: `test: test_…`")


def _missing_test(library: Library, paper: Paper, index: int, test: str) -> Iterator[AuthorError]:
    tests = library.tests.get(paper.slug, frozenset())
    if test not in tests:
        place = paper.place("departures", index, "test")
        yield CardError(place, f"test_{paper.slug}.py has no `{test}`", nearest(test, tests) or "write it")


@_registered
def findings_on_no_claim(library: Library) -> Iterator[AuthorError]:
    """Each finding of a paper's experiment is on a claim that its card makes."""
    for slug, result in library.results.items():
        if paper := library.papers.get(slug):
            claims = {claim.id for claim in paper.card.claims}
            for finding in result.findings:
                if finding.claim not in claims:
                    problem = f"the card makes no claim `{finding.claim}`, which its experiment judges"
                    hint = nearest(finding.claim, claims) or "add it, or run the experiment again"
                    yield ResultError(paper.place("claims"), problem, hint)
