"""Cards, bibliography and answers into one library, with all that is wrong with them."""

from __future__ import annotations

import datetime
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import BaseModel, ValidationError

from quaere.content import answers, located_yaml, results
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.located_yaml import Document, Path, show
from quaere.content.model import SLUG, Card, Claim, Departure, Library, Link, Paper, Question, Reading
from quaere.content.results import Result
from quaere.errors import AuthorError, BibError, CardError, Place, ResultError, nearest

_SUFFIXES = {".yml", ".yaml"}


@dataclass(frozen=True)
class _Draft:
    """A card that was read and is sound by itself."""

    slug: str
    file: str
    card: Card
    document: Document


def load(
    root: pathlib.Path,
    *,
    papers: str,
    bibliography: str,
    implementation: str,
    tests: str,
    docs: str,
    tags: Iterable[str] | None,
    versions: Mapping[str, str],
    benchmarks: str,
) -> tuple[Library, list[AuthorError]]:
    """Read a knowledge base.

    Args:
        root: The folder of the project; the other paths are relative to it.
        papers: The folder of the cards.
        bibliography: The BibTeX file.
        implementation: The package whose docstrings answer.
        tests: The folder with a file `test_<slug>.py` for each paper that has an implementation.
        docs: The folder of the pages written by hand.
        tags: The tags that cards may carry; None for any.
        versions: The versions that answers run on.
        benchmarks: The file of the benchmarks' result.

    Returns:
        The library of all that is sound, and the faults of all that is not.
    """
    faults: list[AuthorError] = []
    drafts = list(_drafts(root, papers, faults))
    book = _bibliography(root, bibliography, faults)
    references, bib_faults = book.references(dict.fromkeys(draft.card.cite for draft in drafts))
    faults += bib_faults
    found_papers: dict[str, Paper] = {}
    for draft in drafts:
        if reference := references.get(draft.card.cite):
            found_papers[draft.slug] = Paper(
                draft.slug, draft.file, draft.card, reference, draft.document.places, draft.document.text
            )
        elif not book.has(draft.card.cite):
            place = draft.document.place(("cite",))
            problem = f"{bibliography} has no entry `{draft.card.cite}`"
            faults.append(CardError(place, problem, nearest(draft.card.cite, book.entries)))
    found, modules, answer_faults = answers.read(root, implementation, versions)
    faults += answer_faults
    named = {path.stem.removeprefix("test_"): _tests(path) for path in sorted((root / tests).glob("test_*.py"))}
    entries = {key: book.place(key) for key in book.entries}
    pages = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted((root / docs).rglob("*.md"))
        if not path.name.startswith(".")
    }
    vocabulary = None if tags is None else frozenset(tags)
    unsound = frozenset(path.stem for path in _files(root / papers)) - found_papers.keys()
    tried = {path.stem: _result(root, path, faults) for path in sorted((root / papers / "results").glob("*.json"))}
    speed = _result(root, root / benchmarks, faults) if (root / benchmarks).exists() else None
    for slug, result in tried.items():
        if result and slug not in found_papers and slug not in unsound:
            place, hint = Place(f"{papers}/results/{slug}.json"), nearest(slug, found_papers)
            faults.append(ResultError(place, f"there is no card `{slug}`", hint))
    library = Library(
        found_papers,
        entries,
        found,
        modules,
        named,
        pages,
        vocabulary,
        unsound,
        {slug: result for slug, result in tried.items() if result},
        speed,
    )
    return library, faults


def _result(root: pathlib.Path, path: pathlib.Path, faults: list[AuthorError]) -> Result | None:
    """Return what an experiment wrote, if it is whole."""
    file = path.relative_to(root).as_posix()
    try:
        return results.read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem, at = f"the file can't be read: {error}", ""
    except ValidationError as error:
        first = error.errors()[0]
        problem, at = f"no result of an experiment: {first['msg'][:1].lower()}{first['msg'][1:]}", show(first["loc"])
    faults.append(ResultError(Place(file, at=at), problem, "results are written by a run, not by hand: run it again"))
    return None


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the cards' files. What starts with a dot is an editor's."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and not path.name.startswith("."))


def _drafts(root: pathlib.Path, papers: str, faults: list[AuthorError]) -> Iterator[_Draft]:
    folder = root / papers
    if not folder.is_dir():
        faults.append(
            CardError(Place(papers), "there is no folder of cards", "make it, or set `papers` in [tool.quaere]")
        )
        return
    seen: dict[str, str] = {}
    for path in _files(folder):
        file = path.relative_to(root).as_posix()
        if path.stem in seen:
            hint = f"the first is {seen[path.stem]}: rename one of them"
            faults.append(CardError(Place(file), f"the slug `{path.stem}` is taken", hint))
            continue
        seen[path.stem] = file
        try:
            document = located_yaml.read(path.read_bytes(), file)
        except CardError as error:
            faults.append(error)
            continue
        except OSError as error:
            faults.append(CardError(Place(file), f"the file can't be read: {error.strerror}"))
            continue
        faults += document.faults
        if card := _card(document, path.stem, file, faults):
            yield _Draft(path.stem, file, card, document)


def _card(document: Document, slug: str, file: str, faults: list[AuthorError]) -> Card | None:
    """Return the card, if it is one; what is wrong with it is added to the faults."""
    if not isinstance(document.value, dict):
        problem = f"expected a mapping, found {_describe(document, ())}"
        faults.append(CardError(document.place(()), problem, "write `name: value`"))
        return None
    if not re.fullmatch(SLUG, slug):
        hint = "name the file with lower-case letters, digits and _, a letter first"
        faults.append(CardError(Place(file), f"`{slug}` is no slug", hint))
        return None
    if slug == "index":
        faults.append(CardError(Place(file), "`index` is the page that lists the papers", "give the card another name"))
        return None
    try:
        card = Card.model_validate({"implementation": slug, **document.value})
    except ValidationError as error:
        found = (_fault(one["type"], one["loc"], one.get("ctx", {}), document) for one in error.errors())
        said = {fault.place for fault in document.faults}
        faults += (fault for fault in found if fault.place not in said)
        return None
    faults += _taken("questions", card.questions, document)
    faults += _taken("claims", card.claims, document)
    return card


def _taken(part: str, items: Iterable[Question | Claim], document: Document) -> Iterator[CardError]:
    """Yield a fault for each id that stands in the card for the second time."""
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        place = document.place((part, index, "id"))
        if item.id in first:
            hint = f"the first stands in line {first[item.id]}: rename one of them"
            yield CardError(place, f"the id `{item.id}` is taken", hint)
        first.setdefault(item.id, place.line)


_WANTED = {
    "string_type": ("text", "quote it"),
    "tuple_type": ("a list", "write `[one, two]`, or each on a line of its own after `- `"),
    "model_type": ("a mapping", "write `name: value`"),
    "date_type": ("a date", "write it as 2026-01-31, without quotes and time"),
}

_PATTERNS = {
    "id": ("no id", "use lower-case words joined by hyphens"),
    "url": ("no web address", "start it with https://"),
    "cite": ("no BibTeX key", "leave out spaces, commas and braces"),
    "test": ("no name of a test", "write the name of a function, `test_…`"),
}


def _fault(kind: str, path: Path, context: Mapping[str, object], document: Document) -> CardError:
    """Put one of pydantic's errors into the card's own words."""
    place = document.place(path)
    last = str(path[-1])
    written = document.written.get(path, "")
    if kind == "missing":
        return CardError(document.place(path[:-1]), f"the key `{last}` is missing", f"add `{last}:`")
    if kind == "extra_forbidden":
        key = document.keys[path]
        return CardError(replace(key, at=show(path)), f"unknown key `{last}`", nearest(last, _known(path[:-1])))
    if kind in _WANTED:
        wanted, hint = _WANTED[kind]
        if document.value_at(path) is None:
            hint = "fill it in, or remove the key"
        elif kind == "string_type" and path not in document.written:
            hint = "write it as text"
        return CardError(place, f"expected {wanted}, found {_describe(document, path)}", hint)
    if kind == "literal_error":
        allowed = re.findall(r"'([^']+)'", str(context["expected"]))
        found = f"`{_short(written)}`" if path in document.written else _describe(document, path)
        near = nearest(written, allowed)
        hint = near if near.endswith("?") else ""
        return CardError(place, f"{found} is not one of {', '.join(allowed)}", hint)
    if kind == "string_too_short":
        return CardError(place, "the text is empty", "fill it in, or remove the key")
    if kind == "string_pattern_mismatch":
        problem, hint = _PATTERNS.get(last, ("no slug", "use lower-case letters, digits and _, a letter first"))
        return CardError(place, f"`{_short(written)}` is {problem}", hint)
    return CardError(place, f"not as it should be ({kind})")


def _known(path: Path) -> Iterable[str]:
    """Return the keys that may stand at a path."""
    parts: dict[str, type[BaseModel]] = {
        "reading": Reading,
        "links": Link,
        "departures": Departure,
        "questions": Question,
        "claims": Claim,
    }
    part = parts.get(str(path[0]), Card) if path else Card
    return (field.alias or name for name, field in part.model_fields.items())


def _describe(document: Document, path: Path) -> str:
    """Say what stands at a path, as in "int `1184`"."""
    value = document.value_at(path)
    if value is None:
        return "nothing"
    names = {str: "text", tuple: "a list", dict: "a mapping", datetime.date: "the date"}
    name = names.get(type(value), type(value).__name__)
    return f"{name} `{_short(document.written[path])}`" if path in document.written else name


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _bibliography(root: pathlib.Path, file: str, faults: list[AuthorError]) -> Bibliography:
    try:
        data = (root / file).read_bytes()
        text = located_yaml.decode(data, file)
    except OSError:
        faults.append(BibError(Place(file), "there is no such file", "make it, or set `bibliography` in [tool.quaere]"))
        text = ""
    except CardError as error:
        faults.append(BibError(error.place, error.problem, error.hint))
        text = data.decode("utf-8", errors="replace")
    bibliography = Bibliography(text, file)
    faults += bibliography.faults
    return bibliography


def _tests(file: pathlib.Path) -> frozenset[str]:
    """Return the names of a file's test functions, without importing it."""
    return frozenset(
        re.findall(r"^\s*def (test_\w+)", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    )
