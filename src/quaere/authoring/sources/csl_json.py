"""Read CSL-JSON, which Zotero, pandoc and Crossref write, into entries of a bibliography.

Which variable goes where is the inverse of `content.bibliography.csl`. A variable that has no field is kept in one
named after it, `csl-…`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from typing import Any

from quaere.authoring.entries import value_of
from quaere.authoring.sources.found import Made, Unread
from quaere.authoring.sources.people import people
from quaere.content.bibliography import csl, identifiers
from quaere.content.bibliography.dates import MONTHS, DateError, of_fields
from quaere.content.bibliography.reference import OTHERS, Name
from quaere.errors import Place

KINDS = {
    "article": "misc",
    "article-journal": "article",
    "article-magazine": "article",
    "article-newspaper": "article",
    "book": "book",
    "chapter": "incollection",
    "dataset": "dataset",
    "document": "misc",
    "entry-dictionary": "inreference",
    "entry-encyclopedia": "inreference",
    "graphic": "artwork",
    "legal_case": "jurisdiction",
    "legislation": "legislation",
    "manuscript": "unpublished",
    "motion_picture": "video",
    "pamphlet": "booklet",
    "paper-conference": "inproceedings",
    "patent": "patent",
    "personal_communication": "letter",
    "report": "techreport",
    "review": "review",
    "software": "software",
    "song": "audio",
    "speech": "presentation",
    "standard": "standard",
    "thesis": "thesis",
    "treaty": "legal",
    "webpage": "online",
}
_SUBTYPES = {"article-magazine": "magazine", "article-newspaper": "newspaper", "entry-dictionary": "dictionary"}
_FIELDS = {variable: field for field, variable in csl.COPIED.items()} | {
    "DOI": "doi",
    "PMID": "pmid",
    "URL": "url",
    "annote": "annotation",
    "event-place": "venue",
    "genre": "type",
    "journalAbbreviation": "shortjournal",
    "language": "language",
    "note": "note",
    "shortTitle": "shorttitle",
    "status": "pubstate",
    "title": "title",
    "volume": "volume",
}
_ROLES = {"author": "author", "editor": "editor", "translator": "translator", "container-author": "bookauthor",
          "authority": "holder", "contributor": "editora"}  # fmt: skip
_DATES = {variable: field for field, variable in csl.DATES.items()}
_PARTS = {"chapter", "paper-conference", "entry-encyclopedia", "entry-dictionary"}
_TAGS = {
    "i": "emph",
    "b": "textbf",
    "sub": "textsubscript",
    "sup": "textsuperscript",
    'span style="font-variant:small-caps;"': "textsc",
    'span style="font-variant: small-caps;"': "textsc",
}
_TAG = re.compile(r"(<(?:/?(?:i|b|sub|sup)|span [^<>]*|/span)>)")


def read(text: str, file: str) -> Iterator[Made | Unread]:
    """Yield the items of a text in CSL-JSON: a list, one item, or items by their ids."""
    decoder = json.JSONDecoder()
    try:
        whole = decoder.decode(text)
    except json.JSONDecodeError as error:
        # What stands before the fault can be read.
        yield from _before_the_fault(text, file, error)
        return
    except RecursionError:
        yield Unread(Place(file, 1, 1), "it nests too deep to be read", text)
        return
    if isinstance(whole, list):
        items: Iterable[object] = whole
    elif isinstance(whole, dict) and isinstance(whole.get("items"), list):
        items = whole["items"]
    elif isinstance(whole, dict) and not isinstance(whole.get("type"), str):
        items = [{"id": key, **item} if isinstance(item, dict) else item for key, item in whole.items()]
    else:
        items = [whole]
    lines = _lines(text, len(list(items)))
    for n, item in enumerate(items):
        yield _made(item, Place(file, lines[n], at=f"$[{n}]"))


def _before_the_fault(text: str, file: str, error: json.JSONDecodeError) -> Iterator[Made | Unread]:
    decoder, at, n = json.JSONDecoder(), text.find("[") + 1, 0
    while text.lstrip("\ufeff \t\r\n").startswith("["):
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        try:
            item, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        yield _made(item, Place(file, text.count("\n", 0, at) + 1, at=f"$[{n}]"))
        at, n = end, n + 1
    problem = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
    yield Unread(Place(file, error.lineno, error.colno), problem, text[at:].strip())


def _lines(text: str, count: int) -> list[int]:
    """Return the line in which each item of a list begins; all the first if that can't be told."""
    if not text.lstrip("\ufeff \t\r\n").startswith("["):
        return [1] * count
    decoder, at, line, seen, lines = json.JSONDecoder(), text.index("[") + 1, 1, 0, []
    space = re.compile(r"[\s,]*")
    for _ in range(count):
        at = space.match(text, at).end()  # type: ignore[union-attr]
        line += text.count("\n", seen, at)
        seen = at
        lines.append(line)
        _, at = decoder.raw_decode(text, at)
    return lines


def _made(item: object, place: Place) -> Made | Unread:
    text = json.dumps(item, indent=2, ensure_ascii=False)
    if not isinstance(item, dict):
        return Unread(place, "this is no item of CSL-JSON", text)
    if not (item.get("title") or item.get("DOI") or item.get("container-title")):
        return Unread(place, "the item has neither a title nor a DOI", text)
    key = item.get("citation-key") or item.get("id")
    kind, fields = entry(item)
    # Zotero's own ids are addresses or numbers.
    key = key if isinstance(key, str) and not re.match(r"https?:|\d+$", key) else ""
    return Made(kind, key, fields, place, text)


def entry(item: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the type of entry of an item, and its fields as TeX."""
    what = str(item.get("type", ""))
    kind = KINDS.get(what, "misc")
    fields: dict[str, str] = {}
    left = {name: value for name, value in item.items() if value not in (None, "", [], {})}
    for name in ("id", "type", "citation-key"):
        left.pop(name, None)
    for variable, role in _ROLES.items():
        if isinstance(left.get(variable), list) and (written := people(_names(left[variable]))):
            fields[role] = written
            del left[variable]
    _take_dates(left, fields)
    _take_holder(left, fields, what, kind)
    _take_eprint(left, fields)
    for variable, field in _FIELDS.items():
        if field not in fields and (written := _words(left.get(variable))):
            del left[variable]
            fields[field] = _tex(field, written)
    if "page" in left:
        fields["pages"] = re.sub(r"\s*[-–—−]+\s*", "--", value_of("", _words(left.pop("page"))).replace("-{}-", "--"))
    if what in _SUBTYPES:
        fields["entrysubtype"] = _SUBTYPES[what]
    if what not in KINDS and what:
        fields["csl-type"] = value_of("", what)
    for variable, value in left.items():
        name = f"csl-{re.sub(r'[^A-Za-z0-9_-]', '', variable)}"
        fields[name] = value_of("", _kept(value))
    return kind, fields


def _take_holder(left: dict[str, Any], fields: dict[str, str], what: str, kind: str) -> None:
    """Take what depends on the type: what an item appeared in, its numbers, and who brought it out."""
    is_article = what.startswith(("article-", "review"))
    is_numbered = what in ("report", "patent", "standard", "legislation", "legal_case", "software")
    holder = "journal" if is_article else "booktitle" if what in _PARTS else ""
    publisher = {"report": "institution", "thesis": "school"}.get(what, "publisher")
    number = "issue" if is_article else "number" if is_numbered else "collection-number"
    place = "jurisdiction" if what == "patent" else "publisher-place"
    taken = {"container-title": holder, "publisher": publisher, place: "address", number: "number"}
    if not is_article:
        taken["issue"] = "issue"
    for variable, field in taken.items():
        if field and (written := _words(left.get(variable))):
            del left[variable]
            fields[field] = _tex(field, written)


def _take_eprint(left: dict[str, Any], fields: dict[str, str]) -> None:
    """Take the name by which an archive has it."""
    number, archive = str(left.get("number", "")), str(left.get("archive", ""))
    arxiv = identifiers.arxiv({"eprint": number}) if re.match(r"(?i)arxiv:", number) else None
    location = str(left.get("archive_location", ""))
    if arxiv:
        del left["number"]
        fields |= {"eprint": arxiv, "archiveprefix": "arXiv"}
    elif archive and location and archive.casefold() not in identifiers.HOMES:
        fields |= {"eprint": value_of("eprint", location), "eprinttype": value_of("", archive)}
        del left["archive"], left["archive_location"]
    elif found := identifiers.arxiv({"doi": str(left.get("DOI", "")), "url": str(left.get("URL", ""))}):
        fields |= {"eprint": found, "archiveprefix": "arXiv"}


def _take_dates(left: dict[str, Any], fields: dict[str, str]) -> None:
    if isinstance(left.get("issued"), (dict, str)):
        fields |= issued(left.pop("issued"))
    for variable, field in _DATES.items():
        if isinstance(left.get(variable), (dict, str)) and (written := _edtf(left[variable])):
            fields[field] = value_of("", written)
            del left[variable]


def issued(date: Mapping[str, Any] | str) -> dict[str, str]:
    """Return the fields that say when something appeared: year, month and day, or a date that is more than these."""
    parts = _date_parts(date)
    is_plain = isinstance(date, Mapping) and not date.get("circa") and not date.get("season")
    if is_plain and len(parts) == 1 and 0 < parts[0][0] <= 9999 and _is_date(parts[0]):
        year, month, day = [*parts[0], 0, 0][:3]
        fields = {"year": str(year), "month": list(MONTHS)[month - 1] if month else "", "day": str(day) if day else ""}
        return {name: value for name, value in fields.items() if value}
    written = _edtf(date)
    name = "date" if parts else "year"
    try:
        of_fields({name: written})
    except DateError:
        return {"note": value_of("", written)}
    return {name: value_of("", written)}


def _date_parts(date: Mapping[str, Any] | str) -> list[list[int]]:
    if not isinstance(date, Mapping) or not isinstance(date.get("date-parts"), list):
        return []
    found = []
    for part in date["date-parts"][:2]:
        numbers = [one for one in part if str("" if one is None else one).strip()] if isinstance(part, list) else []
        # Some write a month or a day that they don't know as 0; a year 0 stands for the end of a span that has none.
        while len(numbers) > 1 and str(numbers[-1]).strip() == "0":
            numbers.pop()
        if not numbers or not all(re.fullmatch(r"\s*-?\d{1,12}\s*", str(one)) for one in numbers):
            return []
        found.append([int(one) for one in numbers])
    return found


def _is_date(part: list[int]) -> bool:
    try:
        of_fields({"date": "-".join(f"{one:04d}" if n == 0 else f"{one:02d}" for n, one in enumerate(part))})
    except DateError:
        return False
    return True


def _unread_parts(date: Mapping[str, Any]) -> str:
    """Return the parts of a date that is none, as they are written."""
    parts = date.get("date-parts")
    sides = [part for part in parts if isinstance(part, list)] if isinstance(parts, list) else []
    return "/".join(filter(None, ("-".join(str(one) for one in side if one not in (None, "")) for side in sides)))


def _edtf(date: Mapping[str, Any] | str) -> str:
    """Return a date as BibLaTeX has it, or the words in its place."""
    parts = _date_parts(date)
    if not isinstance(date, Mapping):
        return date
    if not parts:
        return _words(date.get("raw") or date.get("literal")) or _unread_parts(date)
    sign = "~" if date.get("circa") else ""
    season = str(date.get("season", ""))
    sides = []
    for part in parts:
        year, rest = part[0], part[1:]
        # ISO counts a year 0, which is 1 BC; 0 here is the end of a span that has none.
        iso = year if year > 0 else year + 1
        first = f"{iso:04d}" if 0 <= iso <= 9999 else f"-{-iso:04d}" if -9999 <= iso < 0 else f"Y{iso}"
        side = "-".join([first, *(f"{one:02d}" for one in rest)])
        sides.append(
            "" if year == 0 else f"{side}{f'-{20 + int(season)}' if season in '1234' and season else ''}{sign}"
        )
    return "/".join(sides)


def _names(written: Iterable[Any]) -> Iterator[Name]:
    for one in written:
        if not isinstance(one, Mapping):
            yield Name(_words(one), is_literal=True)
            continue
        literal = _words(one.get("literal") or one.get("name"))
        part = {name: _words(one.get(name)) for name in one}
        if literal or not part.get("family"):
            whole = literal or " ".join(filter(None, (part.get("given"), part.get("family"))))
            yield OTHERS if whole.casefold() in ("others", "et al.", "et al") else Name(whole, is_literal=True)
            continue
        yield Name(
            part["family"],
            part.get("given", ""),
            part.get("suffix", ""),
            part.get("dropping-particle", ""),
            part.get("non-dropping-particle", ""),
        )


def _words(value: object) -> str:
    if isinstance(value, list):
        # Crossref gives titles as lists.
        return ", ".join(filter(None, map(_words, value)))
    return " ".join(str(value).split()) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def _kept(value: object) -> str:
    """Return as text what no field is made for."""
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "family" in one for one in value):
        return people(_names(value))
    if isinstance(value, Mapping) and (written := _edtf(value)):
        return written
    return _words(value) if isinstance(value, (str, int, float)) else json.dumps(value, ensure_ascii=False)


def _tex(field: str, text: str) -> str:
    """Return text with the tags of CSL as TeX."""
    if not _TAG.search(text):
        return value_of(field, text)
    parts, opened = [], []
    for n, part in enumerate(_TAG.split(text)):
        if n % 2 == 0:
            parts.append(_spaced(field, part))
        elif not part.startswith("</"):
            command = _TAGS.get(part[1:-1], "")
            opened.append(part[1:-1].split()[0])
            parts.append(f"\\{command}{{" if command else "{")
        elif opened and opened[-1] == part[2:-1]:
            opened.pop()
            parts.append("}")
        else:
            return value_of(field, unescape(text))
    return "".join(parts) if not opened else value_of(field, text)


def _spaced(field: str, part: str) -> str:
    before, after = " " * part[:1].isspace(), " " * part[-1:].isspace()
    return f"{before}{value_of(field, part)}{after}" if part.strip() else part
