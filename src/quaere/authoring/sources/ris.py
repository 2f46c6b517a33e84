"""Read RIS, which reference managers and publishers' pages export, into entries of a bibliography.

Which tag goes where is the inverse of `content.bibliography.ris`. A tag that has no field is kept in one named after
it, `ris-…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from quaere.authoring.entries import value_of
from quaere.authoring.sources import csl_json
from quaere.authoring.sources.found import Made, Unread
from quaere.authoring.sources.people import people
from quaere.authoring.sources.people import read as name
from quaere.content.bibliography import identifiers
from quaere.content.bibliography.kinds import KINDS
from quaere.content.bibliography.ris import COPIED
from quaere.errors import Place

_LINE = re.compile(r"^\s?([A-Z][A-Z0-9])  ?- ?(.*)$")
_KINDS = {kind.ris: name for name, kind in reversed(KINDS.items())} | {
    "BOOK": "book", "CHAP": "incollection", "COMP": "software", "CPAPER": "inproceedings", "DATA": "dataset",
    "DICT": "inreference", "EBOOK": "book", "ECHAP": "incollection", "EJOUR": "article", "ELEC": "online",
    "ENCYC": "inreference", "GEN": "misc", "ICOMM": "letter", "INPR": "article", "JFULL": "periodical",
    "JOUR": "article", "MGZN": "article", "MPCT": "movie", "NEWS": "article", "RPRT": "techreport", "SOUND": "audio",
    "THES": "thesis", "UNPB": "unpublished",
}  # fmt: skip
_SUBTYPES = {"MGZN": "magazine", "NEWS": "newspaper", "DICT": "dictionary"}
_WHOLE = {"book", "proceedings", "collection", "reference", "periodical", "booklet"}
_PARTS = {"inproceedings", "incollection", "inbook", "inreference"}
_FIELDS = {tag: field for field, tag in reversed(COPIED.items())} | {
    "CY": "address", "DO": "doi", "IS": "number", "LA": "language", "M3": "type", "N2": "abstract", "PP": "address",
    "T1": "title", "TI": "title", "UR": "url", "VL": "volume",
}  # fmt: skip
_PUBLISHERS = {"techreport": "institution", "thesis": "school"}


def read(text: str, file: str) -> Iterator[Made | Unread]:
    """Yield the records of a text in RIS."""
    rows: list[tuple[str, str]] = []
    raw: list[str] = []
    stray: list[tuple[int, str]] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.match(line)
        if found and found[1] == "TY" and rows:
            # The record before it lacks its end.
            yield _made(rows, Place(file, start), "\n".join(raw))
            rows, raw = [], []
        if found and (rows or found[1] == "TY"):
            if found[1] == "ER":
                yield _made(rows, Place(file, start), "\n".join([*raw, line]))
                rows, raw = [], []
                continue
            start = start if rows else number
            rows.append((found[1], found[2].strip()))
            raw.append(line)
        elif rows:
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {line.strip()}".strip())
            raw.append(line)
        elif line.strip("\ufeff \t"):
            stray.append((number, line))
    if rows:
        yield _made(rows, Place(file, start), "\n".join(raw))
    for number, line in stray:
        yield Unread(Place(file, number), "this line is outside of all records", line)


def _made(rows: Sequence[tuple[str, str]], place: Place, text: str) -> Made | Unread:
    values: dict[str, list[str]] = {}
    for tag, value in rows:
        if value:
            values.setdefault(tag, []).append(value)
    what = next(iter(values.pop("TY", [])), "GEN").upper()
    kind = _KINDS.get(what, "misc")
    if what == "CONF" and any(tag in values for tag in ("T2", "BT", "C3", "A2", "ED")):
        kind = "inproceedings"  # as Zotero writes a paper of a conference
    if not any(tag in values for tag in ("TI", "T1", "BT", "DO", "T2")):
        return Unread(place, "the record has neither a title nor a DOI", text)
    fields: dict[str, str] = {}
    key = next(iter(values.pop("ID", [])), "")
    _take_people(values, fields, kind)
    _take_eprint(values, fields)
    if kind == "unpublished" and "eprint" in fields:
        kind = "misc"
    _take_dates(values, fields)
    _take_pages(values, fields)
    _take_holder(values, fields, kind)
    if publisher := _first(values, "PB"):
        fields[_PUBLISHERS.get(kind, "publisher")] = value_of("", publisher)
    for tag, field in _FIELDS.items():
        if field not in fields and (written := _first(values, tag)):
            fields[field] = value_of(field, written)
    for tag, field, between in (("KW", "keywords", ", "), ("N1", "note", ". ")):
        if tag in values:
            fields[field] = value_of(field, between.join(values.pop(tag)))
    if numbers := _first(values, "SN"):
        is_isbn = len(re.sub(r"[^\dXx]", "", numbers)) > 8 or kind in _WHOLE
        fields["isbn" if is_isbn else "issn"] = value_of("", numbers)
    if what in _SUBTYPES:
        fields["entrysubtype"] = _SUBTYPES[what]
    if what not in _KINDS:
        fields["ris-type"] = value_of("", what)
    for tag, more in values.items():
        fields[f"ris-{tag.lower()}"] = value_of("", "; ".join(more))
    return Made(kind, key, fields, place, text)


def _first(values: dict[str, list[str]], *tags: str) -> str:
    """Take the first value of the first of some tags that is there."""
    for tag in tags:
        if values.get(tag):
            first = values[tag].pop(0)
            if not values[tag]:
                del values[tag]
            return first
    return ""


def _take_people(values: dict[str, list[str]], fields: dict[str, str], kind: str) -> None:
    editors = ("A3", "A2", "ED") if kind in _WHOLE else ("A2", "ED", "A3")
    for role, tags in (("author", ("AU", "A1")), ("editor", editors), ("translator", ("A4",))):
        if written := people(name(one) for tag in tags for one in values.pop(tag, [])):
            fields[role] = written


def _take_eprint(values: dict[str, list[str]], fields: dict[str, str]) -> None:
    number = next(iter(values.get("AN", [])), "")
    places = {"doi": next(iter(values.get("DO", [])), ""), "url": next(iter(values.get("UR", [])), "")}
    archive, colon, eprint = number.partition(":")
    if re.match(r"(?i)arxiv:", number) and (arxiv := identifiers.arxiv({"eprint": number})):
        fields |= {"eprint": arxiv, "archiveprefix": "arXiv"}
    elif colon and eprint and re.fullmatch(r"[A-Za-z]+", archive):
        fields |= {"eprint": value_of("eprint", eprint), "eprinttype": archive}
    elif arxiv := identifiers.arxiv(places):
        fields |= {"eprint": arxiv, "archiveprefix": "arXiv"}
        return
    else:
        return
    _first(values, "AN")


def _take_dates(values: dict[str, list[str]], fields: dict[str, str]) -> None:
    # The one that says most; the others say the same.
    written = [one for tag in ("DA", "PY", "Y1") for one in values.pop(tag, [])]
    for one in written:
        if date := _date(one):
            fields |= date
            break
    if seen := _first(values, "Y2"):
        fields["urldate"] = value_of("", "-".join(filter(None, seen.split("/")[:3])) if "/" in seen else seen)


def _date(written: str) -> dict[str, str]:
    """Return the fields of a date: year, month, day and words with slashes between them, or a date otherwise."""
    parts = [part.strip() for part in written.split("/", 3)]
    if "/" in written and re.fullmatch(r"\d{4}", parts[0]):
        numbers = []
        for part in parts[:3]:
            if not re.fullmatch(r"\d{1,4}", part):
                break
            numbers.append(int(part))
        words = parts[3] if len(parts) > 3 else ""
        if words and words.lower() in ("spring", "summer", "autumn", "fall", "winter"):
            season = {"spring": 1, "summer": 2, "autumn": 3, "fall": 3, "winter": 4}[words.lower()]
            return csl_json.issued({"date-parts": [numbers[:1]], "season": season})
        if words and not words.isdigit() and re.search(r"\d", words):
            return csl_json.issued(words)
        return csl_json.issued({"date-parts": [numbers]})
    if re.fullmatch(r"\d{4}(-\d{1,2}){0,2}", written):
        return csl_json.issued({"date-parts": [written.split("-")]})
    return csl_json.issued(written)


def _take_pages(values: dict[str, list[str]], fields: dict[str, str]) -> None:
    first, last = _first(values, "SP"), _first(values, "EP")
    pages = f"{value_of('', first)}--{value_of('', last)}" if first and last else value_of("", first or last)
    if pages:
        fields["pages"] = re.sub(r"(?<=\d)[-–](?=\d)", "--", pages)


def _take_holder(values: dict[str, list[str]], fields: dict[str, str], kind: str) -> None:
    field = "booktitle" if kind in _PARTS else "journal" if kind in ("article", "periodical", "review") else ""
    if "TI" not in values and "T1" not in values and kind in _WHOLE and (title := _first(values, "BT")):
        fields["title"] = value_of("title", title)
    written = _first(values, *(("T2", "BT", "JO", "JF") if field == "booktitle" else ("T2", "JO", "JF", "JA", "J2")))
    if written and field:
        fields[field] = value_of(field, written)
    elif written:
        fields["howpublished" if kind in ("misc", "online", "unpublished") else "series"] = value_of("", written)
    if field == "journal":
        for tag in ("JO", "JF"):
            if values.get(tag) == [written]:
                del values[tag]
        if short := _first(values, "JA", "J2"):
            fields["shortjournal"] = value_of("", short)
