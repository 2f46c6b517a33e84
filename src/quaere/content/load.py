"""Combine cards, bibliography, answers and results in one library, together with all errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from quaere.cache import Cache
from quaere.content import answers, attachments, cards, files, located_yaml, own_fields, results
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.bibliography.reference import Reference
from quaere.content.model import Library, Paper
from quaere.content.results import Result
from quaere.content.settings import Settings
from quaere.errors import (
    AnswerError,
    AuthorError,
    BibError,
    CardError,
    ConfigError,
    PageError,
    Place,
    ResultError,
    nearest,
)


def load(
    root: Path, settings: Settings, versions: Mapping[str, str], cache: Cache | None = None
) -> tuple[Library, list[AuthorError]]:
    """Read a knowledge base.

    Args:
        root: The folder of the project.
        settings: Where its parts lie in it.
        versions: The versions that answers run on.
        cache: What keeps sound cards as they were read.

    Returns:
        The library of all that is sound, and the faults of all that is not.
    """
    drafts, unread, card_faults = cards.read(root, settings.papers, cache)
    cache = cache or Cache(root, is_read_only=True)
    book, bib_faults = _bibliography(root, settings.bibliography, cache)
    found, modules, answer_faults = answers.read(root, settings.implementation, versions, cache)
    own = {one.name.partition(".")[2] for one in modules}
    papers, cite_faults = _cited(drafts, book, settings.bibliography, own, cache)
    unsound = frozenset({draft.slug for draft in drafts} - papers.keys() | unread)
    former = {old: slug for slug, paper in papers.items() for old in paper.card.formerly}
    tried, result_faults = _results(root, settings.papers, {*papers, *unsound}, former)
    speed, speed_faults = _result(root, settings.benchmarks)
    documents, page_faults = files.below(root, settings.docs, PageError)
    docs, doc_faults = _texts(root, settings.docs, ".md", documents, PageError)
    made, folder_faults = files.below(root, settings.templates, ConfigError, lambda path: path.endswith(".html"))
    templates, template_faults = _texts(root, settings.templates, ".html", made, ConfigError)
    attached, attachment_faults = attachments.read(root, settings.papers)
    sizes = attachments.sizes(root, settings.papers, attached) | attachments.sizes(root, settings.docs, documents)
    tests, test_faults = _tests(root, settings.tests)
    renamed, name_faults = _renamed(root, settings.renamed)
    extra, extra_faults = own_fields.schema(root, settings.extra)
    library = Library(
        papers=papers,
        bibliography={key: book.place(key) for key in book.entries},
        answers=found,
        modules=modules,
        tests=tests,
        settings=settings,
        docs=docs,
        files=frozenset(path for path in documents if not path.endswith(".md")),
        attachments=attached,
        sizes=sizes,
        templates=templates,
        unsound=unsound,
        results=tried,
        benchmarks=speed,
        renamed=renamed,
        extra=extra,
    )
    faults: list[AuthorError] = [*card_faults, *bib_faults, *cite_faults, *answer_faults, *attachment_faults]
    faults += [*extra_faults, *page_faults, *doc_faults, *folder_faults, *template_faults, *test_faults, *name_faults]
    # The same folder is looked through for one thing and for another.
    return library, list({str(fault): fault for fault in [*faults, *result_faults, *speed_faults]}.values())


def _texts(
    root: Path, folder: str, suffix: str, found: Mapping[str, str], kind: type[AuthorError]
) -> tuple[dict[str, str], list[AuthorError]]:
    """Read the files in UTF-8 that end in a suffix."""
    texts: dict[str, str] = {}
    faults: list[AuthorError] = []
    for path, file in found.items():
        if path.endswith(suffix):
            try:
                texts[path], wrong = files.text(files.read(root, file, kind, folder) or b"", file, kind)
                faults += wrong
            except AuthorError as error:
                faults.append(error)
    return texts, faults


def _cited(
    drafts: Iterable[cards.Draft], book: Bibliography, file: str, modules: Set[str], cache: Cache
) -> tuple[dict[str, Paper], list[AuthorError]]:
    """Join each card with the entry that it cites; a topic has none but its title."""
    drafts = list(drafts)
    cites = dict.fromkeys(draft.card.cite for draft in drafts if draft.card.cite)
    references, bib_faults = book.references(cites, cache)
    papers: dict[str, Paper] = {}
    faults: list[AuthorError] = [*bib_faults]
    for draft in drafts:
        cite, card = draft.card.cite or "", draft.card
        if (
            reference := Reference.of_title(card.title, draft.places[("title",)])
            if card.title
            else references.get(cite)
        ):
            has_module = draft.has_own_module and draft.slug in modules
            name = ("paper", id(draft), id(reference) if cite else "", has_module)
            # Both are held with it, so that no others get their ids.
            papers[draft.slug], *_ = cache.held(name, partial(_paper, draft, reference, has_module))
        elif not book.has(cite):
            faults.append(
                CardError(draft.places[("cite",)], f"{file} has no entry `{cite}`", nearest(cite, book.entries))
            )
    return papers, faults


def _paper(draft: cards.Draft, reference: Reference, has_module: bool) -> tuple[Paper, cards.Draft, Reference]:
    card = draft.card
    if has_module:
        card = card.model_copy(update={"implementation": draft.slug})
    paper = Paper(draft.slug, draft.file, card, reference, draft.places, draft.text, draft.links, draft.origin)
    return paper, draft, reference


def _renamed(root: Path, file: str) -> tuple[dict[str, str], list[ConfigError]]:
    """Read former names with their current names: two dotted names per line; `#` begins a comment."""
    try:
        text, faults = files.text(files.read(root, file, ConfigError) or b"", file, ConfigError)
    except ConfigError as error:
        return {}, [error]
    renamed: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        names = line.partition("#")[0].split()
        if len(names) == 2 and all(part.isidentifier() for name in names for part in name.split(".")):
            renamed[names[0]] = names[1]
        elif names:
            problem, hint = "expected two names", "write the former name and today's, each as `package.module.name`"
            faults.append(ConfigError(Place(file, number), problem, hint))
    return renamed, faults


def _bibliography(root: Path, file: str, cache: Cache) -> tuple[Bibliography, list[BibError]]:
    text, faults = "", []
    try:
        if (data := files.read(root, file, BibError)) is None:
            hint = "make it, or set `bibliography` in [tool.quaere]"
            faults = [BibError(Place(file), "there is no such file", hint)]
        else:
            text, faults = files.text(data, file, BibError)
    except BibError as error:
        faults = [error]
    if control := located_yaml.control_character(text):
        position, character = control
        line = text.count("\n", 0, position) + 1
        problem = f"the control character U+{ord(character):04X} is not allowed"
        faults.append(BibError(Place(file, line, position - text.rfind("\n", 0, position)), problem, "remove it"))
    sound = located_yaml.without_control_characters(text)
    book = cache.held((file, sound), partial(Bibliography, sound, file))
    return book, [*faults, *book.faults]


def _results(
    root: Path, papers: str, slugs: Iterable[str], former: Mapping[str, str]
) -> tuple[dict[str, tuple[Result, ...]], list[ResultError]]:
    """Read the results of experiments, one a card and size; the largest come first."""
    slugs = set(slugs)
    found: dict[str, list[Result]] = {}
    written, faults = files.below(root, f"{papers}/results", ResultError, lambda path: path.endswith(".json"), levels=1)
    for path, file in written.items():
        result, wrong = _result(root, file)
        faults += wrong
        if not result:
            continue
        slug = result.experiment
        if slug not in slugs:
            today = former.get(slug)
            hint = f"it is called `{today}` now, here and in the file's name" if today else nearest(slug, slugs)
            faults.append(ResultError(Place(file), f"there is no card `{slug}`", hint))
        elif result.size not in results.SIZES:
            problem = f"results of the size `{result.size}` are not kept"
            faults.append(ResultError(Place(file), problem, f"those are: {', '.join(results.SIZES)}"))
        elif path != f"{result.stem}.json":
            problem = f"the file's name doesn't say what was run: {slug}, size {result.size}"
            faults.append(ResultError(Place(file), problem, f"name it {result.stem}.json"))
        else:
            found.setdefault(slug, []).append(result)
    return {slug: results.largest_first(each) for slug, each in found.items()}, faults


def _result(root: Path, file: str) -> tuple[Result | None, list[ResultError]]:
    """Read a file of results, if it exists and is valid."""
    try:
        if (data := files.read(root, file, ResultError)) is None:
            return None, []
        text, faults = files.text(data, file, ResultError)
        return (None, faults) if faults else (results.read(text), [])
    except ResultError as error:
        return None, [error]
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        problem = f"not the result of an experiment: {said[:1].lower()}{said[1:]}"
        at = located_yaml.show(first["loc"])
    hint = "results are written by a run, not by hand: run it again"
    return None, [ResultError(Place(file, at=at), problem, hint)]


def _tests(root: Path, folder: str) -> tuple[dict[str, frozenset[str]], list[AuthorError]]:
    """Return the names of the test functions of each paper's file, without importing it."""
    found, faults = files.below(root, folder, AnswerError, _is_test, levels=1)
    texts, wrong = _texts(root, folder, ".py", found, AnswerError)
    functions = re.compile(r"^\s*def (test_\w+)", re.MULTILINE)
    named = {path[len("test_") : -len(".py")]: frozenset(functions.findall(text)) for path, text in texts.items()}
    return named, [*faults, *wrong]


def _is_test(path: str) -> bool:
    return path.startswith("test_") and path.endswith(".py")
