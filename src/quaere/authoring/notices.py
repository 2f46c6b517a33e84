"""What has become of the papers of a library: new versions, publications, corrections, retractions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from quaere.authoring import edit
from quaere.authoring.changes import Change, Changes
from quaere.authoring.sources.found import Identity, identity, shown, without_version
from quaere.authoring.sources.services import Record, Services
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.model import Library

_KINDS = {
    "retraction": "retracted",
    "partial-retraction": "retracted in part",
    "removal": "withdrawn",
    "withdrawal": "withdrawn",
    "correction": "corrected",
    "corrigendum": "corrected",
    "erratum": "corrected",
    "expression-of-concern": "of concern",
    "new-version": "new version",
    "new-edition": "new edition",
    "publication": "published",
}
_STATES = ("retracted", "withdrawn")


@dataclass(frozen=True)
class Notice:
    """What has become of a paper: `retracted`, `withdrawn`, `new version`, `published`, `corrected` …"""

    key: str
    title: str
    kind: str
    note: str = ""
    slug: str = ""


@dataclass(frozen=True)
class Asked:
    """What was found of the entries that were asked about, and how many there were, with an identifier and in all."""

    notices: tuple[Notice, ...]
    asked: int
    count: int


def ask(
    library: Library,
    text: str,
    services: Services,
    keys: Collection[str] = (),
    tell: Callable[[int, int], None] = lambda _, __: None,
) -> Asked:
    """Ask arXiv, Crossref and DataCite what has become of entries, those that a card cites first.

    Args:
        library: The knowledge base.
        text: Its bibliography.
        services: Who is asked.
        keys: The keys of the entries; all if there are none.
        tell: Is told how many have been asked about, and of how many.

    Raises:
        ServiceError: One of them can't be asked.
    """
    book = Bibliography(text, library.settings.bibliography)
    cited = {paper.reference.key: slug for slug, paper in library.papers.items()}
    chosen = [key for key in book.entries if not keys or key in keys]
    values = {key: book.values(book.entries[key]) for key in chosen}
    known = {key: identity(one) for key, one in values.items()}
    on_arxiv: dict[str, list[str]] = {}
    by_doi: dict[str, list[str]] = {}
    for key in sorted(chosen, key=lambda key: key not in cited):
        if known[key].arxiv:
            on_arxiv.setdefault(without_version(known[key].arxiv), []).append(key)
        if known[key].doi:
            by_doi.setdefault(known[key].doi, []).append(key)
    found: dict[str, list[Notice]] = {}
    total, done = len(on_arxiv) + len(by_doi), 0
    for index, question in ((on_arxiv, services.on_arxiv), (by_doi, services.by_doi)):
        for id, record in question(list(index)) if index else ():
            done += 1
            tell(done, total)
            for key in index[id] if record else ():
                assert record
                title = shown(values[key].get("title", key))
                new = _notices(record, values[key], known[key], is_arxiv=index is on_arxiv)
                found.setdefault(key, []).extend(
                    Notice(key, title, kind, note, cited.get(key, "")) for kind, note in new
                )
    notices = [one for key in chosen for one in dict.fromkeys(found.get(key, ()))]
    return Asked(tuple(notices), sum(bool(one.arxiv or one.doi) for one in known.values()), len(chosen))


def _notices(record: Record, values: Mapping[str, str], known: Identity, *, is_arxiv: bool) -> list[tuple[str, str]]:
    new = [(_KINDS.get(kind, kind.replace("-", " ")), note) for kind, note in record.updates]
    if not is_arxiv:
        return new
    newest, here = _version(record.arxiv), _version(known.arxiv) or _number(values.get("version", ""))
    if here and newest > here:
        new.append(("new version", f"v{newest} of {record.updated}, here v{here}"))
    if record.doi and not known.doi:
        new.append(("published", record.doi))
    return new


def _version(arxiv: str) -> int:
    found = re.search(r"v(\d+)$", arxiv)
    return int(found[1]) if found else 0


def _number(written: str) -> int:
    found = re.fullmatch(r"\s*v?(\d{1,4})\s*", written)
    return int(found[1]) if found else 0


def mark(library: Library, notices: Collection[Notice], texts: Callable[[str], str | None]) -> Changes:
    """Write on their cards which papers were retracted or withdrawn; a status that is there stays."""
    changes: dict[str, Change] = {}
    for one in notices:
        paper = library.papers.get(one.slug)
        if one.kind not in _STATES or not paper or paper.card.status or one.slug in changes:
            continue
        before = texts(paper.file) or ""
        status = {"state": one.kind, **({"note": one.note} if one.note else {})}
        changes[one.slug] = Change(paper.file, before, edit.put(before, ("status",), status, paper.file))
    slugs = ", ".join(changes)
    return Changes.of(f"marked {slugs}" if slugs else "no card to be marked", changes.values())
