"""Add entries to the bibliography, and cards for them: what is there already is told apart, never written over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bibtexparser.model import Entry

from quaere.authoring import amending, edit, entries
from quaere.authoring.changes import Change, Changes
from quaere.authoring.notes.paper import Draft
from quaere.authoring.notes.plan import slug_of
from quaere.authoring.sources.found import (
    PARENTS,
    Found,
    Identity,
    Reading,
    Unread,
    identity,
    shown,
    without_version,
)
from quaere.content.bibliography.bibtex import Bibliography, Written
from quaere.content.model import Library
from quaere.errors import MisuseError, Place


class Choice(StrEnum):
    """What becomes of an entry whose paper is there already; `MERGE` says nothing where several may be its paper."""

    MERGE = "merge"
    SKIP = "skip"
    KEEP_BOTH = "keep both"


class Status(StrEnum):
    """What becomes of an entry."""

    ADDED = "added"
    THERE = "there already"
    MERGED = "merged"
    SKIPPED = "skipped"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Twin:
    """An entry of the same paper, in the bibliography or before in the same source; `why` tells how that is known."""

    key: str
    title: str
    why: str


@dataclass
class Addition:
    """An entry with what becomes of it.

    Attributes:
        found: The entry.
        key: Its key in the bibliography.
        status: What becomes of it.
        twins: The entries of the same paper.
        slug: The card that is made for it; empty if none is.
    """

    found: Found
    key: str = ""
    status: Status = Status.ADDED
    twins: list[Twin] = field(default_factory=list)
    slug: str = ""


@dataclass
class Plan:
    """What is added, what could not be understood, and the changes of the author's files."""

    additions: list[Addition]
    unread: list[Unread]
    changes: Changes

    def of(self, status: Status) -> list[Addition]:
        """Return those that one thing becomes of."""
        return [one for one in self.additions if one.status == status]


def plan(
    reading: Reading,
    library: Library,
    texts: Callable[[str], str | None],
    *,
    choose: Callable[[Addition], Choice | Twin | None],
    cards: bool,
) -> Plan:
    """Plan what is added.

    Args:
        reading: What was read of the sources.
        library: The knowledge base.
        texts: Returns the text of a file of the knowledge base, by its path; None if there is none.
        choose: Says what becomes of an entry whose paper is there already; a twin is the one to merge it with; None if
            nothing is said.
        cards: Whether each new entry gets a card.
    """
    text = texts(library.settings.bibliography)
    shelf = _Shelf(text or "", library.settings.bibliography)
    additions = [shelf.add(found, choose) for found in reading.found]
    changes = [Change(library.settings.bibliography, text, shelf.text(reading.preambles))]
    changes += _kept(reading.unread, library, texts)
    if cards:
        changes += _cards(additions, library, texts)
    return Plan(additions, reading.unread, Changes.of(_said(additions), changes))


def cards(library: Library, keys: Iterable[str], texts: Callable[[str], str | None]) -> Changes:
    """Make cards for entries that are in the bibliography already.

    Raises:
        MisuseError: A card cites one of them already.
    """
    file = library.settings.bibliography
    book = Bibliography(texts(file) or "", file)
    cited = {key: slug for slug, paper in library.papers.items() for key in (paper.card.cite, paper.reference.key)}
    taken = _taken(library)
    changes, slugs = [], []
    for key in dict.fromkeys(keys):
        if key in cited:
            raise MisuseError(Place("", 0), f"`{key}` has a card, `{cited[key]}`", f"see it: quaere show {cited[key]}")
        entry = book.entries[key]
        slug = slug_of(Draft("", title=_title(book, entry), arxiv=identity(book.values(entry)).arxiv), taken)
        taken.add(slug)
        slugs.append(slug)
        path = f"{library.settings.papers}/{slug}.yml"
        changes.append(Change(path, texts(path), _card(key)))
    return Changes.of(f"made the card{'s' * (len(slugs) > 1)} {', '.join(slugs)}", changes)


# The bibliography


class _Shelf:
    """The bibliography as it grows."""

    def __init__(self, text: str, file: str) -> None:
        self.book = Bibliography(text, file)
        self.before = text
        self.end = "\r\n" if "\r\n" in text else "\n"
        self.sources: dict[str, str] = {}
        """What is new, by key."""
        self.replaced: dict[str, str] = {}
        """The entries that are there and get more fields, by key."""
        self.written: dict[str, Written] = {}
        self.values: dict[str, Mapping[str, str]] = {}
        self.identities: dict[str, Identity] = {}
        self.index: dict[tuple[str, str], list[str]] = {}
        self.renamed: dict[str, str] = {}
        """The keys under which entries of the source stand, by those they had."""
        self.taken = {key.casefold() for key in self.book.keys}
        for part in self.book.written():
            if part.entry and part.entry.key and part.entry.key not in self.written:
                self.written[part.entry.key] = part
                values = self.book.values(part.entry)
                self._know(part.entry.key, values, identity(values))

    def _know(self, key: str, values: Mapping[str, str], known: Identity) -> None:
        self.values[key], self.identities[key] = values, known
        for sign in _signs(known):
            self.index.setdefault(sign, []).append(key)

    def add(self, found: Found, choose: Callable[[Addition], Choice | Twin | None]) -> Addition:
        """Add an entry, or not."""
        made = Addition(found)
        made.twins = self._twins(found)
        for key in (found.key, *(one.key for one in made.twins)):
            if key in self.values and _says_the_same(found.values, self.values[key]):
                made.status, made.key = Status.THERE, key
                self.renamed[found.key] = key
                return made
        if not made.twins:
            return self._put(made)
        choice = choose(made)
        if choice == Choice.KEEP_BOTH:
            return self._put(made)
        twin = choice if choice in made.twins else made.twins[0]
        made.key = twin.key
        self.renamed[found.key] = twin.key
        if choice == twin or (choice == Choice.MERGE and len(made.twins) == 1):
            made.status = Status.MERGED
            self._merge(twin.key, found)
        else:
            made.status = Status.SKIPPED if choice == Choice.SKIP else Status.UNDECIDED
        return made

    def _put(self, made: Addition) -> Addition:
        found = made.found
        reference = found.reference
        if found.key:
            key = entries.free(found.key, self.taken)
        else:
            people = [name.surname for name in reference.people]
            key = entries.key_of([f"{people[0]}, x"] if people else [], reference.year, _heading(found), self.taken)
        self.taken.add(key.casefold())
        made.key = key
        if found.key:
            self.renamed[found.key] = key
        self.sources[key] = amending.keyed(found.source, key)
        self._know(key, found.values, found.identity)
        return made

    def _twins(self, found: Found) -> list[Twin]:
        known = found.identity
        twins: dict[str, Twin] = {}
        for kind, value in _signs(known):
            for key in self.index.get((kind, value), ()):
                other = self.identities[key]
                if key in twins or (kind == "title" and not _may_be_of(known, other)):
                    continue
                why = {"doi": f"DOI {value}", "arxiv": f"arXiv:{value}", "title": "title"}[kind]
                if kind == "arxiv" and known.arxiv != other.arxiv:
                    why = f"arXiv:{other.arxiv}, here {known.arxiv}"
                twins[key] = Twin(key, shown(self.values[key].get("title", key)), why)
        return list(twins.values())

    def _merge(self, key: str, found: Found) -> None:
        """Give an entry the fields that it lacks."""
        more = amending.missing(self.values[key], found.values)
        if not more:
            return
        if key in self.sources:
            self.sources[key] = amending.with_fields(self.sources[key], more)
        else:
            self.replaced[key] = amending.with_fields(self.replaced.get(key) or self.written[key].source, more)
        self.values[key] = {**self.values[key], **more}
        for sign in _signs(found.identity):
            if key not in self.index.setdefault(sign, []):
                self.index[sign].append(key)

    def text(self, preambles: Iterable[str]) -> str | None:
        """Return the text of the file; None if there was none and nothing is added."""
        text = amending.replaced(self.before, self.written, self.replaced)
        new = [one.strip() + "\n" for one in preambles if self.sources and one.strip() not in self.before]
        new += [_led(source, self.renamed) for source in self.sources.values()]
        if not new:
            return text or None
        head = f"{text.rstrip()}{self.end * 2}" if text.strip() else ""
        return head + self._ended("\n".join(new))

    def _ended(self, text: str) -> str:
        return text.replace("\r\n", "\n").replace("\n", self.end)


def _heading(found: Found) -> str:
    return found.reference.title if found.reference.has_title else ""


def _title(book: Bibliography, entry: Entry) -> str:
    reference, _ = book.reference(entry)
    return reference.title if reference else entry.key


def _signs(known: Identity) -> Iterable[tuple[str, str]]:
    if known.doi:
        yield "doi", known.doi
    if known.arxiv:
        yield "arxiv", without_version(known.arxiv)
    if known.title:
        yield "title", known.title


def _may_be_of(one: Identity, other: Identity) -> bool:
    """Tell whether nothing says that two entries of one title are of two papers."""
    return not (one.surname and other.surname) or one.surname == other.surname


def _says_the_same(values: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Tell whether another entry says all that an entry does."""
    return all(" ".join(value.split()) == " ".join(others.get(name, "").split()) for name, value in values.items())


def _led(source: str, renamed: Mapping[str, str]) -> str:
    """Return an entry that names its parents by their keys of today."""

    def lead(found: re.Match[str]) -> str:
        keys = [renamed.get(key.strip(), key.strip()) for key in found[2].split(",")]
        return f"{found[1]}{','.join(keys)}{found[3]}"

    names = "|".join(PARENTS)
    return re.sub(rf"(?im)((?:^|,)\s*(?:{names})\s*=\s*[{{\"])([^{{}}\"]*)([}}\"])", lead, source)


# Cards, and what can't be read


def _taken(library: Library) -> set[str]:
    return {*library.papers, *library.unsound, *library.former_slugs, "index"}


def _cards(additions: Iterable[Addition], library: Library, texts: Callable[[str], str | None]) -> Iterable[Change]:
    taken = _taken(library)
    parents = {key for one in additions for key in one.found.parents}
    cited = {key for paper in library.papers.values() for key in (paper.card.cite, paper.reference.key)}
    for one in additions:
        # What others are in, such as proceedings, is no paper. The bibliography itself may be what is named.
        if one.status not in (Status.ADDED, Status.THERE) or one.found.key in parents or one.key in cited:
            continue
        cited.add(one.key)
        one.slug = slug_of(Draft("", title=_heading(one.found), arxiv=one.found.identity.arxiv, short=""), taken)
        taken.add(one.slug)
        path = f"{library.settings.papers}/{one.slug}.yml"
        yield Change(path, texts(path), _card(one.key))


def _card(key: str) -> str:
    return edit.written({"cite": key, "implementation": None, "reading": {"state": "to-read"}})


def _kept(unread: Iterable[Unread], library: Library, texts: Callable[[str], str | None]) -> Iterable[Change]:
    """Keep what could not be understood in a file beside the bibliography."""
    path = f"{re.sub(r'[.]bib$', '', library.settings.bibliography)}.unread.txt"
    before = texts(path)
    new = [
        f"{one.place}: {one.problem}\n{one.text.rstrip()}\n\n"
        for one in unread
        if one.text.strip() and one.text.strip() not in (before or "")
    ]
    if new:
        yield Change(path, before, (before or "") + "".join(new))


def _said(additions: Iterable[Addition]) -> str:
    listed = list(additions)
    added = [one for one in listed if one.status == Status.ADDED]
    slugs = [one.slug for one in added if one.slug]
    cards = f", with a card `{slugs[0]}`" if len(slugs) == 1 else f", with {len(slugs)} cards" if slugs else ""
    if len(added) == 1:
        said = [f"added {added[0].key}{cards}"]
    else:
        said = [f"added {len(added)} entries{cards}"] if added or not listed else []
    for status, words in ((Status.MERGED, "merged"), (Status.SKIPPED, "skipped"), (Status.THERE, "there already")):
        some = [one for one in listed if one.status == status]
        if some:
            said.append(f"{words}: {some[0].key if len(some) == 1 else len(some)}")
    if slugs := [one.slug for one in listed if one.slug and one.status == Status.THERE]:
        said.append(f"made the card `{slugs[0]}`" if len(slugs) == 1 else f"made {len(slugs)} cards")
    return "; ".join(said) or "nothing was added"
