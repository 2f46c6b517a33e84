"""Read a bibliography in BibTeX or BibLaTeX: the source is kept as it is, texts are converted to Unicode."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from bibtexparser.model import (
    Block,
    DuplicateBlockKeyBlock,
    DuplicateFieldKeyBlock,
    Entry,
    Field,
    ParsingFailedBlock,
    Preamble,
    String,
)
from bibtexparser.splitter import Splitter

from quaere import stamp
from quaere.cache import Cache
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
_VERBATIM |= {"arxivid"}
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
# Where a patent holds, in BibLaTeX's words.
COUNTRIES = {
    "countryde": "Germany",
    "countryeu": "European Union",
    "countryep": "European Union",
    "countryfr": "France",
    "countryuk": "United Kingdom",
    "countryus": "United States of America",
}
_INHERITING = re.compile("(?i)crossref|xdata|entryset")
_LISTS = {"publisher", "location", "institution", "organization", "origpublisher", "origlocation"}
_KEY = re.compile(r"@\w+\s*[{(]\s*([^\s,={}]+)")
_LONGEST_CHAIN = 20
# To bibtexparser all that begins like @comment is a comment.
_COMMENTARY = re.compile(r"(?i)@(?=commentary\s*[{(])")
# It takes no brace that stands in a line of its own.
_BRACE_BELOW = re.compile(r"(?m)^([ \t]*@\w+)([ \t]*\r?\n\s*)([{(])(?=\s*[^\s,(){}=\"]+\s*[,=])")
_COMMENT = re.compile(r"(?:\s|%[^\n]*)*")


class Written(NamedTuple):
    """A part of a file as it is written: an entry, a preamble, or what can't be read, with the reason."""

    source: str
    place: Place
    entry: Entry | None = None
    problem: str = ""


class Bibliography:
    """The entries of one file. Only those in use are converted from TeX, which is slow."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._read: dict[str, tuple[Reference | None, list[BibError]]] = {}
        self._library = Splitter(_BRACE_BELOW.sub(r"\1\3\2", _COMMENTARY.sub("@_", text))).split()
        for entry in self._library.entries:
            entry.entry_type = entry.entry_type.removeprefix("_")

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The entries by key, as bibtexparser has them, without the braces or quotes taken off."""
        return {entry.key: entry for entry in self._library.entries if entry.key}

    @cached_property
    def faults(self) -> tuple[BibError, ...]:
        """The errors of the file itself; errors in an entry are reported where the entry is used."""
        return tuple(error for block in self._library.blocks for error in self._faults(block)) + tuple(self._strings[1])

    @cached_property
    def keys(self) -> frozenset[str]:
        """All keys of the file, also those of entries that can't be read, and other keys that entries have."""
        return frozenset({*self.entries, *self._repeated, *self._aliases, *self._failed})

    def has(self, key: str) -> bool:
        """Tell whether there is an entry with this key, even if it can't be read."""
        return self._named(key) is not None or key in self._failed

    def place(self, key: str) -> Place:
        """Return the place of an entry."""
        return self._place(self.entries[key])

    def references(
        self, keys: Iterable[str], cache: Cache | None = None
    ) -> tuple[dict[str, Reference], list[BibError]]:
        """Return the references with these keys, as far as they exist and can be read, and their errors.

        Args:
            keys: The keys of entries.
            cache: What keeps sound references as they were read.
        """
        found: dict[str, Reference] = {}
        faults: dict[str, BibError] = {}
        for key in keys:
            if entry := self._named(key):
                if entry.key not in self._read:
                    self._read[entry.key] = self._kept(entry, cache) if cache else self.reference(entry)
                reference, wrong = self._read[entry.key]
                if reference:
                    found[key] = reference
                faults |= {str(fault): fault for fault in wrong}
        return found, list(faults.values())

    def _kept(self, entry: Entry, cache: Cache) -> tuple[Reference | None, list[BibError]]:
        """Return what is kept of the reference of an entry, or read it and keep it if it is sound."""
        if _INHERITING.search(entry.raw or ""):
            return self.reference(entry)
        source = f"{self._meanings}{entry.raw}".encode(errors="surrogatepass")
        if told := cache.find(source):
            with contextlib.suppress(ValueError, TypeError):
                return Reference.read(told, self._place(entry)), []
        reference, faults = self.reference(entry)
        if reference and not faults and cache.keeps:
            cache.keep([(source, reference.tell())])
        return reference, faults

    @cached_property
    def _meanings(self) -> str:
        """What the reference of an entry depends on besides the entry: the code, @strings and preambles."""
        blocks = (block.raw for block in self._library.blocks if isinstance(block, String | Preamble))
        return f"reference {stamp.code()} {json.dumps([*blocks])} "

    def reference(self, entry: Entry) -> tuple[Reference | None, list[BibError]]:
        """Return the reference of an entry, or None if it can't be read, and its errors."""
        read = _Read(self, entry)
        return read.reference(), read.faults

    def written(self) -> Iterator[Written]:
        """Yield the entries in their order, also those that repeat a key; preambles; and what can't be read."""
        for block in self._library.blocks:
            source = re.sub(r"^@_(?=(?i:commentary))", "@", block.raw or "")
            within = getattr(block, "ignore_error_block", None)
            if isinstance(block, Entry):
                yield Written(source, self._place(block), block)
            elif isinstance(block, Preamble):
                yield Written(source, self._place(block))
            elif isinstance(within, Entry):
                yield Written(source, self._place(block), within)
            elif isinstance(block, ParsingFailedBlock):
                yield Written(source, self._place(block), None, next(iter(self._faults(block))).problem)

    def is_whole(self, entry: Entry) -> bool:
        """Tell whether an entry means the same in another file: no value of it names a @string."""
        if not self._strings[0]:
            return True
        for _, field in _fields(entry):
            try:
                _value(str(field.value), {}, self._place(field), "")
            except (BibError, _UndefinedError):
                return False
        return True

    def values(self, entry: Entry) -> dict[str, str]:
        """Return an entry's own fields as TeX, by lower-case name; those that can't be read are left out."""
        found = {}
        for name, field in _fields(entry):
            with contextlib.suppress(BibError):
                found[name] = self.value(field)
        return found

    @cached_property
    def commands(self) -> Mapping[str, tex.Command]:
        """The commands that the preambles define."""
        return tex.commands("\n".join(str(block.value) for block in self._library.preambles))

    def value(self, field: Field) -> str:
        """Return the value of a field, put together of its parts.

        Raises:
            BibError: It holds what is neither text, nor number, nor the name of a @string.
        """
        strings, place, where = self._strings[0], self._place(field), f"field `{field.key}`"
        try:
            return _value(str(field.value), strings, place, where)
        except _UndefinedError as error:
            raise _undefined(error.name, strings, place, where) from None

    def faults_of(self, entry: Entry) -> Iterator[BibError]:
        """Yield the errors in the key of an entry and the names of its fields.

        To BibTeX, `Title` and `title` are one.
        """
        if len(entry.key.split()) > 1:
            yield BibError(self._place(entry), f"the key `{entry.key}` is more than one word", "write it as one")
        first: dict[str, int] = {}
        for name, field in _fields(entry):
            line = (field.start_line or 0) + 1
            if re.search(r"\s", name):
                hint = "look for a missing comma"
                yield BibError(self._place(field), f"entry `{entry.key}`: no field is named `{name}`", hint)
            if name in first:
                hint = f"the first stands in line {first[name]}: keep one of them"
                yield BibError(Place(self._file, line), f"entry `{entry.key}` has the field `{name}` twice", hint)
            first.setdefault(name, line)

    def _named(self, key: str) -> Entry | None:
        """Return the entry of a key, or of one of the other keys that it has."""
        return self.entries.get(key) or self._repeated.get(key) or self._aliases.get(key)

    def parent(self, key: str) -> Entry | None:
        """Return the entry that another names, as BibTeX does: whatever the case of its key."""
        return self._named(key) or self._lower.get(key.lower())

    @cached_property
    def _lower(self) -> Mapping[str, Entry]:
        return {key.lower(): entry for key, entry in self.entries.items()}

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
        """The values of @strings by name, whatever their order; and their errors."""
        found: dict[str, str] = {}
        faults: list[BibError] = []
        ready = [block for block in self._library.blocks if isinstance(block, String)]
        waiting: dict[str, list[String]] = {}
        while ready:
            later = []
            for block in ready:
                try:
                    found[block.key.lower()] = self._string(block, found)
                except _UndefinedError as error:
                    waiting.setdefault(error.name, []).append(block)
                    continue
                except BibError as error:
                    faults.append(error)
                later += waiting.pop(block.key.lower(), [])
            ready = later
        undefined = ((name, block) for name, blocks in waiting.items() for block in blocks)
        return found, faults + [
            _undefined(name, found, self._place(block), f"@string `{block.key}`") for name, block in undefined
        ]

    def _string(self, block: String, strings: Mapping[str, str]) -> str:
        return _value(str(block.value), strings, self._place(block), f"@string `{block.key}`")

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


class _UndefinedError(Exception):
    """A value holds a name that no @string defines, or none yet."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name.lower()


def _undefined(name: str, strings: Mapping[str, str], place: Place, where: str) -> BibError:
    near = nearest(name, strings)
    hint = "; ".join(filter(None, ["put the value in braces", near if near.endswith("?") else ""]))
    return BibError(place, f"{where} holds `{name}`, which no @string defines", hint)


def _fields(entry: Entry) -> Iterator[tuple[str, Field]]:
    """Yield the fields by their names in lower case, without comments and those commented out."""
    for field in entry.fields:
        if name := re.sub(r"%[^\n]*", "", field.key).strip().lower():
            yield name, field


_PART = re.compile(r'(?:(?P<name>[^\s{}"#,=%]+)|(?P<braced>\{)|(?P<quoted>"))')


def _value(written: str, strings: Mapping[str, str], place: Place, where: str) -> str:
    """Return the text of a value: parts in braces or quotes, numbers and names of @strings, joined by #.

    Raises:
        BibError: It is none.
        _UndefinedError: It holds a name that is not among the strings.
    """
    parts: list[str] = []
    at = length = 0
    while True:
        found = _PART.match(written, _after(_COMMENT, written, at))
        if not found:
            raise BibError(place, f"{where} has no value", "write `{…}` after the `=`")
        if name := found["name"]:
            parts.append(_named(name, strings))
            at = found.end()
        else:
            end = _end(written, found.end(), '"' if found["quoted"] else "}")
            if end < 0:
                raise BibError(place, f"{where}: a brace or a quote is not closed", "close it")
            parts.append(written[found.end() : end])
            at = end + 1
        # Names that stand for each other twice grow without end.
        length += len(parts[-1])
        if length > tex.LONGEST:
            raise BibError(place, f"{where} has more than {tex.LONGEST:,} characters", "look at its @strings")
        at = _after(_COMMENT, written, at)
        if at == len(written):
            # Of the spaces only those count that part paragraphs.
            paragraphs = re.split(r"\n[ \t\r]*\n\s*", "".join(parts).strip())
            return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        if written[at] != "#":
            hint = "look for a missing comma; join texts by `#`"
            raise BibError(place, f"{where} is more than one text in braces or quotes", hint)
        at += 1


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _named(name: str, strings: Mapping[str, str]) -> str:
    if name.lower() in strings:
        return strings[name.lower()]
    if name.isdecimal():
        return name
    if name.lower() in dates.MONTHS:
        return dates.NAMES[dates.MONTHS[name.lower()]]
    raise _UndefinedError(name)


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
    """Reads one entry, with what it inherits; `faults` are its errors."""

    def __init__(self, book: Bibliography, entry: Entry) -> None:
        self.book, self.entry = book, entry
        self.faults: list[BibError] = []
        self.sources: dict[str, str] = {}
        self.is_biblatex = False

    def reference(self) -> Reference | None:
        """Return the reference, or None if the entry can't be read."""
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
        self._find_link(written, texts)
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

    def _find_link(self, written: Mapping[str, str], texts: dict[str, Text]) -> None:
        r"""Keep the address of a link that only an `\href` of another field has."""
        links = (re.search(r"\\href\s*\{([^{}]+)\}", written.get(name, "")) for name in ("howpublished", "note"))
        if not texts.get("url") and (found := next(filter(None, links), None)):
            texts["url"] = Text.of(_put_right("url", found[1]))

    def _text(self, name: str, value: str) -> Text:
        if name in _VERBATIM:
            return Text.of(_put_right(name, value))
        # A date's ~ means about, not a tie between words.
        is_plain = name in _UNREAD or (name.endswith("date") and re.fullmatch(r"[\dXTyYZ:./?~%+-]+", value))
        if is_plain:
            return Text.of(value)
        if name in _LISTS and self.is_biblatex:
            value = "; ".join(COUNTRIES.get(part, part) for part in names.split(value, names.AND))
        return tex.read(value, self.book.commands)

    def _names(self, role: str, written: Mapping[str, str]) -> tuple[Name, ...]:
        keeps = re.search(r"\buseprefix\s*(=\s*true\s*)?(,|$)", written.get("options", "")) is not None

        def shown(latex: str) -> str:
            return tex.read(latex, self.book.commands).plain

        try:
            return names.read(written[role], shown, keeps_prefix=keeps)
        except (names.NameFormError, tex.TexError) as error:
            self._wrong(role, str(error), "write `Family, Given`, and put `and` between two people")
            return ()

    def _written(self, entry: Entry, chain: tuple[str, ...]) -> dict[str, str]:
        """Return the fields of an entry as TeX, with what it inherits, and keep its source."""
        fields: dict[str, str] = {}
        shown = []
        self.faults += self.book.faults_of(entry)
        for name, field in _fields(entry):
            try:
                value = self.book.value(field)
            except BibError as error:
                self.faults.append(BibError(error.place, f"entry `{entry.key}`: {error.problem}", error.hint))
                continue
            if name == "crossref" and (other := self.book.parent(value)):
                # Other programs find it by its own key alone.
                value = other.key
            # A month's name is written for every style to translate.
            is_month = str(field.value).strip().lower() in dates.MONTHS
            text = str(field.value).strip().lower() if is_month and name == "month" else f"{{{value}}}"
            shown.append(f"  {name} = {text},\n")
            fields[name] = value
        self.sources[entry.key] = f"@{entry.entry_type}{{{entry.key},\n{''.join(shown)}}}\n"
        fields = {name: self._granular(entry, name, value, chain) for name, value in fields.items()}
        own = dict(fields)
        for name in _parents(own, "xdata"):
            if parent := self._parent(entry, _field(entry, "xdata"), name, chain):
                fields = added(fields, {key: value for key, value in parent.items() if key not in ("ids", "xdata")})
        for name in (*_parents(own, "crossref"), *_parents(own, "entryset")[:1]):
            field = _field(entry, "crossref", "entryset")
            if (parent := self._parent(entry, field, name, chain)) and (other := self.book.parent(name)):
                fields = inherited(entry.entry_type.lower(), fields, other.entry_type.lower(), parent)
        return fields

    def _granular(self, entry: Entry, name: str, value: str, chain: tuple[str, ...]) -> str:
        """Return a value with `xdata=key-field` and `xdata=key-field-number` in its list replaced."""
        if not re.search(r"\bxdata\s*=", value):
            return value
        field = _field(entry, name)
        parts = []
        for part in names.split(value, names.AND):
            found = re.fullmatch(r"xdata\s*=\s*(\S+?)-([A-Za-z]+)(?:-(\d{1,6}))?", part)
            parent = self._parent(entry, field, found[1], chain) if found else None
            if not found or parent is None:
                parts.append(part)
                continue
            taken = parent.get(found[2].lower(), "")
            shared = names.split(taken, names.AND)[int(found[3]) - 1 :][:1] if found[3] else [taken]
            if not any(shared):
                problem = f"entry `{entry.key}`: `{found[1]}` has nothing for `{part}`"
                self.faults.append(BibError(self.book._place(field), problem, "look at the fields of that entry"))
            parts += shared
        return " and ".join(parts)

    def _parent(self, entry: Entry, field: Field, name: str, chain: tuple[str, ...]) -> dict[str, str] | None:
        """Return the fields of an entry that another inherits from; None, and a fault, if that can't be."""
        place = self.book._place(field)
        other = self.book.parent(name)
        if not other:
            hint = nearest(name, self.book.entries)
            self.faults.append(BibError(place, f"entry `{entry.key}` inherits from `{name}`, which is not there", hint))
            return None
        if other.key in (*chain, entry.key) or len(chain) > _LONGEST_CHAIN:
            problem = f"entry `{entry.key}` inherits from itself, by way of `{name}`"
            self.faults.append(BibError(place, problem, f"remove its `{field.key.lower()}`"))
            return None
        return self._written(other, (*chain, entry.key))


_DATED = {"date", "year", "month", "day"}


def _field(entry: Entry, *wanted: str) -> Field:
    return next(field for name, field in _fields(entry) if name in wanted)


def _parents(fields: Mapping[str, str], name: str) -> list[str]:
    return [key.strip() for key in fields.get(name, "").split(",") if key.strip()]


def _put_right(name: str, written: str) -> str:
    if name == "doi":
        return identifiers.doi(tex.literal(written)) or tex.literal(written)
    if name == "url":
        # Of several the first.
        first = re.split(r"[\s;,]+(?:and\s+)?(?=https?://)", tex.literal(written, keeps_spaces=True))[0]
        return identifiers.url(first.replace(" ", "")) or first.strip()
    if name == "eprint":
        return identifiers.without_prefix(tex.literal(written))
    # Some repeat the name of the field.
    said = tex.literal(written, keeps_spaces=name in ("isbn", "issn"))
    return re.sub(rf"(?i)^\s*{name}(?:-1[03])?\b\s*:?\s*", "", said)
