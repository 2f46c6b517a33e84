"""References in RIS, which reference managers import.

Tags as in the RIS specification of 2011 and in what Zotero exports and imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from quaere.content.bibliography import csl
from quaere.content.bibliography.dates import SEASONS, Date
from quaere.content.bibliography.reference import Name, Reference, joined

COPIED = {
    "shortjournal": "J2",
    "shorttitle": "ST",
    "series": "T3",
    "volume": "VL",
    "volumes": "NV",
    "edition": "ET",
    "version": "ET",
    "abstract": "AB",
    "library": "CN",
    "eventtitle": "C3",
    "origtitle": "OP",
    "chapter": "SE",
    "pagetotal": "SP",
}
_BOOKS = {"BOOK", "CONF", "PAMP"}


def record(reference: Reference) -> str:
    """Return a reference as a record."""
    # RIS has one line a field: a line break inside a value would start another.
    rows = [(tag, " ".join(value.split())) for tag, value in _rows(reference)]
    lines = dict.fromkeys(f"{tag}  - {value}" for tag, value in rows if value)
    return "\n".join([*lines, "ER  - ", ""])


def _rows(reference: Reference) -> Iterator[tuple[str, str]]:
    fields, texts = reference.fields, reference.texts
    kind = csl.kind(reference).ris
    yield "TY", kind
    yield from (("AU", _name(name)) for name in reference.authors)
    # A book's editors are its own; those of what holds a paper stand beside its authors.
    editors = "A3" if kind in _BOOKS else "A2"
    yield from ((editors, _name(name)) for name in reference.editors)
    yield from (("A4", _name(name)) for name in reference.names.get("translator", ()))
    yield "TI", reference.title
    journal = joined(": ", texts.get("journaltitle") or texts.get("journal"), texts.get("journalsubtitle"))
    book = joined(": ", texts.get("booktitle"), texts.get("booksubtitle"))
    holder = (journal or book).plain
    holder = holder or fields.get("maintitle", "")
    yield "T2", holder if holder != reference.title else ""
    yield from _dates(reference)
    seen = csl.read_date(fields.get("urldate", ""))
    yield "Y2", seen.words or _day(seen, "").rstrip("/")
    first, last = _pages(fields.get("pages") or fields.get("eid", ""))
    yield "SP", first
    yield "EP", last
    for field, tag in COPIED.items():
        if not (field == "pagetotal" and first):
            yield tag, fields.get(field, "")
    yield "IS", joined(", ", texts.get("number"), texts.get("issue")).plain
    yield "PB", csl.publisher(reference).plain
    yield "CY", fields.get("address") or fields.get("location") or fields.get("venue", "")
    yield "M3", csl.genre(reference)
    yield "LA", csl.language(reference)
    yield from (("KW", word.strip()) for word in re.split(r"[,;]", fields.get("keywords", "")))
    yield from (("N1", fields.get(name, "")) for name in ("note", "addendum", "annotation", "annote"))
    yield "N1", csl.status(reference)
    yield "DO", reference.doi or fields.get("doi", "")
    yield "AN", _accession(reference)
    yield "SN", fields.get("isbn") or fields.get("issn", "")
    yield "UR", csl.address(reference)
    yield "ID", reference.key


def _dates(reference: Reference) -> Iterator[tuple[str, str]]:
    issued = reference.issued
    if issued.year is None:
        yield "PY", issued.words
        return
    yield "PY", f"{issued.year:04d}" if issued.year > 0 else str(issued)
    if issued.year > 0:
        # Words for what year, month and day don't say.
        is_more = len(issued.parts) > 1 or issued.words or issued.is_circa
        yield "DA", _day(issued, str(issued) if is_more else SEASONS[issued.season])


def _day(date: Date, words: str) -> str:
    """Return a date as year, month, day and words."""
    return "/".join([*[*date.iso.split("-"), "", ""][:3], words])


def _pages(written: str) -> tuple[str, str]:
    """Return the first and the last page; a list of several spans stays as it is."""
    found = re.fullmatch(r"([^\s,;–—-]+)\s*(?:–|—|-)+\s*([^\s,;–—-]+)", written.strip())
    return (found[1], found[2]) if found else (written, "")


def _accession(reference: Reference) -> str:
    """Return the name by which an archive has it."""
    if reference.arxiv:
        return f"arXiv:{reference.arxiv}"
    kind = reference.eprint_type
    eprint = reference.fields.get("eprint") or reference.fields.get("pmid", "")
    return ":".join(filter(None, (kind, eprint)))


def _name(name: Name) -> str:
    return name.family if name.is_literal else ", ".join(filter(None, (name.surname, name.given, name.suffix)))
