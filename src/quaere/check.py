"""What is wrong between sound parts: a registry of small functions from a library to problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter

from quaere.errors import AnswerError, AuthorError, BibError, CardError, Place, nearest
from quaere.model import Library, Paper
from quaere.wikilinks import wikilinks

Check = Callable[[Library], Iterator[AuthorError]]
CHECKS: list[Check] = []


def check(library: Library) -> list[AuthorError]:
    """Return all that the registered checks find."""
    return [problem for one in CHECKS for problem in one(library)]


def _registered(function: Check) -> Check:
    CHECKS.append(function)
    return function


@_registered
def answers_to_no_question(library: Library) -> Iterator[AuthorError]:
    """Each answer in code names a question that a card asks."""
    for answer in library.answers:
        if answer.id not in library.questions:
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
            if slug not in library.papers:
                place = paper.place("builds_on", index)
                yield CardError(place, f"there is no card `{slug}`", nearest(slug, library.papers))
    try:
        TopologicalSorter({slug: paper.card.builds_on for slug, paper in library.papers.items()}).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        # graphlib names a circle from ancestor to descendant, its first member twice.
        yield CardError(
            library.papers[circle[-1]].place("builds_on"),
            f"the papers build on each other in a circle: {' ← '.join(circle)}",
            "remove the one that the earlier paper can't have known",
        )


@_registered
def links_to_unknown_cards(library: Library) -> Iterator[AuthorError]:
    """Each [[link]] names a card or a question that is there."""
    known = {*library.papers, *library.questions}
    for text, place in _texts(library):
        for offset, target in wikilinks(text):
            if target not in known:
                line = text.count("\n", 0, offset)
                column = offset - text.rfind("\n", 0, offset) - 1
                where = Place(place.file, place.line + line, place.column + column, place.at)
                yield CardError(where, f"[[{target}]] leads nowhere", nearest(target, known))
    for answer in library.answers:
        for _, target in wikilinks(answer.prose):
            if target not in known:
                yield AnswerError(answer.place, f"[[{target}]] leads nowhere", nearest(target, known))


def _texts(library: Library) -> Iterator[tuple[str, Place]]:
    """Yield each text that may hold links, and where it starts."""
    for paper in library.papers.values():
        card = paper.card
        if card.notes:
            yield card.notes, paper.place("notes")
        for index, question in enumerate(card.questions):
            if question.answer:
                yield question.answer, paper.place("questions", index, "answer")
        for index, departure in enumerate(card.departures):
            yield departure.what, paper.place("departures", index, "what")
    for path, text in library.docs.items():
        yield text, Place(path)


@_registered
def unused_references(library: Library) -> Iterator[AuthorError]:
    """Each entry of the bibliography is cited by a card."""
    cited = {paper.card.cite for paper in library.papers.values()}
    for key, place in library.bibliography.items():
        if key not in cited:
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
                hint = f"{nearest(tag, library.vocabulary)} Or add it to `tags` in [tool.quaere].".lstrip()
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
    """Each departure is from a known card, and a test of the paper guards it."""
    for paper in library.papers.values():
        for index, departure in enumerate(paper.card.departures):
            place = paper.place("departures", index)
            if departure.of == "paper" and departure.from_ not in library.papers:
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
