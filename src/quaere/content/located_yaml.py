"""Read YAML into plain values with their places.

Values and places are built from the events of PyYAML's C parser. Only plain data are accepted: tags and aliases are
rejected before anything is built, so a card can neither run code nor exhaust memory.
"""

from __future__ import annotations

import collections
import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import yaml

from quaere.content import files
from quaere.errors import CardError, Place

Path = tuple[str | int, ...]
"""Keys and indices from the document's root, as pydantic writes them in its errors."""

LARGEST = 1_000_000
"""Bytes. A card is a page of prose; what is larger got there by mistake."""

DEEPEST = 20
"""Levels of nesting. A card needs five."""

LONGEST = 200
"""Characters of a key, which stands in the place of each part below it, and of a number or a date."""

_BREAKS = "\0\r\n\x85\u2028\u2029"


class _Pure(yaml.SafeLoader):
    """PyYAML's Python parser, changed to accept what the C parser accepts: `?` in braces, and tabs between words."""

    def scan_to_next_token(self) -> None:
        while True:
            while self.peek() == " " or (self.peek() == "\t" and (self.flow_level or not self.allow_simple_key)):
                self.forward()
            if self.peek() == "#":
                while self.peek() not in _BREAKS:
                    self.forward()
            if not self.scan_line_break():  # type: ignore[no-untyped-call]
                return
            if not self.flow_level:
                self.allow_simple_key = True

    def scan_plain(self) -> yaml.ScalarToken:
        start = end = self.get_mark()
        least = self.indent + 1
        chunks: list[str] = []
        spaces: list[str] = []
        while self.peek() != "#":
            length = 0
            ends = _BREAKS + " \t" + (",[]{}" if self.flow_level else "")
            while (sign := self.peek(length)) not in ends and not (sign == ":" and self.peek(length + 1) in ends):
                length += 1
            if not length:
                break
            self.allow_simple_key = False
            chunks += [*spaces, self.prefix(length)]
            self.forward(length)
            end = self.get_mark()
            blanks = 0
            while self.peek(blanks) in " \t":
                blanks += 1
            # A break is PyYAML's to read; before it, blanks are no part of the text.
            if self.peek(blanks) in _BREAKS:
                self.forward(blanks)
                spaces = self.scan_plain_spaces(least, start) or []
            else:
                spaces = [self.prefix(blanks)] if blanks else []
                self.forward(blanks)
            if not spaces or (not self.flow_level and self.column < least):
                break
        return yaml.ScalarToken("".join(chunks), True, start, end)


_Loader: Any = getattr(yaml, "CSafeLoader", _Pure)
_resolver: Any = yaml.resolver.Resolver()
_PLAIN_TAGS = {None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))}
_KINDS = {"int": "whole number", "float": "number", "bool": "`true` or `false`", "timestamp": "date"}
_CONTROL = yaml.reader.Reader.NON_PRINTABLE
_OTHER_LINE_END = re.compile("\r\n?")
# YAML ends a line here, editors don't: the numbers of lines would go apart. A byte-order mark is a column to some.
_RARE_LINE_END = re.compile("[\x85\u2028\u2029\ufeff]")
_DIRECTIVE = re.compile(r"\A(?:[ \t]*(?:#.*)?\n)*(?=%)")


class Places(Mapping[Path, Place]):
    """The places of a document's parts by their paths. They are many: each is made when it is asked for.

    `marks` holds the line and the column of each, both from 1.
    """

    def __init__(self, file: str) -> None:
        self.file, self.marks = file, dict[Path, tuple[int, int]]()

    def __getitem__(self, path: Path) -> Place:
        return Place(self.file, *self.marks[path], show(path))

    def __iter__(self) -> Iterator[Path]:
        return iter(self.marks)

    def __len__(self) -> int:
        return len(self.marks)


@dataclass
class Document:
    """A document: its value, the places of its parts and keys, its scalars as written, and non-fatal errors."""

    value: object
    places: Places
    keys: Places
    written: dict[Path, str] = field(default_factory=dict)
    faults: list[CardError] = field(default_factory=list)
    text: str = field(default="", repr=False)

    def value_at(self, path: Path) -> object:
        """Return the part at `path`."""
        value: Any = self.value
        for key in path:
            value = value[key]
        return value

    def place(self, path: Path) -> Place:
        """Return the place of the part at `path`, or of the nearest part around it that was written."""
        for length in range(len(path), -1, -1):
            if mark := self.places.marks.get(path[:length]):
                return Place(self.places.file, *mark, show(path))
        return Place("?", at=show(path))


@lru_cache(4096)
def show(path: Path) -> str:
    """Write a path as JSONPath does: `$.questions[1].answer`."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def read(data: bytes, file: str) -> Document:
    """Read one YAML document of plain values.

    Sequences become tuples, so that what was read can't change.

    Raises:
        CardError: Reading can't go on: no UTF-8, no YAML, or something other than one document of plain data.
    """
    text, faults = _text(data, file)
    return _Reading(text, file, faults).document()


def control_character(text: str) -> tuple[int, str] | None:
    """Return the position of the first control character in a text, and the character; None if there is none."""
    found = _CONTROL.search(text)
    return (found.start(), found[0]) if found else None


def without_control_characters(text: str) -> str:
    """Return a text with U+FFFD for each control character."""
    return _CONTROL.sub("\ufffd", text)


def _text(data: bytes, file: str) -> tuple[str, list[CardError]]:
    """Return the text of a file with LF line ends, and the errors in its encoding and line ends."""
    faults: list[CardError] = []
    if len(data) > LARGEST:
        raise CardError(
            Place(file),
            f"the file has {len(data) / 1e6:.1f} MB; a card may have {LARGEST / 1e6:.0f} MB",
            "put data beside the card and link to it",
        )
    if data.startswith(b"\xef\xbb\xbf"):
        faults.append(
            CardError(Place(file), "the file starts with a byte-order mark", "save it as UTF-8 without BOM", rule="bom")
        )
        data = data[3:]
    text, wrong = files.text(data, file, CardError)
    if wrong:
        raise wrong[0]
    if found := _CONTROL.search(text) or _RARE_LINE_END.search(text):
        raise _control_character(_place_at(text, found.start(), file), found[0])
    if found := _DIRECTIVE.match(text):
        raise CardError(_place_at(text, found.end(), file), "a directive is not allowed in a card", "remove this line")
    if found := _OTHER_LINE_END.search(text):
        place, name = _place_at(text, found.start(), file), "CR LF" if len(found[0]) == 2 else "CR"
        faults.append(
            CardError(place, f"the line ends with {name}", "save the file with LF line ends", rule="line-ends")
        )
    return _OTHER_LINE_END.sub("\n", text), faults


def _events(text: str, file: str) -> Iterator[yaml.Event]:
    """Yield the events between the document's marks; a syntax error becomes a `CardError`."""
    try:
        yield from _parsed(text, _Loader)
    except yaml.YAMLError as error:
        raise _syntax_error(_told(text, error), text, file) from None


def _parsed(text: str, loader: Any) -> Iterator[yaml.Event]:
    for event in yaml.parse(text, Loader=loader):
        if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent | yaml.DocumentEndEvent):
            yield event


def _told(text: str, error: yaml.YAMLError) -> yaml.YAMLError:
    """Return an error with the message of PyYAML's Python parser, which differs from that of the C parser."""
    try:
        collections.deque(yaml.parse(text, Loader=_Pure), 0)
    except yaml.YAMLError as own:
        return own
    return error


def _syntax_error(error: yaml.YAMLError, text: str, file: str) -> CardError:
    if isinstance(error, yaml.MarkedYAMLError):
        # A quote that is never closed is found at the end of the file; its start is what a person looks for.
        is_quote = "quoted scalar" in (error.context or "")
        mark = (error.context_mark if is_quote else error.problem_mark) or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        around = f" {error.context}" if error.context else ""
        if error.context_mark and error.context_mark.line + 1 != place.line:
            around += f" that starts in line {error.context_mark.line + 1}"
        lines = text.split("\n")
        here = lines[place.line - 1] if place.line <= len(lines) else ""
        return CardError(place, f"not YAML: {error.problem}{around}", _syntax_hint(here))
    return CardError(Place(file), f"not YAML: {error}")


def _syntax_hint(line: str) -> str:
    if "\t" in line:
        return "indent with spaces: YAML allows no tabs there"
    if re.search(r":\s.*:\s", line) or re.search(r":\s+[@`%*&!\[{]", line):
        return "quote the text"
    return "look at the indentation and the quotes of this line and the one before"


class _Reading:
    """Reads one document from its events."""

    def __init__(self, text: str, file: str, faults: list[CardError]) -> None:
        self._file, self._events = file, _events(text, file)
        self._document = Document(None, Places(file), Places(file), faults=faults, text=text)

    def document(self) -> Document:
        first = next(self._events)
        if isinstance(first, yaml.StreamEndEvent):
            raise CardError(Place(self._file), "the file is empty", "a card needs at least `cite`")
        self._document.value = self._value(first, ())
        for event in self._events:
            if not isinstance(event, yaml.StreamEndEvent):
                raise CardError(
                    self._place(event), "a second document starts here", "one file holds one card: remove `---`"
                )
        return self._document

    def _place(self, event: yaml.Event, path: Path | None = None) -> Place:
        return Place(self._file, *_mark(event), "" if path is None else show(path))

    def _value(self, event: yaml.Event, path: Path) -> object:
        self._document.places.marks[path] = _mark(event)
        if isinstance(event, yaml.AliasEvent):
            place = self._place(event, path)
            raise CardError(place, f"alias *{event.anchor} is not allowed in a card", "write the value out")
        tag = getattr(event, "tag", None)
        if tag not in _PLAIN_TAGS:
            problem = f"tag {_short_tag(tag)} is not allowed in a card"
            raise CardError(self._place(event, path), problem, "cards hold plain values only")
        if len(path) > DEEPEST:
            problem = f"the card is nested more than {DEEPEST} levels deep"
            raise CardError(self._place(event, path), problem, "flatten it")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        return self._sequence(path) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path)

    def _sequence(self, path: Path) -> tuple[object, ...]:
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return tuple(items)

    def _mapping(self, path: Path) -> dict[str, object]:
        mapping: dict[str, object] = {}
        places, keys = self._document.places.marks, self._document.keys.marks
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag not in _PLAIN_TAGS:
                raise CardError(self._place(event, path), "a key must be text", "write `name: value`")
            key = event.value
            if len(key) > LONGEST:
                problem, hint = f"a key of {len(key):,} characters", "write `name: value`, or quote the text"
                raise CardError(self._place(event, path), problem, hint)
            within, here = (*path, key), _mark(event)
            if key in mapping:
                problem, hint = (
                    f"key `{key}` stands here twice",
                    f"the first stands in line {keys[within][0]}: keep one of them",
                )
                self._document.faults.append(CardError(self._place(event, within), problem, hint))
            keys[within] = here
            mapping[key] = self._value(next(self._events), within)
            if isinstance(mapping[key], dict | tuple) and places[within][0] > here[0]:
                # Parts on later lines are found by their key, which is where a person looks for them.
                places[within] = here
        return mapping

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> object:
        document = self._document
        document.written[path] = event.value
        # Quotes can hide them, as in "\e": a terminal would obey them.
        if found := _CONTROL.search(event.value):
            document.faults.append(_control_character(self._place(event, path), found[0]))
        # An exclamation mark alone says that it is text, whatever it looks like.
        tag: str = event.tag or _resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == "!":
            tag = "str"
        kind = tag.rpartition(":")[2]
        if kind in ("str", "value", "merge"):
            return event.value
        try:
            if len(event.value) > LONGEST:
                raise ValueError
            value: object = yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, LookupError, OverflowError):
            wanted = "write a date as 2026-01-31; " if kind == "timestamp" else ""
            problem = f"`{event.value:.60}` is no {_KINDS[kind]}"
            hint = f"{wanted}quote it if it is meant as text"
            document.faults.append(CardError(self._place(event, path), problem, hint))
            return event.value
        # A time of day is more than a card asks for; as text it fails with the message of the field it stands in.
        return event.value if isinstance(value, datetime.datetime) else value


def _mark(event: yaml.Event) -> tuple[int, int]:
    """Return the line and the column at which an event begins, both from 1."""
    mark: Any = event.start_mark
    return mark.line + 1, mark.column + 1


def _control_character(place: Place, character: str) -> CardError:
    return CardError(place, f"the control character U+{ord(character):04X} is not allowed", "remove it")


def _short_tag(tag: object) -> str:
    return str(tag).replace("tag:yaml.org,2002:", "!!")


def _place_at(text: str, position: int, file: str) -> Place:
    start = text.rfind("\n", 0, position) + 1
    return Place(file, text.count("\n", 0, position) + 1, position - start + 1)
