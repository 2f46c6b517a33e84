"""Checks of a whole library: a registry of small functions from a library to errors.

Other distributions add theirs by the entry point `quaere.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from urllib.parse import unquote

from quaere.content import addresses, markdown, own_fields, plugins
from quaere.content.markdown import Link
from quaere.content.model import SLUG, Library, Paper
from quaere.content.wikilinks import parts, wikilinks
from quaere.errors import (
    AnswerError,
    AuthorError,
    BibError,
    CardError,
    PageError,
    Place,
    PluginError,
    PrivacyError,
    ResultError,
    Severity,
    nearest,
)

Check = Callable[[Library], Iterator[AuthorError]]
CHECKS: list[Check] = []
# Rules that can be mended.
DUPLICATE_TAG, OWN_NAME, TWICE_IN_CARD = "duplicate-tag", "former-name-in-use", "duplicate-former-name"
# Links of a text that are not found in its file, as where YAML writes them with escapes, before no more are looked for.
_LOST = 100
_SHOWN = 200


def check(library: Library) -> list[AuthorError]:
    """Return all errors that the registered checks find."""
    found = [_ruled(problem, one.__name__) for one in CHECKS for problem in one(library)]
    try:
        for name, one in plugins.loaded("quaere.checks"):
            found += [_ruled(problem, name) for problem in one(library)]
    except PluginError as error:
        found.append(error)
    return found


def rules() -> dict[str, str]:
    """Return what each check asks for, by the name of its rule."""
    return {_rule(one.__name__): (one.__doc__ or "").partition("\n")[0] for one in CHECKS}


def _ruled(problem: AuthorError, check: str) -> AuthorError:
    """Name a finding after its check, unless it has a name of its own."""
    if problem.rule == problem.kind:
        problem.rule = _rule(check)
    return problem


def _rule(check: str) -> str:
    return check.replace("_", "-")


def _registered(function: Check) -> Check:
    CHECKS.append(function)
    return function


def _hint(library: Library, name: str, known: Iterable[str]) -> str:
    """Return what to write for an unknown name: today's, if a card or a question had it before."""
    name, mark, part = name.partition("#")
    today = library.today(name)
    is_known = today != name and (library.has(today) or today in library.answering)
    return f"it is called `{today}{mark}{part}` now" if is_known else nearest(name, known)


@_registered
def answers_to_no_question(library: Library) -> Iterator[AuthorError]:
    """Each answer in code names a question that a card asks."""
    for answer in library.answers:
        if not library.has(answer.id) and answer.id not in library.answering:
            yield AnswerError(answer.place, f"no card asks `{answer.id}`", _hint(library, answer.id, library.questions))


@_registered
def questions_answered_twice(library: Library) -> Iterator[AuthorError]:
    """Each question has one answer in code, so that its state has one meaning."""
    first: dict[str, Place] = {}
    for answer in library.answers:
        id = library.today(answer.id)
        if id in first:
            hint = f"the first answer is {first[id]}: keep one of them"
            yield AnswerError(answer.place, f"`{id}` is answered twice", hint)
        first.setdefault(id, answer.place)


@_registered
def answers_that_are_named(library: Library) -> Iterator[AuthorError]:
    """Each answer in code that a card names is there."""
    known = {library.today(answer.id) for answer in library.answers}
    for paper in library.papers.values():
        for index, question in enumerate(paper.card.questions):
            for n, reply in enumerate(question.answers):
                if reply.code and library.today(reply.code) not in known:
                    place = paper.place("questions", index, "answers", n, "code")
                    hint = nearest(reply.code, known) or f"write `Answers: {reply.code}` in a docstring"
                    yield CardError(place, f"no docstring answers `{reply.code}`", hint)


@_registered
def own_fields_of_cards(library: Library) -> Iterator[AuthorError]:
    """The fields of a library's own are as the JSON Schema says that the settings name."""
    if schema := library.extra:
        every = "required" in schema
        cards = ((paper, paper.card.extra) for paper in library.papers.values() if paper.card.extra or every)
        for paper, path, problem in own_fields.faults(schema, cards):
            said = problem if len(problem) <= _SHOWN else f"{problem[:_SHOWN]}…"
            yield CardError(paper.place("extra", *path), said, f"see {library.settings.extra}")


@_registered
def papers_that_supersede(library: Library) -> Iterator[AuthorError]:
    """What supersedes a paper is a known card, or what has none."""
    for paper in library.papers.values():
        by = paper.card.status.by if paper.card.status else None
        if by and re.fullmatch(SLUG, by) and not library.has(by):
            place = paper.place("status", "by")
            yield CardError(place, f"there is no card `{by}`", _hint(library, by, library.papers))


@_registered
def lineage(library: Library) -> Iterator[AuthorError]:
    """A card builds on cards that exist, and not on itself, directly or indirectly."""
    for paper in library.papers.values():
        for index, slug in enumerate(paper.card.builds_on):
            if not library.has(slug):
                place = paper.place("builds_on", index)
                yield CardError(place, f"there is no card `{slug}`", _hint(library, slug, library.papers))
            elif slug in library.papers and library.papers[slug].is_topic:
                yield CardError(
                    paper.place("builds_on", index), f"`{slug}` is a topic, no paper", "link to it in `notes`"
                )
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
def links_of_texts(library: Library) -> Iterator[AuthorError]:
    """In a text of a card or an answer, each [[link]] names a card or a question, and others lead somewhere."""
    for text in _texts(library):
        for link in text.links():
            if link.kind == "wikilink":
                if not library.has(link.target):
                    written = text.markdown[link.offset : text.markdown.index("]]", link.offset) + 2]
                    problem, hint = _no_such_name(library, link.target)
                    yield text.error(link.offset, written, problem, hint)
            elif markdown.is_relative(link.target) and library.led_to(text.page, link.target) is None:
                target = unquote(link.target)
                beside = tuple(path.removeprefix("papers/") for path in library.attachments)
                if link.kind == "image":
                    problem, known = f"there is no picture `{target}`", beside
                else:
                    problem = f"`{target}` leads nowhere"
                    known = (*beside, *(f"{slug}.md" for slug in library.papers))
                today = library.former_slugs.get(re.split(r"\.(?:md|ya?ml)\b", target)[0])
                hint = f"the card is called `{today}` now" if today else nearest(target, known)
                yield text.error(link.offset, target, problem, hint)


@_registered
def links_to_unknown_cards(library: Library) -> Iterator[AuthorError]:
    """Each [[link]] of a hand-written page names a card or a question that exists."""
    for path, page in library.docs.items():
        line = at = 0
        for offset, target in wikilinks(page):
            if not library.has(target):
                line, at = line + page.count("\n", at, offset), offset
                column = offset - page.rfind("\n", 0, offset)
                place = Place(f"{library.settings.docs}/{path}", line + 1, column)
                yield CardError(place, *_no_such_name(library, target))


def _no_such_name(library: Library, name: str) -> tuple[str, str]:
    return f"[[{name}]] leads nowhere", _hint(library, name, (*library.papers, *library.questions))


@_registered
def shown_parts(library: Library) -> Iterator[AuthorError]:
    """Each question and figure that a hand-written page shows, by `<!-- quaere:question paper.question -->`, exists."""
    figures = {
        f"{slug}.{one.id}": None for slug, found in library.results.items() for each in found for one in each.figures
    }
    known: Mapping[str, Collection[str]] = {"question": library.questions, "figure": figures}
    for path, page in library.docs.items():
        for offset, part, name in parts(page):
            if part not in known or name in known[part] or (name and name.partition(".")[0] in library.unsound):
                continue
            if part == "question" and library.has(name):
                continue
            column = offset - page.rfind("\n", 0, offset)
            place = Place(f"{library.settings.docs}/{path}", page.count("\n", 0, offset) + 1, column)
            problem = f"there is no {part} `{name}` to show" if name else f"this names no {part} to show"
            written = f"write `<!-- quaere:{part} paper.{part} -->`"
            yield PageError(place, problem, _hint(library, name, known[part]) if name else written)


@dataclass
class _Text:
    """A text that may hold links: what finds where it starts, the file around it, and the page that shows it.

    What is wrong is told in the order of the text: `_found` says where the last of it ended, in the text and the file,
    and in which line, so that the next is looked for from there.
    """

    markdown: str
    find: Callable[[], Place]
    source: str
    page: str
    is_line: bool = False
    kind: type[AuthorError] = CardError
    known: list[Link] | None = None
    _found: tuple[int, int, int] | None = None
    _told: tuple[int, Place] | None = None
    _lost: int = 0

    @cached_property
    def place(self) -> Place:
        """Where it starts, which few texts are asked for."""
        return self.find()

    def links(self) -> list[Link]:
        """Return the links to what is in the library, in the order of the text; all of them begin with a bracket."""
        return markdown.own_links(self.markdown, inline=self.is_line) if self.known is None else self.known

    def error(
        self, offset: int, written: str, problem: str, hint: str, kind: type[AuthorError] | None = None
    ) -> AuthorError:
        return (kind or self.kind)(self._within(offset, written), problem, hint)

    def _within(self, offset: int, written: str) -> Place:
        """Return a place in the file for a position in the text, which YAML may have indented or folded."""
        if self._told and self._told[0] == offset:
            return self._told[1]
        start, source = self.place, self.source
        if not source or self._lost > _LOST:
            return start
        if self._found is None or offset < self._found[0]:
            before = source.split("\n")[: start.line - 1]
            self._found = 0, sum(len(line) + 1 for line in before) + start.column - 1, start.line
        at, end, line = self._found
        position = end
        for _ in range(self.markdown.count(written, at, offset) + 1):
            if (position := source.find(written, position)) < 0:
                self._lost += 1
                return start
            position += len(written)
        line += source.count("\n", end, position - len(written))
        self._found = offset + len(written), position, line + written.count("\n")
        column = position - len(written) - source.rfind("\n", 0, position - len(written))
        self._told = offset, Place(start.file, line, column, start.at)
        return self._told[1]


def _texts(library: Library, written: Library | None = None) -> Iterator[_Text]:
    """Yield each text of cards, answers and results that may hold links; `written` has the files' texts, if another."""
    for slug, paper in library.papers.items():
        for path, text, is_line in paper.card.texts():
            links = None if paper.links is None else list(paper.links.get(path, ()))
            if links is not None and not links and written is None:
                continue  # and nobody asks for its place
            source = (written or library).papers[slug].source
            yield _Text(text, partial(paper.place, *path), source, addresses.card(slug), is_line, known=links)
    for answer in library.answers:
        page = addresses.card(library.today(answer.id).partition(".")[0])
        yield _Text(answer.prose, partial(getattr, answer, "place"), "", page, kind=AnswerError)
    for slug, results in library.results.items():
        for result in results:
            place = partial(Place, library.result_file(result), at="$.notes")
            yield _Text(result.notes, place, "", addresses.card(slug), kind=ResultError)


@_registered
def pages_where_generated_ones_go(library: Library) -> Iterator[AuthorError]:
    """No hand-written page has the path of a generated one, except the home page."""
    generated = {
        **dict.fromkeys(addresses.LISTS - {addresses.HOME}, "a list"),
        **{addresses.card(old): f"a page that leads to `{slug}`" for old, slug in library.former_slugs.items()},
        **{addresses.card(slug): f"the page of the card `{slug}`" for slug in library.papers},
        **{addresses.module(module.name): f"the page of the module `{module.name}`" for module in library.modules},
    }
    generated |= {path: f"`{file}`" for path, file in library.attachments.items()}
    for path in library.docs:
        if path.rpartition("/")[2] == "README.md":
            problem = "MkDocs would make this page the index of its folder"
            yield PageError(Place(f"{library.settings.docs}/{path}"), problem, "name it index.md")
    for path in (*library.docs, *library.files):
        if path in generated:
            problem = f"{generated[path]} is generated at this path"
            yield PageError(Place(f"{library.settings.docs}/{path}"), problem, "give this page another name")


@_registered
def uncited_references(library: Library) -> Iterator[AuthorError]:
    """Each entry of the bibliography is cited by a card, where the settings ask for it."""
    if library.settings.every_entry_cited:
        for key in uncited(library):
            place = library.bibliography[key]
            yield BibError(place, f"no card cites `{key}`", "write its card, or remove the entry")


def uncited(library: Library) -> list[str]:
    """Return the keys of the bibliography that no card cites, and no entry inherits from that one cites."""
    used = {key for paper in library.papers.values() for key in paper.reference.sources}
    # A card that can't be read may cite any.
    return [] if library.unsound or not library.papers else [key for key in library.bibliography if key not in used]


@_registered
def references_without_title(library: Library) -> Iterator[AuthorError]:
    """Each reference has a title, which stands in every list."""
    for paper in library.papers.values():
        reference = paper.reference
        if not reference.has_title:
            yield BibError(reference.place, f"entry `{reference.key}` has no title", "add `title = {…}`")


def leaks(whole: Library, shown: Library) -> Iterator[AuthorError]:
    """Yield an error for each place of what is shown that leads to what is private.

    Args:
        whole: The library with all that is private.
        shown: The same without it.
    """
    if whole is shown:
        return

    def is_private(name: str) -> bool:
        name = whole.today(name.partition("#")[0])
        name = whole.answering.get(name, name)
        return whole.has(name) and not shown.has(name)

    problem = "`{}` is private, and stands here where everybody sees it"
    hint = "take it out, make this private too, or make that public"
    for text in _texts(shown, whole):
        for link in text.links():
            if link.kind == "wikilink" and is_private(link.target):
                yield text.error(link.offset, f"[[{link.target}", problem.format(link.target), hint, PrivacyError)
            elif markdown.is_relative(link.target):
                path, target = whole.led_to(text.page, link.target), unquote(link.target)
                if path and path != shown.led_to(text.page, link.target):
                    yield text.error(link.offset, target, problem.format(target), hint, PrivacyError)
    for slug in shown.papers:
        # As it is written: of what is shown, these are left out.
        paper = whole.papers[slug]
        for at, name in _names(paper):
            if is_private(name):
                yield PrivacyError(paper.place(*at), problem.format(name), hint)
    for file, page in whole.docs.items():
        found = [*wikilinks(page), *((offset, name) for offset, _, name in parts(page) if name)]
        for offset, name in found:
            if is_private(name) or is_private(name.partition(".")[0]):
                column = offset - page.rfind("\n", 0, offset)
                place = Place(f"{whole.settings.docs}/{file}", page.count("\n", 0, offset) + 1, column)
                yield PrivacyError(place, problem.format(name), hint)
    private = [name for name in whole.questions if name not in shown.questions]
    modules = [module.name for module in whole.modules if module.name not in shown.named_modules]
    names = "|".join(map(re.escape, (*private, *modules)))
    own = "|".join(re.escape(name.rpartition(".")[2]) for name in modules)
    # Of what is imported from a package, or from beside, the module alone is named.
    imported = rf"|^[ \t]*from[ \t]+[\w.]+[ \t]+import[ \t(]+[^#]*?\b(?P<own>{own})\b" if own else ""
    named = re.compile(rf"(?<![\w.])(?:{names})(?![\w-]){imported}") if names else None
    for module in shown.modules if named else ():
        for number, line in enumerate(module.source.split("\n"), 1):
            if named and (mention := named.search(line)):
                group = "own" if imported and mention["own"] else 0
                where = Place(module.file, number, mention.start(group) + 1)
                rather = "move this into the module of a private card, or make that public"
                yield PrivacyError(where, problem.format(mention[group]), rather)


def _names(paper: Paper) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the names of other cards and answers that a card's fields hold, each with its path."""
    card = paper.card
    for index, slug in enumerate(card.builds_on):
        yield ("builds_on", index), slug
    for index, departure in enumerate(card.departures):
        yield ("departures", index, "from"), departure.from_
    if card.status and card.status.by:
        yield ("status", "by"), card.status.by
    for index, question in enumerate(card.questions):
        for n, reply in enumerate(question.answers if not question.private else ()):
            if reply.code:
                yield ("questions", index, "answers", n, "code"), reply.code


def remarks(library: Library) -> list[AuthorError]:
    """Return remarks on what is not an error but may be worth knowing."""
    remark = partial(BibError, severity=Severity.REMARK)
    found: list[AuthorError] = []
    for paper in library.papers.values():
        reference = paper.reference
        if paper.is_topic:
            continue
        if not (reference.authors or reference.editors):
            instead = f": `{reference.credits}` is shown instead" if reference.credits else ""
            found.append(remark(reference.place, f"entry `{reference.key}` has no author{instead}", rule="no-author"))
        if not reference.issued:
            found.append(remark(reference.place, f"entry `{reference.key}` has no year", rule="no-year"))
        for index, link in enumerate(paper.card.links):
            if link.url.startswith("http:"):
                place, problem = paper.place("links", index, "url"), f"`{link.url}` goes over http"
                found.append(CardError(place, problem, severity=Severity.REMARK, rule="http"))
    if count := 0 if library.settings.every_entry_cited else len(uncited(library)):
        entries = "1 entry that no card cites" if count == 1 else f"{count:,} entries that no card cites"
        found.append(remark(Place(library.settings.bibliography, 0), entries, rule="uncited"))
    return found


@_registered
def tags_outside_the_vocabulary(library: Library) -> Iterator[AuthorError]:
    """Each tag is in the settings, and a card has it only once."""
    for paper in library.papers.values():
        seen: set[str] = set()
        for index, tag in enumerate(paper.card.tags):
            if library.settings.tags is not None and tag not in library.settings.tags:
                near = nearest(tag, library.settings.tags)
                hint = "; ".join(filter(None, ["if it is meant, add it to `tags` in [tool.quaere]", near]))
                yield CardError(paper.place("tags", index), f"unknown tag `{tag}`", hint)
            elif tag in seen:
                place = paper.place("tags", index)
                yield CardError(place, f"the tag `{tag}` stands here twice", "keep one of them", rule=DUPLICATE_TAG)
            seen.add(tag)


@_registered
def missing_implementations(library: Library) -> Iterator[AuthorError]:
    """A card's module exists, unless the card says that it has none."""
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
    """Each departure is from a known card, or from what has none, and a test of the paper's module guards it."""
    for paper in library.papers.values():
        for index, departure in enumerate(paper.card.departures):
            place = paper.place("departures", index)
            # What reads as a slug means a card; other papers and public code go by their names.
            if re.fullmatch(SLUG, departure.from_) and not library.has(departure.from_):
                where = paper.place("departures", index, "from")
                hint = _hint(library, departure.from_, library.papers)
                yield CardError(where, f"there is no card `{departure.from_}`", hint)
            if departure.test:
                yield from _missing_test(library, paper, index, departure.test)
            elif paper.card.implementation:
                yield CardError(place, "no test guards this departure", "name one: `test: test_…`")


def _missing_test(library: Library, paper: Paper, index: int, test: str) -> Iterator[AuthorError]:
    name = (paper.card.implementation or paper.slug).rpartition(".")[2]
    tests = library.tests.get(name, frozenset())
    if test not in tests:
        place = paper.place("departures", index, "test")
        yield CardError(place, f"test_{name}.py has no `{test}`", nearest(test, tests) or "write it")


@_registered
def findings_on_no_claim(library: Library) -> Iterator[AuthorError]:
    """Each finding of a paper's experiment is on a claim that its card makes."""
    for slug, results in library.results.items():
        if paper := library.papers.get(slug):
            claims = {claim.id for claim in paper.card.claims}
            for finding in (finding for result in results for finding in result.findings):
                if finding.claim not in claims:
                    problem = f"the card makes no claim `{finding.claim}`, which its experiment judges"
                    hint = nearest(finding.claim, claims) or "add it, or run the experiment again"
                    yield ResultError(paper.place("claims"), problem, hint)


@_registered
def former_names(library: Library) -> Iterator[AuthorError]:
    """A former name of a card, or of a question of a card, is not in use and led to one thing only."""
    first: dict[str, Place] = {}
    for paper in library.papers.values():
        for index, old in enumerate(paper.card.formerly):
            yield from _former(paper, ("formerly", index), old, _owner(library, paper, old), first)
        ids = {question.id: n for n, question in enumerate(paper.card.questions)}
        first_ids: dict[str, Place] = {}
        for n, question in enumerate(paper.card.questions):
            for index, old in enumerate(question.formerly):
                has_it = "this question" if ids.get(old) == n else "another question" if old in ids else ""
                yield from _former(paper, ("questions", n, "formerly", index), old, has_it, first_ids)


def _owner(library: Library, paper: Paper, slug: str) -> str:
    """Say who has a slug today; empty if nobody has."""
    if slug == "index":
        return "the list of papers"
    if slug == paper.slug:
        return "this card"
    return "another card" if slug in library.papers or slug in library.unsound else ""


def _former(
    paper: Paper, path: tuple[str | int, ...], old: str, has_it: str, first: dict[str, Place]
) -> Iterator[AuthorError]:
    place = paper.place(*path)
    if has_it:
        problem = f"`{old}` is today's name of {has_it}, so that it can't lead here"
        rule = OWN_NAME if has_it.startswith("this") else ""
        yield CardError(place, problem, "a former name is one that nothing has any more: remove it", rule=rule)
    elif old in first:
        problem, hint = f"the former name `{old}` stands twice", f"the first is {first[old]}: keep one of them"
        yield CardError(place, problem, hint, rule=TWICE_IN_CARD if first[old].file == place.file else "")
    first.setdefault(old, place)
