"""A bibliography in BibTeX or BibLaTeX: what is written stays as it is, what is shown is Unicode."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from bibtexparser.model import (
    Block,
    DuplicateBlockKeyBlock,
    DuplicateFieldKeyBlock,
    Entry,
    Field,
    ParsingFailedBlock,
    String,
)
from bibtexparser.splitter import Splitter

from quaere.content.bibliography import dates, identifiers, names, tex
from quaere.content.bibliography.inheritance import added, inherited
from quaere.content.bibliography.reference import Name, Reference
from quaere.content.bibliography.tex import Text
from quaere.errors import BibError, Place, nearest

# What bibtexparser logs comes back as faults with their places.
logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)

PEOPLE = (
    *("author", "editor", "translator", "bookauthor", "editora", "editorb", "editorc", "holder", "annotator"),
    *("commentator", "introduction", "foreword", "afterword", "namea", "nameb", "namec", "shortauthor", "shorteditor"),
)
"""The fields that name people."""

_VERBATIM = {"doi", "url", "eprint", "isbn", "issn", "ismn", "isrn", "isan", "iswc", "pmid", "pmcid", "pdf", "urlraw"}
_UNREAD = {
    "file",
    "crossref",
    "xref",
    "xdata",
    "ids",
    "entryset",
    "related",
    "options",
    "execute",
    "langid",
}
_LISTS = {"publisher", "location", "institution", "organization", "origpublisher", "origlocation"}
_KEY = re.compile(r"@\w+\s*[{(]\s*([^\s,={}]+)")
_LONGEST_CHAIN = 20


class Bibliography:
    """The entries of one file. Only those in use are read as TeX, which takes its time."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        # To bibtexparser all that begins like @comment is a comment.
        self._library = Splitter(re.sub(r"(?i)@(?=commentary\s*[{(])", "@_", text)).split()
        for entry in self._library.entries:
            entry.entry_type = entry.entry_type.removeprefix("_")

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The entries by key, as bibtexparser has them, without the braces or quotes taken off."""
        return {entry.key: entry for entry in self._library.entries if entry.key}

    @cached_property
    def faults(self) -> tuple[BibError, ...]:
        """What is wrong with the file, whatever is used of it: what is wrong in an entry counts where it is used."""
        return tuple(error for block in self._library.blocks for error in self._faults(block)) + tuple(self._strings[1])

    def has(self, key: str) -> bool:
        """Tell whether there is an entry with this key, even one that can't be read."""
        return self._named(key) is not None or key in self._failed

    def place(self, key: str) -> Place:
        """Return the place of an entry."""
        return self._place(self.entries[key])

    def references(self, keys: Iterable[str]) -> tuple[dict[str, Reference], list[BibError]]:
        """Return the references with these keys, as far as they are there and in order, and what is wrong with them."""
        found: dict[str, Reference] = {}
        faults: dict[str, BibError] = {}
        for key in keys:
            if entry := self._named(key):
                read = _Read(self, entry)
                reference = read.reference()
                if reference:
                    found[key] = reference
                faults |= {str(fault): fault for fault in read.faults}
        return found, list(faults.values())

    @cached_property
    def commands(self) -> Mapping[str, tex.Command]:
        """The commands that the preambles define."""
        return tex.commands("\n".join(str(block.value) for block in self._library.preambles))

    def value(self, field: Field) -> str:
        """Return the value of a field, put together of its parts.

        Raises:
            BibError: It holds what is neither text, nor number, nor the name of a @string.
        """
        return _value(str(field.value), self._strings[0], self._place(field), f"field `{field.key}`")

    def faults_of(self, entry: Entry) -> Iterator[BibError]:
        """Yield a fault for each field that an entry repeats; to BibTeX, `Title` and `title` are one."""
        first: dict[str, int] = {}
        for field in entry.fields:
            line = (field.start_line or 0) + 1
            if (name := field.key.lower()) in first:
                hint = f"the first stands in line {first[name]}: keep one of them"
                yield BibError(Place(self._file, line), f"entry `{entry.key}` has the field `{name}` twice", hint)
            first.setdefault(name, line)

    def _named(self, key: str) -> Entry | None:
        """Return the entry of a key, or of one of the other keys that it has."""
        return self.entries.get(key) or self._repeated.get(key) or self._aliases.get(key)

    @cached_property
    def _aliases(self) -> Mapping[str, Entry]:
        found: dict[str, Entry] = {}
        for entry in self.entries.values():
            for field in entry.fields:
                if field.key.lower() == "ids":
                    found |= {name.strip(): entry for name in str(field.value).strip('{}"').split(",")}
        return found

    @cached_property
    def _repeated(self) -> Mapping[str, Entry]:
        """The entries that name a field twice; bibtexparser keeps them apart."""
        blocks = (one for one in self._library.failed_blocks if isinstance(one, DuplicateFieldKeyBlock))
        entries = (block.ignore_error_block for block in blocks)
        return {entry.key: entry for entry in entries if isinstance(entry, Entry)}

    @cached_property
    def _failed(self) -> frozenset[str]:
        found = (_KEY.match(block.raw or "") for block in self._library.failed_blocks)
        return frozenset(match[1] for match in found if match)

    @cached_property
    def _strings(self) -> tuple[Mapping[str, str], list[BibError]]:
        """What the names of @strings stand for, whatever their order; and what is wrong with them."""
        found: dict[str, str] = {}
        waiting = [block for block in self._library.blocks if isinstance(block, String)]
        while waiting:
            faults: dict[String, BibError] = {}
            for block in waiting:
                place, where = self._place(block), f"@string `{block.key}`"
                try:
                    found[block.key.lower()] = _value(str(block.value), found, place, where)
                except BibError as error:
                    faults[block] = error
            if len(faults) == len(waiting):
                return found, list(faults.values())
            waiting = list(faults)
        return found, []

    def _place(self, block: Block | Field) -> Place:
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
                return
            case ParsingFailedBlock():
                reason = getattr(block.error, "abort_reason", str(block.error)).strip().rstrip(".")
                problem = f"not BibTeX: {reason[:1].lower()}{reason[1:]}"
                yield BibError(place, problem, "look at the braces and commas of this entry")
            case Entry() if not block.key:
                yield BibError(place, "an entry without a key", "write `@article{key, …}`")


_PART = re.compile(r'\s*(?:(?P<name>[^\s{}"#,=]+)|(?P<braced>\{)|(?P<quoted>"))')


def _value(written: str, strings: Mapping[str, str], place: Place, where: str) -> str:
    """Return the text of a value: parts in braces or quotes, numbers and names of @strings, joined by #."""
    parts: list[str] = []
    at = 0
    while True:
        found = _PART.match(written, at)
        if not found:
            raise BibError(place, f"{where} has no value", "write `{…}` behind the `=`")
        if name := found["name"]:
            parts.append(_named(name, strings, place, where))
            at = found.end()
        else:
            end = _end(written, found.end(), '"' if found["quoted"] else "}")
            if end < 0:
                raise BibError(place, f"{where}: a brace or a quote is not closed", "close it")
            parts.append(written[found.end() : end])
            at = end + 1
        rest = written[at:].lstrip()
        if not rest:
            # Of the spaces only those count that part paragraphs.
            paragraphs = re.split(r"\n[ \t\r]*\n\s*", "".join(parts).strip())
            return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        if not rest.startswith("#"):
            hint = "look for a missing comma; join texts by `#`"
            raise BibError(place, f"{where} is more than one text in braces or quotes", hint)
        at = len(written) - len(rest) + 1


def _named(name: str, strings: Mapping[str, str], place: Place, where: str) -> str:
    if name.lower() in strings:
        return strings[name.lower()]
    if name.isdecimal():
        return name
    if name.lower() in dates.MONTHS:
        return dates.NAMES[dates.MONTHS[name.lower()]]
    near = nearest(name.lower(), strings)
    hint = "; ".join(filter(None, ["put the value in braces", near if near.endswith("?") else ""]))
    raise BibError(place, f"{where} holds `{name}`, which no @string defines", hint)


def _end(text: str, at: int, closing: str) -> int:
    """Return where a part ends, counting the braces in it; -1 if it does not."""
    depth = 0
    for match in re.compile(r'\\.|[{}"]', re.DOTALL).finditer(text, at):
        if match[0] == "{":
            depth += 1
        elif match[0] == closing and depth == 0:
            return match.start()
        elif match[0] == "}":
            depth -= 1
    return -1


class _Read:
    """Reads one entry, with what it inherits; `faults` say what is wrong with it."""

    def __init__(self, book: Bibliography, entry: Entry) -> None:
        self.book, self.entry = book, entry
        self.faults: list[BibError] = []
        self.sources: dict[str, str] = {}
        self.is_biblatex = False

    def reference(self) -> Reference | None:
        """Return the reference, unless what it holds can't be read."""
        kind = self.entry.entry_type.lower()
        written = self._written(self.entry, ())
        if self.faults:
            return None
        place = self.book._place(self.entry)
        # To BibTeX, Taylor and Francis are one publisher.
        self.is_biblatex = "date" in written or "journaltitle" in written
        texts: dict[str, Text] = {}
        for name, value in written.items():
            try:
                texts[name] = self._text(name, value)
            except tex.TexError as error:
                hint = "look at the commands and their braces"
                self._wrong(name, f"the TeX of `{name}` can't be read: {error}", hint)
        if self.faults:
            return None
        people = {role: self._names(role, written) for role in PEOPLE if written.get(role)}
        issued = dates.Date()
        try:
            issued = dates.of_fields({name: text.plain for name, text in texts.items() if name in _DATED})
        except dates.DateError as error:
            name = "date" if written.get("date") else "year"
            self._wrong(name, str(error), "write 2020, 2020-05-06, a span as 1999/2000, or words such as `in press`")
        if self.faults:
            return None
        return Reference(self.entry.key, kind, texts, people, issued, self.sources, place)

    def _wrong(self, field: str, problem: str, hint: str) -> None:
        found = next((one for one in self.entry.fields if one.key.lower() == field), None)
        place = self.book._place(found or self.entry)
        self.faults.append(BibError(place, f"entry `{self.entry.key}`: {problem}", hint))

    def _text(self, name: str, value: str) -> Text:
        if name in _VERBATIM:
            return Text.of(_put_right(name, value))
        # A date's ~ means about, not a tie between words.
        is_plain = name in _UNREAD or (name.endswith("date") and re.fullmatch(r"[\dXTyYZ:./?~%+-]+", value))
        if is_plain:
            return Text.of(value)
        if name in _LISTS and self.is_biblatex:
            value = "; ".join(names.split(value, names.AND))
        return tex.read(value, self.book.commands)

    def _names(self, role: str, written: Mapping[str, str]) -> tuple[Name, ...]:
        keeps = re.search(r"useprefix\s*=\s*true", written.get("options", "")) is not None

        def shown(latex: str) -> str:
            return tex.read(latex, self.book.commands).plain

        try:
            return names.read(
                written[role], lambda latex: tex.read(latex, self.book.commands).plain, keeps_prefix=keeps
            )
        except (names.NameFormError, tex.TexError) as error:
            self._wrong(role, str(error), "write `Family, Given`, and put `and` between two people")
            return ()

    def _written(self, entry: Entry, chain: tuple[str, ...]) -> dict[str, str]:
        """Return the fields of an entry as TeX, with what it inherits, and keep its source."""
        fields: dict[str, str] = {}
        shown = []
        self.faults += self.book.faults_of(entry)
        for field in entry.fields:
            try:
                value = self.book.value(field)
            except BibError as error:
                self.faults.append(BibError(error.place, f"entry `{entry.key}`: {error.problem}", error.hint))
                continue
            fields[field.key.lower()] = value
            # A month's name is written for every style to translate.
            is_month = str(field.value).strip().lower() in dates.MONTHS
            text = str(field.value).strip().lower() if is_month and field.key.lower() == "month" else f"{{{value}}}"
            shown.append(f"  {field.key.lower()} = {text},\n")
        self.sources.setdefault(entry.key, f"@{entry.entry_type}{{{entry.key},\n{''.join(shown)}}}\n")
        own = dict(fields)
        for name in _parents(own, "xdata"):
            if parent := self._parent(entry, "xdata", name, chain):
                fields = added(fields, {key: value for key, value in parent.items() if key not in ("ids", "xdata")})
        for name in (*_parents(own, "crossref"), *_parents(own, "entryset")[:1]):
            if parent := self._parent(entry, "crossref", name, chain):
                other = self.book._named(name)
                assert other
                fields = inherited(entry.entry_type.lower(), fields, other.entry_type.lower(), parent)
        return fields

    def _parent(self, entry: Entry, field: str, name: str, chain: tuple[str, ...]) -> dict[str, str] | None:
        """Return the fields of an entry that another inherits from; None, and a fault, if that can't be."""
        found = next(one for one in entry.fields if one.key.lower() in (field, "entryset"))
        place = self.book._place(found)
        other = self.book._named(name)
        if not other:
            hint = nearest(name, self.book.entries)
            self.faults.append(BibError(place, f"entry `{entry.key}` inherits from `{name}`, which is not there", hint))
            return None
        if other.key in (*chain, entry.key) or len(chain) > _LONGEST_CHAIN:
            problem = f"entry `{entry.key}` inherits from itself, by way of `{name}`"
            self.faults.append(BibError(place, problem, f"remove its `{field}`"))
            return None
        return self._written(other, (*chain, entry.key))


_DATED = {"date", "year", "month", "day"}


def _parents(fields: Mapping[str, str], name: str) -> list[str]:
    return [key.strip() for key in fields.get(name, "").split(",") if key.strip()]


def _put_right(name: str, written: str) -> str:
    if name == "doi":
        return identifiers.doi(tex.literal(written)) or tex.literal(written)
    if name == "url":
        # Of several the first.
        first = re.split(r"[\s;,]+(?=https?://)", tex.literal(written, keeps_spaces=True))[0]
        return identifiers.url(first.replace(" ", "")) or first.strip()
    if name == "eprint":
        return identifiers.without_prefix(tex.literal(written))
    return tex.literal(written, keeps_spaces=name in ("isbn", "issn"))
