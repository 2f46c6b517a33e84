"""What a source names: entries as BibTeX, ready to be added; and what could not be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bibtexparser.model import Entry

from quaere.authoring import entries
from quaere.content import located_yaml
from quaere.content.bibliography import identifiers, names, tex
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.bibliography.reference import Reference
from quaere.errors import Place


@dataclass(frozen=True)
class Identity:
    """What tells that two entries are of the same paper."""

    doi: str = ""
    arxiv: str = ""
    title: str = ""
    surname: str = ""


@dataclass(frozen=True)
class Found:
    """An entry that a source names.

    `source` is its BibTeX, `key` the key that the source gave it, if any; `values` are its own fields as TeX, and
    `parents` the keys of the entries that it names.
    """

    source: str
    key: str
    place: Place
    reference: Reference
    identity: Identity
    values: Mapping[str, str]
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unread:
    """A part of a source that can't be understood, as it was written."""

    place: Place
    problem: str
    text: str


@dataclass
class Reading:
    """What was read of one source or of several, in its order."""

    found: list[Found] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    preambles: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, other: Reading) -> None:
        """Add what was read of another source."""
        self.found += other.found
        self.unread += other.unread
        self.preambles += [one for one in other.preambles if one not in self.preambles]
        self.remarks += other.remarks


@dataclass(frozen=True)
class Made:
    """An entry to be written as BibTeX: its fields as TeX, its place, and what it was made of."""

    kind: str
    key: str
    fields: Mapping[str, str]
    place: Place
    text: str


KEY = re.compile(r"[^\s,={}()%#\"'~\\]+")
"""What every program takes for a key."""

PARENTS = ("crossref", "xref", "xdata", "related", "entryset")
"""Fields that name other entries."""


def of_bibtex(text: str, file: str) -> Iterable[Found | Unread | str]:
    """Yield the entries of a text in BibTeX or BibLaTeX, what can't be read of it, and its preambles."""
    book = Bibliography(text, file)
    for source, place, entry, problem in book.written():
        if problem:
            yield Unread(place, problem, source)
        elif entry is None:
            yield source
        else:
            yield _of_entry(book, entry, source, place)


def _of_entry(book: Bibliography, entry: Entry, source: str, place: Place) -> Found | Unread:
    if found := located_yaml.control_character(source):
        return Unread(place, f"the control character U+{ord(found[1]):04X} is not allowed", source)
    reference, faults = book.reference(entry)
    if not reference:
        return Unread(faults[0].place, "; ".join(fault.problem for fault in faults), source)
    values = book.values(entry)
    if not book.is_whole(entry):
        source = reference.sources[entry.key]
    parents = [key.strip() for name in PARENTS for key in values.get(name, "").split(",") if key.strip()]
    key = entry.key if KEY.fullmatch(entry.key) else ""
    return Found(source.strip() + "\n", key, place, reference, identity(values), values, tuple(parents))


_FIRST = (
    *("author", "editor", "title", "journal", "booktitle", "publisher", "year", "month", "day", "date", "volume"),
    *("number", "pages", "doi", "eprint", "archiveprefix", "primaryclass", "version", "url"),
)
_ORDER = {name: n for n, name in enumerate(_FIRST)}


def of_made(made: Iterable[Made]) -> Iterable[Found | Unread]:
    """Yield entries that are to be written as BibTeX, as they read again."""
    made = list(made)
    fields = [
        {name: _clean(one.fields[name]) for name in sorted(one.fields, key=lambda name: _ORDER.get(name, 99))}
        for one in made
    ]
    sources = [entries.source(one.kind, f"x{n}", own) for n, (one, own) in enumerate(zip(made, fields, strict=True))]
    read = list(of_bibtex("\n".join(sources), ""))
    for one, found in zip(made, read, strict=True):
        if isinstance(found, Found):
            yield replace(found, place=one.place, key=one.key if KEY.fullmatch(one.key) else "")
        else:
            problem = found.problem if isinstance(found, Unread) else "this is no entry"
            yield Unread(one.place, problem, one.text)


def _clean(value: str) -> str:
    return "".join(sign for sign in value if not located_yaml.control_character(sign))


def identity(values: Mapping[str, str]) -> Identity:
    """Return what tells an entry from others, by its fields as TeX."""
    plain = {name: tex.literal(value) for name, value in values.items() if name in _IDENTIFYING}
    arxiv = identifiers.arxiv(plain) or ""
    doi = identifiers.doi(plain.get("doi", "")) or identifiers.doi_of_address(plain.get("url", "")) or ""
    title = " ".join(filter(None, (values.get("title"), values.get("subtitle"))))
    return Identity(
        doi="" if doi.casefold().startswith("10.48550/") else doi.casefold(),
        arxiv=arxiv,
        title=alike(shown(title)),
        surname=_surname(values.get("author") or values.get("editor") or ""),
    )


_IDENTIFYING = frozenset(
    """
    doi url eprint archiveprefix eprinttype archive arxivid primaryclass eprintclass journal journaltitle volume number
    howpublished note publisher
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)


def alike(title: str) -> str:
    """Return a title so that two of the same words are equal."""
    return " ".join(re.findall(r"[^\W_]+", entries.without_accents(title).casefold()))


def shown(latex: str) -> str:
    """Return TeX as Unicode text; as it is if it can't be read."""
    try:
        return tex.read(latex).plain
    except tex.TexError:
        return latex


def _surname(people: str) -> str:
    """Return the last name of the first of some people, with its particles, as far as it can be told fast."""
    first = names.split(people, names.AND)[0] if people else ""
    if not first or first.startswith("{"):
        return alike(shown(first))
    family, comma, _ = first.partition(",")
    return alike(shown(family if comma else first.split()[-1]))


def without_version(arxiv: str) -> str:
    """Return an arXiv identifier without its version."""
    return re.sub(r"v\d+$", "", arxiv).casefold()
