"""References out of a BibTeX file: what is written stays as it is, what is shown is Unicode."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cached_property

from bibtexparser.entrypoint import parse_string
from bibtexparser.middlewares.names import parse_single_name_into_parts, split_multiple_persons_names
from bibtexparser.model import (
    Block,
    DuplicateBlockKeyBlock,
    DuplicateFieldKeyBlock,
    Entry,
    ParsingFailedBlock,
)
from pylatexenc.latex2text import LatexNodes2Text

from quaere.errors import BibError, Place
from quaere.model import Name, Reference

# What bibtexparser logs comes back as faults with their places.
logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)

_LITERAL = {"doi", "url", "eprint", "isbn", "issn"}


class Bibliography:
    """The entries of one file. LaTeX and names, which are slow to read, are read of the entries in use only."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._library = parse_string(text)

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The entries by key, as bibtexparser has them."""
        return {entry.key: entry for entry in self._library.entries if entry.key}

    @cached_property
    def faults(self) -> tuple[BibError, ...]:
        """What is wrong with the file."""
        return tuple(error for block in self._library.blocks for error in self._faults(block))

    def place(self, key: str) -> Place:
        """Return the place of an entry."""
        return self._place(self.entries[key])

    def references(self, keys: Iterable[str]) -> tuple[dict[str, Reference], list[BibError]]:
        """Return the references with these keys, as far as they are there and in order, and what is wrong with them."""
        found: dict[str, Reference] = {}
        faults: list[BibError] = []
        for key in keys:
            if entry := self.entries.get(key):
                try:
                    found[key] = _reference(entry, self._place(entry))
                except BibError as error:
                    faults.append(error)
        return found, faults

    def _place(self, block: Block) -> Place:
        return Place(self._file, (block.start_line or 0) + 1)

    def _faults(self, block: Block) -> Iterable[BibError]:
        place = self._place(block)
        match block:
            case DuplicateBlockKeyBlock():
                first = (block.previous_block.start_line or 0) + 1
                hint = f"the first stands in line {first}: keep one of them"
                yield BibError(place, f"entry `{block.key}` stands here twice", hint)
            case DuplicateFieldKeyBlock():
                names = ", ".join(f"`{name}`" for name in sorted(block.duplicate_keys))
                entry = block.ignore_error_block
                key = entry.key if isinstance(entry, Entry) else "?"
                yield BibError(place, f"entry `{key}` has the field {names} twice", "keep one of them")
            case ParsingFailedBlock():
                reason = getattr(block.error, "abort_reason", str(block.error)).strip().rstrip(".")
                yield BibError(place, f"not BibTeX: {reason}", "look at the braces and commas of this entry")
            case Entry() if not block.key:
                yield BibError(place, "an entry without a key", "write `@article{key, …}`")


def _reference(entry: Entry, place: Place) -> Reference:
    raw: dict[str, str] = {}
    for field in entry.fields:
        value = str(field.value)
        if field.enclosing == "no-enclosing" and not value.isdecimal():
            where = Place(place.file, (field.start_line or 0) + 1)
            problem = f"entry `{entry.key}`: field `{field.key}` holds `{value}`, which no @string defines"
            raise BibError(where, problem, "put the value in braces")
        raw[field.key.lower()] = " ".join(value.split())
    shown = {name: value.replace("\\", "") if name in _LITERAL else _unicode(value) for name, value in raw.items()}
    people = {role: _names(entry, place, raw.get(role, "")) for role in ("author", "editor")}
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in raw.items())
    source = f"@{entry.entry_type}{{{entry.key},\n{lines}}}\n"
    return Reference(entry.key, entry.entry_type.lower(), shown, people["author"], people["editor"], source, place)


def _names(entry: Entry, place: Place, written: str) -> tuple[Name, ...]:
    names = []
    for person in split_multiple_persons_names(written) if written else ():
        try:
            parts = parse_single_name_into_parts(person)
        except ValueError as error:
            raise BibError(place, f"entry `{entry.key}`: the name `{person}` can't be read: {error}") from None
        family = _unicode(" ".join((*parts.von, *parts.last, *parts.jr)))
        names.append(Name(family, _unicode(" ".join(parts.first))))
    return tuple(names)


def _unicode(latex: str) -> str:
    """Return LaTeX text as Unicode; math stays as it is, for the site to render."""
    return str(LatexNodes2Text(math_mode="verbatim").latex_to_text(latex))
