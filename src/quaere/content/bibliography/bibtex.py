"""References out of a BibTeX file: what is written stays as it is, what is shown is Unicode."""

from __future__ import annotations

import calendar
import logging
import re
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
    String,
)
from pylatexenc.latex2text import LatexNodes2Text

from quaere.content.model import Name, Reference
from quaere.errors import BibError, Place

# What bibtexparser logs comes back as faults with their places.
logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)

_DECODER = LatexNodes2Text(math_mode="verbatim")
_MARKUP = set("\\{}$~%&#_^`'-")
_LITERAL = {"doi", "url", "eprint", "isbn", "issn"}
_KEY = re.compile(r"@\w+\s*[{(]\s*([^\s,={}]+)")
# BibTeX's own styles define these, so that no file has to.
_MONTHS = {name[:3].lower(): name for name in calendar.month_name[1:]}


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

    def has(self, key: str) -> bool:
        """Tell whether there is an entry with this key, even one that can't be read."""
        return key in self.entries or any(key == _key(block) for block in self._library.failed_blocks)

    def place(self, key: str) -> Place:
        """Return the place of an entry."""
        return self._place(self.entries[key])

    def references(self, keys: Iterable[str]) -> tuple[dict[str, Reference], list[BibError]]:
        """Return the references with these keys, as far as they are there and in order, and what is wrong with them."""
        found: dict[str, Reference] = {}
        faults: list[BibError] = []
        for key in keys:
            if entry := self.entries.get(key):
                if wrong := list(_faults_of_values(entry, self._file)):
                    faults += wrong
                    continue
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
                kind = "@string" if isinstance(block.ignore_error_block, String) else "entry"
                yield BibError(place, f"{kind} `{block.key}` stands here twice", hint)
            case DuplicateFieldKeyBlock():
                yield from self._fields_twice(block.ignore_error_block)
            case ParsingFailedBlock():
                reason = getattr(block.error, "abort_reason", str(block.error)).strip().rstrip(".")
                problem = f"not BibTeX: {reason[:1].lower()}{reason[1:]}"
                yield BibError(place, problem, "look at the braces and commas of this entry")
            case Entry() if not block.key:
                yield BibError(place, "an entry without a key", "write `@article{key, …}`")
            case Entry():
                yield from self._fields_twice(block)

    def _fields_twice(self, entry: Block | None) -> Iterable[BibError]:
        """Yield a fault for each field that an entry repeats; to BibTeX, `Title` and `title` are one."""
        assert isinstance(entry, Entry)
        first: dict[str, int] = {}
        for field in entry.fields:
            line = (field.start_line or 0) + 1
            if (name := field.key.lower()) in first:
                hint = f"the first stands in line {first[name]}: keep one of them"
                yield BibError(Place(self._file, line), f"entry `{entry.key}` has the field `{name}` twice", hint)
            first.setdefault(name, line)


def _key(block: Block) -> str:
    found = _KEY.match(block.raw or "")
    return found[1] if found else ""


def _faults_of_values(entry: Entry, file: str) -> Iterable[BibError]:
    """Yield a fault for each value that is neither a text, nor a number, nor a name that stands for a text."""
    for field in entry.fields:
        value = str(field.value)
        if field.enclosing != "no-enclosing" or value.isdecimal() or value.lower() in _MONTHS:
            continue
        place, name = Place(file, (field.start_line or 0) + 1), f"entry `{entry.key}`: field `{field.key}`"
        if re.fullmatch(r"[^\s{}\"#=]+", value):
            yield BibError(place, f"{name} holds `{value}`, which no @string defines", "put the value in braces")
        else:
            hint = "look for a missing comma; write out what `#` joins"
            yield BibError(place, f"{name} is more than one text in braces or quotes", hint)


def _reference(entry: Entry, place: Place) -> Reference:
    raw: dict[str, str] = {}
    for field in entry.fields:
        value = str(field.value)
        if field.enclosing == "no-enclosing":
            value = _MONTHS.get(value.lower(), value)
        raw[field.key.lower()] = " ".join(value.split())
    shown: dict[str, str] = {}
    for name, value in raw.items():
        try:
            shown[name] = value.replace("\\", "") if name in _LITERAL else _unicode(value)
        except Exception as error:
            # The decoder meets half of a command with whatever error that leads to.
            problem = f"entry `{entry.key}`: the TeX of `{name}` can't be read"
            raise BibError(place, problem, "look at the commands and their braces") from error
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
            reason = str(error).rpartition(": ")[2].lower()
            problem = f"entry `{entry.key}`: the name `{person}` can't be read: {reason}"
            raise BibError(place, problem, "write `Family, Given`, and put `and` between two people") from None
        family = _unicode(" ".join((*parts.von, *parts.last, *parts.jr)))
        names.append(Name(family, _unicode(" ".join(parts.first))))
    return tuple(names)


def _unicode(latex: str) -> str:
    """Return LaTeX text as Unicode; math stays as it is, for the site to render."""
    # To LaTeX a bare % starts a comment; in a title it is a per cent that somebody forgot to escape.
    latex = re.sub(r"(?<!\\)%", r"\\%", latex)
    return str(_DECODER.latex_to_text(latex)) if set(latex) & _MARKUP else latex
