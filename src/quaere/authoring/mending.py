"""Mend what can be mended without a doubt: what was meant is certain, and nothing else of a file changes."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from quaere.authoring import edit
from quaere.authoring.changes import Change, Changes
from quaere.content import check, located_yaml
from quaere.content.bibliography import export
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.located_yaml import Path
from quaere.content.model import Library
from quaere.errors import AuthorError, BibError, CardError, Place, Severity

HTTPS = frozenset(
    """
    aclanthology.org arxiv.org www.arxiv.org doi.org dx.doi.org github.com openreview.net proceedings.neurips.cc
    www.youtube.com youtube.com en.wikipedia.org
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)
"""Hosts that show the same under https."""

_DATE = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[Tt ]+00:00(?::00(?:\.0+)?)?(?:Z|[+]00:00)?)?")
_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_HTTP = re.compile(r"http://([^/\s:?#]+)(?=[/?#\s]|$)", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)
_DOI = re.compile(
    r"^(?P<before>[ \t]*doi[ \t]*=[ \t]*[{\"][ \t]*)(?P<prefix>https?://(?:dx\.)?doi\.org/|doi:[ \t]*)(?=10\.\d{4})",
    re.IGNORECASE | re.MULTILINE,
)
_URL = re.compile(r"^(?P<before>[ \t]*url[ \t]*=[ \t]*[{\"][ \t]*)(?P<http>http://[^\s{}\"]+)", re.I | re.MULTILINE)
_LINK = re.compile(r"\[\[\s*([\w.-]+)")


@dataclass
class Mending:
    """What can be mended: `mended` are findings; those that the check does not make are in `found`, too."""

    changes: Changes = field(default_factory=lambda: Changes("nothing to mend"))
    mended: list[AuthorError] = field(default_factory=list)
    found: list[AuthorError] = field(default_factory=list)


def mend(library: Library, faults: Sequence[AuthorError], texts: Callable[[str], str | None]) -> Mending:
    """Return what can be mended of a library.

    Args:
        library: The knowledge base.
        faults: What is wrong with it.
        texts: Returns the text of a file by its path; None if there is none.
    """
    made, mending = list[Change](), Mending()
    by_file: dict[str, list[AuthorError]] = {}
    for fault in faults:
        by_file.setdefault(fault.place.file, []).append(fault)
    settings = library.settings
    cards = {paper.file for paper in library.papers.values()}
    cards |= {file for file in by_file if re.fullmatch(rf"{re.escape(settings.papers)}/[^/]+\.ya?ml", file)}
    docs = {file for file in by_file if file.startswith(f"{settings.docs}/") and file.endswith(".md")}
    for file in sorted({*cards, *docs, settings.bibliography}):
        if (before := texts(file)) is not None:
            work = _Work(library, file, before, by_file.get(file, ()))
            work.mend(is_card=file in cards, is_bibliography=file == settings.bibliography)
            if work.text != before:
                made.append(Change(file, before, work.text))
                mending.mended += work.mended
                mending.found += work.found
    count, files = len(mending.mended), len(made)
    if made:
        said = f"mended {count} finding{'s' * (count != 1)} in {files} file{'s' * (files != 1)}"
        mending.changes = Changes.of(said, made)
    return mending


class _Work:
    """One file as it is mended, and what of it was."""

    def __init__(self, library: Library, file: str, text: str, faults: Iterable[AuthorError]) -> None:
        self.library, self.file, self.text = library, file, text
        # From the end, so that places before stay true.
        self.faults = sorted(faults, key=lambda one: one.place, reverse=True)
        self.mended: list[AuthorError] = []
        self.found: list[AuthorError] = []

    def mend(self, *, is_card: bool, is_bibliography: bool) -> None:
        if is_card:
            self._lines()
        for fault in self.faults:
            if fault.rule in ("links-of-texts", "links-to-unknown-cards"):
                self._link(fault)
        if is_card:
            for fault in self.faults:
                self._part(fault)
            self._blanks()
        if is_bibliography:
            self._bibliography()

    def _mended(self, fault: AuthorError, text: str) -> None:
        self.text = text
        self.mended.append(fault)

    def _remark(self, place: Place, problem: str, kind: type[AuthorError], rule: str) -> None:
        one = kind(place, problem, severity=Severity.REMARK, rule=rule)
        self.found.append(one)
        self.mended.append(one)

    def _lines(self) -> None:
        """Take off a byte-order mark, and end lines as all others do."""
        for fault in self.faults:
            if fault.rule == "bom":
                self._mended(fault, self.text.removeprefix("\ufeff"))
            elif fault.rule == "line-ends":
                self._mended(fault, re.sub("\r\n?", "\n", self.text))

    def _link(self, fault: AuthorError) -> None:
        """Lead a [[link]] by a former name to today's."""
        lines = self.text.split("\n")
        line, column = fault.place.line - 1, fault.place.column - 1
        found = _LINK.match(lines[line], column) if line < len(lines) else None
        if found and (today := self._today(found[1])):
            lines[line] = lines[line][: found.start(1)] + today + lines[line][found.end(1) :]
            self._mended(fault, "\n".join(lines))

    def _today(self, name: str) -> str:
        """Return what is called otherwise today; empty if nothing is, or if the name has a meaning of its own."""
        today = self.library.today(name)
        return today if today != name and self.library.has(today) and not self.library.has(name) else ""

    def _part(self, fault: AuthorError) -> None:
        """Mend a part of a card that a finding is about."""
        path: Path = tuple(int(index) if index else name for name, index in _PART.findall(fault.place.at))
        try:
            document = located_yaml.read(self.text.encode(), self.file)
            value, written = document.value_at(path), document.written.get(path)
            text = self._changed(fault.rule, path, value, written)
        except (CardError, LookupError, TypeError):
            return
        if text is not None:
            self._mended(fault, text)

    def _changed(self, rule: str, path: Path, value: Any, written: str | None) -> str | None:
        match rule:
            case "expected-text" if written and value is not None:
                return edit.put(self.text, path, written, self.file)
            case "expected-date" if isinstance(value, str) and (day := _day(value)):
                return edit.put(self.text, path, day, self.file)
            case check.DUPLICATE_TAG | check.OWN_NAME | check.TWICE_IN_CARD:
                return edit.remove(self.text, path, self.file)
            case "lineage" | "departures" if isinstance(value, str) and (today := self._today(value)):
                return edit.put(self.text, path, today, self.file)
            case "http" if isinstance(value, str) and (secure := _secure(value)):
                return edit.put(self.text, path, secure, self.file)
        return None

    def _blanks(self) -> None:
        """Take off blanks at the ends of lines that are part of no text."""
        if not _BLANKS.search(self.text):
            return
        try:
            before = located_yaml.read(self.text.encode(), self.file)
            inside = set(_inside(yaml.compose(self.text, Loader=yaml.CSafeLoader)))
            lines = self.text.split("\n")
            bare = [line if number in inside else line.rstrip(" \t") for number, line in enumerate(lines)]
            if located_yaml.read("\n".join(bare).encode(), self.file).value != before.value:
                return
        except (CardError, yaml.YAMLError):
            return
        for number, (line, short) in enumerate(zip(lines, bare, strict=True), 1):
            if line != short:
                place = Place(self.file, number, len(short) + 1)
                self._remark(place, "blanks at the end of the line", CardError, "trailing-blanks")
        self.text = "\n".join(bare)

    def _bibliography(self) -> None:
        """Write a DOI as such, and addresses that are known to work so with https."""
        places = list[tuple[int, str, str]]()

        def doi(found: re.Match[str]) -> str:
            places.append((found.start("prefix"), f"the DOI is written with `{found['prefix'].strip()}`", "doi-prefix"))
            return found["before"]

        def url(found: re.Match[str]) -> str:
            if not (secure := _secure(found["http"])):
                return found[0]
            places.append((found.start("http"), f"`{found['http']}` goes over http", "http"))
            return found["before"] + secure

        # The lengths of lines change, their number does not.
        text = _DOI.sub(doi, self.text)
        starts = [(self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)) for at, _, _ in places]
        first = len(places)
        text, former = _URL.sub(url, text), text
        starts += [(former.count("\n", 0, at) + 1, at - former.rfind("\n", 0, at)) for at, _, _ in places[first:]]
        if places and _say_the_same(Bibliography(self.text, self.file), Bibliography(text, self.file)):
            for (_, problem, rule), (line, column) in zip(places, starts, strict=True):
                self._remark(Place(self.file, line, column), problem, BibError, rule)
            self.text = text


def _say_the_same(one: Bibliography, other: Bibliography) -> bool:
    """Tell whether the entries of two bibliographies say the same, whether over http or https."""
    if one.entries.keys() != other.entries.keys():
        return False
    changed = [key for key, entry in one.entries.items() if entry.raw != other.entries[key].raw]
    said = [
        [
            export.csl_json([reference]).replace("http://", "https://")
            for reference in book.references(changed)[0].values()
        ]
        for book in (one, other)
    ]
    return said[0] == said[1]


def _day(written: str) -> datetime.date | None:
    if found := _DATE.fullmatch(written.strip()):
        try:
            return datetime.date(int(found[1]), int(found[3]), int(found[4]))
        except ValueError:
            pass
    return None


def _secure(address: str) -> str:
    """Return an address with https, if its host is known to show the same there; empty otherwise."""
    found = _HTTP.match(address)
    return f"https{address[4:]}" if found and found[1].lower() in HTTPS else ""


def _inside(node: Any) -> Iterator[int]:
    """Yield the numbers, from 0, of the lines whose ends are inside of a text."""
    if isinstance(node, yaml.ScalarNode):
        first = node.start_mark.line + (node.style in ("|", ">"))
        yield from range(first, node.end_mark.line)
    elif node is not None:
        for part in node.value:
            for one in part if isinstance(part, tuple) else (part,):
                yield from _inside(one)
