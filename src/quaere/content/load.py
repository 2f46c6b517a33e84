"""Cards, bibliography, answers and results into one library, with all that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from quaere.content import answers, attachments, cards, folders, located_yaml, results
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.model import Library, Paper
from quaere.content.results import Result
from quaere.content.settings import Settings
from quaere.errors import AuthorError, BibError, CardError, Place, ResultError, nearest


def load(root: Path, settings: Settings, versions: Mapping[str, str]) -> tuple[Library, list[AuthorError]]:
    """Read a knowledge base.

    Args:
        root: The folder of the project.
        settings: Where its parts lie in it.
        versions: The versions that answers run on.

    Returns:
        The library of all that is sound, and the faults of all that is not.
    """
    drafts, card_faults = cards.read(root, settings.papers)
    book, bib_faults = _bibliography(root, settings.bibliography)
    papers, cite_faults = _cited(drafts, book, settings.bibliography)
    found, modules, answer_faults = answers.read(root, settings.implementation, versions)
    unsound = frozenset(path.stem for path in cards.files(root / settings.papers)) - papers.keys()
    tried, result_faults = _results(root, settings.papers, {*papers, *unsound})
    speed, speed_faults = _result(root, settings.benchmarks)
    documents = _files(root, settings.docs)
    attached, attachment_faults = attachments.read(root, _files(root, settings.papers))
    library = Library(
        papers=papers,
        bibliography={key: book.place(key) for key in book.entries},
        answers=found,
        modules=modules,
        tests={path.stem.removeprefix("test_"): _tests(path) for path in _below(root, settings.tests, "test_*.py")},
        settings=settings,
        docs={
            path: (root / file).read_text(encoding="utf-8", errors="replace")
            for path, file in documents.items()
            if path.endswith(".md")
        },
        files=frozenset(path for path in documents if not path.endswith(".md")),
        attachments=attached,
        templates={
            path: (root / file).read_text(encoding="utf-8", errors="replace")
            for path, file in _files(root, settings.templates).items()
            if path.endswith(".html")
        },
        unsound=unsound,
        results=tried,
        benchmarks=speed,
    )
    faults: list[AuthorError] = [*card_faults, *bib_faults, *cite_faults, *answer_faults, *attachment_faults]
    return library, [*faults, *result_faults, *speed_faults]


def _below(root: Path, folder: str, pattern: str) -> list[Path]:
    return sorted((root / folder).glob(pattern))


def _files(root: Path, folder: str) -> dict[str, str]:
    """Return the files below a folder by their path in it; those of editors, and links out of it, are left out."""
    found = {}
    for path in _below(root, folder, "**/*"):
        inside = path.relative_to(root / folder)
        is_hidden = any(part.startswith(".") for part in inside.parts)
        if not is_hidden and path.is_file() and folders.is_own(path, root / folder):
            found[inside.as_posix()] = path.relative_to(root).as_posix()
    return found


def _cited(drafts: Iterable[cards.Draft], book: Bibliography, file: str) -> tuple[dict[str, Paper], list[AuthorError]]:
    """Join each card with the entry that it cites."""
    drafts = list(drafts)
    references, bib_faults = book.references(dict.fromkeys(draft.card.cite for draft in drafts))
    papers: dict[str, Paper] = {}
    faults: list[AuthorError] = [*bib_faults]
    for draft in drafts:
        cite = draft.card.cite
        if reference := references.get(cite):
            document = draft.document
            papers[draft.slug] = Paper(draft.slug, draft.file, draft.card, reference, document.places, document.text)
        elif not book.has(cite):
            place = draft.document.place(("cite",))
            faults.append(CardError(place, f"{file} has no entry `{cite}`", nearest(cite, book.entries)))
    return papers, faults


def _bibliography(root: Path, file: str) -> tuple[Bibliography, list[BibError]]:
    text, faults = "", []
    try:
        data = (root / file).read_bytes()
        text = located_yaml.decode(data, file)
    except OSError:
        hint = "make it, or set `bibliography` in [tool.quaere]"
        faults.append(BibError(Place(file), "there is no such file", hint))
    except CardError as error:
        faults.append(BibError(error.place, error.problem, error.hint))
        text = data.decode("utf-8", errors="replace")
    if control := located_yaml.control_character(text):
        position, character = control
        line = text.count("\n", 0, position) + 1
        problem = f"the control character U+{ord(character):04X} is not allowed"
        faults.append(BibError(Place(file, line, position - text.rfind("\n", 0, position)), problem, "remove it"))
    book = Bibliography(text, file)
    return book, [*faults, *book.faults]


def _results(root: Path, papers: str, slugs: Iterable[str]) -> tuple[dict[str, Result], list[ResultError]]:
    """Read what experiments wrote, each for a card."""
    slugs = set(slugs)
    found: dict[str, Result] = {}
    faults: list[ResultError] = []
    for path in _below(root, f"{papers}/results", "*.json"):
        file = path.relative_to(root).as_posix()
        result, wrong = _result(root, file)
        faults += wrong
        if result and path.stem not in slugs:
            faults.append(ResultError(Place(file), f"there is no card `{path.stem}`", nearest(path.stem, slugs)))
        if result:
            found[path.stem] = result
    return found, faults


def _result(root: Path, file: str) -> tuple[Result | None, list[ResultError]]:
    """Read what a run wrote, if it did and is whole."""
    try:
        return results.read((root / file).read_text(encoding="utf-8")), []
    except FileNotFoundError:
        return None, []
    except (OSError, UnicodeDecodeError) as error:
        problem, at = f"the file can't be read: {error}", ""
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"no result of an experiment: {first['msg'][:1].lower()}{first['msg'][1:]}"
        at = located_yaml.show(first["loc"])
    hint = "results are written by a run, not by hand: run it again"
    return None, [ResultError(Place(file, at=at), problem, hint)]


def _tests(file: Path) -> frozenset[str]:
    """Return the names of a file's test functions, without importing it."""
    return frozenset(
        re.findall(r"^\s*def (test_\w+)", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    )
