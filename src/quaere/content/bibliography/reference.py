"""A reference: an entry of a bibliography, independent of the program that wrote it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from quaere.content.bibliography import identifiers
from quaere.content.bibliography.dates import Date, of_fields
from quaere.content.bibliography.tex import Run, Text
from quaere.errors import Place


@dataclass(frozen=True)
class Name:
    """A person, or with `is_literal` an organization, whose whole name is `family`.

    A dropping particle is left out before a family name alone, as in "Beethoven"; the other stays, as in "d’Alembert".
    """

    family: str
    given: str = ""
    suffix: str = ""
    dropping: str = ""
    non_dropping: str = ""
    is_literal: bool = False

    @property
    def surname(self) -> str:
        """The family name with its particles."""
        # d’Alembert, al-Hasan: a particle that ends so is written together with the name.
        is_attached = self.non_dropping.endswith(("'", "’", "ʼ", "-", "‐"))
        kept = self.non_dropping + self.family if is_attached else f"{self.non_dropping} {self.family}"
        return f"{self.dropping} {kept.strip()}".strip()

    def __str__(self) -> str:
        return " ".join(filter(None, (self.given, self.surname, self.suffix)))


OTHERS = Name("et al.", is_literal=True)
"""Stands at the end of a list that is not whole."""


def in_one_line(people: Sequence[Name]) -> str:
    """Return names as they stand on a card; empty if there are none."""
    return ", ".join(str(name) for name in people if name is not OTHERS) + " et al." * (OTHERS in people)


_TITLES = ("title", "maintitle", "booktitle")
_VENUES = (
    *("journaltitle", "journal", "booktitle", "eventtitle", "publisher", "institution", "school", "organization"),
    "howpublished",
)


@dataclass(frozen=True)
class Reference:
    """An entry of the bibliography, with what it inherits.

    `kind` is its type in lower case; `texts` are its fields by lower-case name; `names` the people by the field that
    names them, such as `author`; `issued` is when it appeared; `sources` hold the entry as written, with @strings
    resolved, by its key, and behind it those it inherits from.
    """

    key: str
    kind: str
    texts: Mapping[str, Text]
    names: Mapping[str, tuple[Name, ...]]
    issued: Date
    sources: Mapping[str, str]
    place: Place

    @classmethod
    def of_title(cls, title: str, place: Place) -> Reference:
        """Return what stands in the place of an entry where there is nothing but a title."""
        return cls("", "topic", {"title": Text.of(title)}, {}, of_fields({}), {}, place)

    @cached_property
    def digest(self) -> str:
        """A digest of all but its place, which changes with what stands above it."""
        return _digest(self.tell())

    def tell(self) -> str:
        """Write all but its place as text."""
        # Who is called "et al." is not what stands for the others.
        names = {
            role: [[] if name is OTHERS else [*vars(name).values()] for name in people]
            for role, people in self.names.items()
        }
        return json.dumps((self.key, self.kind, self.texts, names, [*vars(self.issued).values()], self.sources))

    @classmethod
    def read(cls, text: str, place: Place) -> Reference:
        """Return what was written by `tell`."""
        key, kind, texts, names, (parts, *issued), sources = json.loads(text)
        read = cls(
            key,
            kind,
            {
                name: Text(Run(words, tuple(marks), *rest) for words, marks, *rest in runs)
                for name, runs in texts.items()
            },
            {role: tuple(Name(*name) if name else OTHERS for name in people) for role, people in names.items()},
            Date(tuple(map(tuple, parts)), *issued),
            sources,
            place,
        )
        read.__dict__["digest"] = _digest(text)
        return read

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """The fields as Unicode text, by lower-case name."""
        return {name: text.plain for name, text in self.texts.items()}

    @property
    def authors(self) -> tuple[Name, ...]:
        """The authors."""
        return self.names.get("author", ())

    @property
    def editors(self) -> tuple[Name, ...]:
        """The editors."""
        return self.names.get("editor", ())

    @cached_property
    def people(self) -> tuple[Name, ...]:
        """The authors, or otherwise the editors, or an organization."""
        bodies = ("organization", "institution", "school", "publisher")
        body = next((self.fields[name] for name in bodies if self.fields.get(name)), "")
        return self.authors or self.editors or ((Name(body, is_literal=True),) if body else ())

    @cached_property
    def credits(self) -> str:
        """The names of `people` in one line; empty if there are none."""
        return in_one_line(self.people)

    @property
    def short_credits(self) -> str:
        """One or two of them by surname, more as the first of them "et al."."""
        names = [name.surname for name in self.people if name is not OTHERS]
        is_short = len(names) <= 2 and OTHERS not in self.people
        return " and ".join(names) if is_short else f"{names[0] if names else ''} et al.".strip()

    @cached_property
    def heading(self) -> Text:
        """The title with its subtitle, as it is shown; the key of an entry without one."""
        main = next((name for name in _TITLES if self.texts.get(name)), "")
        return joined(": ", self.texts.get(main), self.texts.get("subtitle")) or Text.of(self.key)

    @property
    def has_title(self) -> bool:
        """Tell whether the entry has a title of its own or of the work that contains it."""
        return any(self.texts.get(name) for name in _TITLES)

    @cached_property
    def title(self) -> str:
        """The title as Unicode text, or the key of an entry without one."""
        return self.heading.plain

    @property
    def year(self) -> int | None:
        """The year of publication, the first one of a span; before Christ it is negative."""
        return self.issued.year

    @cached_property
    def venue(self) -> str:
        """The venue: journal, proceedings or publisher."""
        shown = (self.fields.get(name, "") for name in _VENUES)
        # Who stands in for the authors is not said twice.
        return next((one for one in shown if one and not identifiers.url(one) and one != self.credits), "")

    @cached_property
    def doi(self) -> str | None:
        """The DOI, without a prefix."""
        fields = self.fields
        return identifiers.doi(fields.get("doi", "")) or identifiers.doi_of_address(fields.get("url", ""))

    @cached_property
    def arxiv(self) -> str | None:
        """The arXiv identifier, without a prefix."""
        return identifiers.arxiv(self.fields)

    @property
    def eprint_type(self) -> str:
        """The archive that its `eprint` is a name in, such as pubmed; empty if none is said."""
        return self.fields.get("eprinttype") or self.fields.get("archiveprefix") or ""

    @cached_property
    def url(self) -> str:
        """The address that the entry names; empty if there is none."""
        own = self.fields.get("url", "")
        if re.match(r"(?i)(https?|ftp)://[^\s/]", own):
            return own
        return next(filter(None, (identifiers.url(self.fields.get(name, "")) for name in ("howpublished", "note"))), "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def joined(between: str, *texts: Text | None) -> Text:
    """Join those texts that are there."""
    parts: list[Text] = []
    for text in texts:
        if text:
            # What ends in a question mark or the like needs no colon.
            gap = " " if parts and parts[-1].plain.endswith(("?", "!", ":", ".")) else between
            parts += [Text.of(gap), text] if parts else [text]
    return Text(run for part in parts for run in part)
