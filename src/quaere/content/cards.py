"""Read the cards, the files papers/*.yml, each independently of the others."""

from __future__ import annotations

import datetime
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pydantic import BaseModel, ValidationError

from quaere.content import files, located_yaml
from quaere.content.located_yaml import Document, Path, show
from quaere.content.model import SLUG, Card, Claim, Departure, Link, Question, Reading
from quaere.errors import CardError, Place, nearest

_SUFFIXES = {".yml", ".yaml"}


@dataclass(frozen=True)
class Draft:
    """A card without errors of its own."""

    slug: str
    file: str
    card: Card
    document: Document


def read(root: pathlib.Path, papers: str) -> tuple[list[Draft], frozenset[str], list[CardError]]:
    """Read the cards in a folder.

    Args:
        root: The folder of the project.
        papers: The folder of the cards, relative to it.

    Returns:
        The cards that are sound by themselves, the slugs of the others, and what is wrong with those.
    """
    if not os.path.lexists(root / papers):
        hint = "make it, or set `papers` in [tool.quaere]"
        return [], frozenset(), [CardError(Place(papers), "there is no folder of cards", hint)]
    drafts: list[Draft] = []
    found, faults = files.below(root, papers, CardError, _is_card, levels=1)
    unsound = {_slug(fault.place.file) for fault in faults}
    seen: dict[str, str] = {}
    for file in found.values():
        slug = _slug(file)
        if slug in seen:
            hint = f"the first is {seen[slug]}: rename one of them"
            faults.append(CardError(Place(file), f"the slug `{slug}` is taken", hint))
            continue
        seen[slug] = file
        unsound.add(slug)
        try:
            document = located_yaml.read(files.read(root, file, CardError, papers) or b"", file)
        except CardError as error:
            faults.append(error)
            continue
        card, wrong = _card(document, slug, file)
        faults += [*document.faults, *wrong]
        if card:
            unsound.remove(slug)
            drafts.append(Draft(slug, file, card, document))
    return drafts, frozenset(unsound), faults


def _is_card(path: str) -> bool:
    return PurePosixPath(path).suffix in _SUFFIXES


def _slug(file: str) -> str:
    return PurePosixPath(file).stem


def _card(document: Document, slug: str, file: str) -> tuple[Card | None, list[CardError]]:
    """Return the card, if it is valid, and its errors."""
    if not isinstance(document.value, dict):
        problem = f"expected a mapping, found {_describe(document, ())}"
        return None, [CardError(document.place(()), problem, "write `name: value`")]
    if not re.fullmatch(SLUG, slug):
        hint = "name the file with lower-case letters, digits and _, a letter first"
        return None, [CardError(Place(file), f"`{slug}` is no slug", hint)]
    if slug == "index":
        problem, hint = "`index` is the page that lists the papers", "give the card another name"
        return None, [CardError(Place(file), problem, hint)]
    try:
        card = Card.model_validate({"implementation": slug, **document.value})
    except ValidationError as error:
        found = (_fault(one["type"], one["loc"], one.get("ctx", {}), document) for one in error.errors())
        said = {fault.place for fault in document.faults}
        return None, [fault for fault in found if fault.place not in said]
    return card, [*_taken("questions", card.questions, document), *_taken("claims", card.claims, document)]


def _taken(part: str, items: Iterable[Question | Claim], document: Document) -> Iterator[CardError]:
    """Yield an error for each duplicate id in the card."""
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
    """Rewrite one of pydantic's errors in the terms of a card."""
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
    if kind == "string_too_long":
        problem = f"the text has {len(written):,} characters, and {context['max_length']:,} is the most"
        return CardError(place, problem, "say it in a sentence, and the rest in `notes`")
    if kind == "string_pattern_mismatch":
        # Of a question's former ids, `last` is a number.
        named = "id" if path[0] == "questions" else last
        problem, hint = _PATTERNS.get(named, ("no slug", "use lower-case letters, digits and _, a letter first"))
        return CardError(place, f"`{_short(written)}` is {problem}", hint)
    return CardError(place, f"invalid value ({kind})")


def _known(path: Path) -> Iterable[str]:
    """Return the keys that are allowed at a path."""
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
    """Describe the value at a path, as in "int `1184`"."""
    value = document.value_at(path)
    if value is None:
        return "nothing"
    names = {str: "text", tuple: "a list", dict: "a mapping", datetime.date: "the date"}
    name = names.get(type(value), type(value).__name__)
    return f"{name} `{_short(document.written[path])}`" if path in document.written else name


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
