"""Read the cards, the files papers/*.yml, each independently of the others."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import cast

from pydantic import BaseModel, ValidationError

from quaere import stamp
from quaere.cache import Cache
from quaere.content import files, located_yaml, markdown
from quaere.content.located_yaml import Document, Path, show
from quaere.content.model import SLUG, VERSION, Card, Claim, Departure, Link, Question, Quote, Reading, Reply, Status
from quaere.errors import CardError, Place, nearest

_OF_PAPERS = frozenset({"reading", "affiliations", "builds_on", "departures", "claims", "status", "quotes"})
"""The keys that only the card of a paper has."""
_SUFFIXES = {".yml", ".yaml"}


@dataclass(frozen=True)
class Draft:
    """A card without errors of its own; whether its module is the one that is called like it, if there is one.

    `origin` is a digest of its file.
    """

    slug: str
    file: str
    card: Card
    text: str
    places: Mapping[Path, Place]
    links: Mapping[Path, tuple[markdown.Link, ...]]
    has_own_module: bool
    origin: str


def read(
    root: pathlib.Path, papers: str, cache: Cache | None = None
) -> tuple[list[Draft], frozenset[str], list[CardError]]:
    """Read the cards in a folder.

    Args:
        root: The folder of the project.
        papers: The folder of the cards, relative to it.
        cache: What keeps sound cards as they were read.

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
    made_by = f"card {stamp.code()}"
    for file in found.values():
        slug = _slug(file)
        if slug in seen:
            hint = f"the first is {seen[slug]}: rename one of them"
            faults.append(CardError(Place(file), f"the slug `{slug}` is taken", hint))
            continue
        seen[slug] = file
        unsound.add(slug)
        try:
            data = files.read(root, file, CardError, papers) or b""
            origin = hashlib.sha256(data).hexdigest()
            key = f"{made_by} {origin} {file}".encode()
            draft = cache and cache.held((file, origin), partial(_found, cache, key, data, origin, file))
            if not draft:
                draft, wrong = _drafted(data, origin, file)
                faults += wrong
                if cache and draft and not wrong and cache.keeps:
                    cache.keep([(key, _told(draft))])
                    cache.hold((file, origin), draft)
        except CardError as error:
            faults.append(error)
            continue
        if draft:
            unsound.remove(slug)
            drafts.append(draft)
    return drafts, frozenset(unsound), faults


def faults_of(data: bytes, file: str) -> list[CardError]:
    """Return what is wrong with a card by itself, as it stands in a file or would; nothing for what is no card."""
    if not _is_card(file):
        return []
    try:
        return _drafted(data, "", file)[1]
    except CardError as error:
        return [error]


def _drafted(data: bytes, origin: str, file: str) -> tuple[Draft | None, list[CardError]]:
    """Read a card, if it is valid, and its errors.

    Raises:
        CardError: The file is no YAML.
    """
    document, slug = located_yaml.read(data, file), _slug(file)
    card, wrong = _card(document, slug, file)
    faults = [*document.faults, *wrong]
    if not card:
        return None, faults
    # Of the document no more is held than is asked for: it has many small parts.
    places = _Places.of(document.places)
    return Draft(slug, file, card, document.text, places, _links(card), _has_own_module(card), origin), faults


def _links(card: Card) -> dict[Path, tuple[markdown.Link, ...]]:
    """Return the links of each text of a card that has some."""
    found = {path: tuple(markdown.own_links(text, inline=is_line)) for path, text, is_line in card.texts()}
    return {path: links for path, links in found.items() if links}


def _told(draft: Draft) -> str:
    """Write a sound card so that `_kept` reads it again."""
    links = [(path, [dataclasses.astuple(link) for link in found]) for path, found in draft.links.items()]
    card = draft.card.model_dump_json(by_alias=True, exclude_defaults=True)
    return json.dumps([card, cast(_Places, draft.places).told, links, draft.has_own_module])


def _found(cache: Cache, key: bytes, data: bytes, origin: str, file: str) -> Draft | None:
    """Return the card that was written; None if it is none."""
    if (told := cache.find(key)) is None:
        return None
    try:
        card, places, links, has_own_module = json.loads(told)
        # Of the implementation, nothing is not what is absent.
        read = Card.model_validate_json(card)
        found = {tuple(path): tuple(markdown.Link(*link) for link in known) for path, known in links}
        return Draft(_slug(file), file, read, data.decode(), _Places(places, file), found, has_own_module, origin)
    except (ValueError, TypeError):
        return None


class _Places(Mapping[Path, Place]):
    """The places of a card's parts. They are many and few ask for them: as text they take little room."""

    def __init__(self, told: str, file: str) -> None:
        self.told, self._file = told, file

    @classmethod
    def of(cls, places: located_yaml.Places) -> _Places:
        return cls(json.dumps([(path, *mark) for path, mark in places.marks.items()]), places.file)

    def __getitem__(self, path: Path) -> Place:
        line, column = _read(self.told)[path]
        return Place(self._file, line, column, show(path))

    def __iter__(self) -> Iterator[Path]:
        return iter(_read(self.told))

    def __len__(self) -> int:
        return len(_read(self.told))


@lru_cache(maxsize=1)
def _read(told: str) -> dict[Path, tuple[int, int]]:
    """Return the lines and columns of a card's parts; who asks for one of them mostly asks for others next."""
    return {tuple(path): (line, column) for path, line, column in json.loads(told)}


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
    if wrong := [*_misfits(document.value, document)]:
        return None, wrong
    lacking = []
    if not {"cite", "title"} & document.value.keys():
        lacking = [CardError(document.place(()), "the key `cite` is missing", "add `cite:`")]
    is_first = document.value.get("schema", 1) == 1 and "title" not in document.value
    try:
        card = Card.model_validate({**({"implementation": slug} if is_first else {}), **document.value})
    except ValidationError as error:
        found = [_fault(one["type"], one["loc"], one.get("ctx", {}), document) for one in error.errors()]
        for one, fault in zip(error.errors(), found, strict=True):
            fault.rule = RULES.get(one["type"], "card")
        said = {fault.place for fault in document.faults}
        return None, [*lacking, *(fault for fault in found if fault.place not in said)]
    if lacking:
        return None, lacking
    faults = [*_taken("questions", card.questions, document), *_taken("claims", card.claims, document)]
    return card, [*faults, *_replies(card, document)]


def _has_own_module(card: Card) -> bool:
    return "implementation" not in card.model_fields_set


def _misfits(value: Mapping[str, object], document: Document) -> Iterator[CardError]:
    """Yield what tells that this is no card of a form that is known here: then nothing else of it is judged."""
    version = value.get("schema", 1)
    if type(version) is not int or version < 1:
        problem = f"{_describe(document, ('schema',))} is no version of a card's form"
        yield CardError(document.place(("schema",)), problem, f"write a number from 1 to {VERSION}, or remove the key")
    elif version > VERSION:
        problem = f"the card is of version {version}, and this quaere reads those up to {VERSION}"
        yield CardError(document.place(("schema",)), problem, "update quaere")
    elif unfilled := [name for name in ("cite", "title") if value.get(name, "") is None]:
        problem = f"expected text, found {_describe(document, (unfilled[0],))}"
        yield CardError(document.place((unfilled[0],)), problem, "fill it in, or remove the key")
    elif "cite" in value and "title" in value:
        hint = "remove `title`, which the bibliography has; or `cite`, if this is no paper but a topic"
        yield CardError(document.place(("title",)), "a card has `cite` or `title`, and not both", hint)
    elif "title" in value:
        for name in _OF_PAPERS & value.keys():
            place = replace(document.keys[(name,)], at=show((name,)))
            yield CardError(place, f"a topic has no `{name}`", "it is no paper: say it in `notes`")


def _replies(card: Card, document: Document) -> Iterator[CardError]:
    """Yield an error for each answer that is neither prose nor code, or both."""
    for index, question in enumerate(card.questions):
        for n, reply in enumerate(question.answers):
            if (reply.text is None) == (reply.code is None):
                problem = "this answer has neither prose nor code" if reply.text is None else "this is two answers"
                hint = "write `text:` with an answer in prose, or `code:` with the name of one in code"
                yield CardError(document.place(("questions", index, "answers", n)), problem, hint)


def _taken(part: str, items: Iterable[Question | Claim], document: Document) -> Iterator[CardError]:
    """Yield an error for each duplicate id in the card."""
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        place = document.place((part, index, "id"))
        if item.id in first:
            hint = f"the first stands in line {first[item.id]}: rename one of them"
            yield CardError(place, f"the id `{item.id}` is taken", hint)
        first.setdefault(item.id, place.line)


RULES = {
    "string_type": "expected-text",
    "tuple_type": "expected-list",
    "model_type": "expected-mapping",
    "date_type": "expected-date",
    "missing": "missing-key",
    "extra_forbidden": "unknown-key",
    "literal_error": "unknown-word",
    "string_too_short": "empty-text",
    "string_too_long": "long-text",
    "string_pattern_mismatch": "malformed",
}
"""The names of rules by the types of pydantic's errors."""

_WANTED = {
    "string_type": ("text", "quote it"),
    "tuple_type": ("a list", "write `[one, two]`, or each on a line of its own after `- `"),
    "model_type": ("a mapping", "write `name: value`"),
    "bool_type": ("true or false", "write one of them without quotes"),
    "date_type": ("a date", "write it as 2026-01-31, without quotes and time"),
}

_PATTERNS = {
    "id": ("no id", "use lower-case words joined by hyphens"),
    "url": ("no web address", "start it with https://"),
    "cite": ("no BibTeX key", "leave out spaces, commas and braces"),
    "test": ("no name of a test", "write the name of a function, `test_…`"),
    "code": ("no name of an answer in code", "write it as in its docstring: `paper.question`"),
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
        named = "id" if path[0] == "questions" and last != "code" else last
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
        "quotes": Quote,
        "status": Status,
        "answers": Reply,
    }
    names = [name for name in path if isinstance(name, str)]
    part = parts.get(names[-1], Card) if names else Card
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
