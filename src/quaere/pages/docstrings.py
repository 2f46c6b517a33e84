"""From a docstring to its parts: prose, sources, fields and answers, each with the lines that it stands on.

Google's style, numpydoc's and Sphinx's fields are read, and the sections of this engine: `Source:`, `Departs:`,
`Asked:`, `Answers:`. What is none of these is prose.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

_TITLES = {
    written: title
    for title, others in {
        "Arguments": "Args, Parameters, Params, Keyword Args, Keyword Arguments, Other Parameters",
        "Attributes": "",
        "Returns": "Return",
        "Yields": "Yield",
        "Raises": "Raise, Exceptions",
        "Warns": "",
        "Examples": "Example",
        "Notes": "Note",
        "Warnings": "Warning",
        "References": "",
        "See Also": "",
    }.items()
    for written in (title, *others.split(", "))
    if written
}
_OF_FIELDS = frozenset({"Arguments", "Attributes", "Raises", "Warns"})
_HEADER = re.compile(rf"({'|'.join(_TITLES)}):[ ]*", re.IGNORECASE)
_LABEL = re.compile(r"(Source|Departs|Axes|Shapes?|Units|Note|Warning):(?:[ ]+(.*))?")
_UNDERLINE = re.compile(r"-{3,}|={3,}")
_ANSWERS = re.compile(r"Answers:[ ]*(\S*)[ ]*")
_ASKED = re.compile(r"Asked:[ ]*(\S.*)")
_NAMES = r"(?P<name>\*{0,2}[\w.]+(?:,[ ]*\*{0,2}[\w.]+)*)[ ]*"
_FIELD = re.compile(rf"{_NAMES}(?:\((?P<type>[^()]*)\))?[ ]*:(?:[ ]+(?P<text>.*))?")
_NUMPY = re.compile(rf"{_NAMES}(?::[ ]*(?P<type>.*))?")
_SPHINX = re.compile(r":(?P<kind>\w+)(?:[ ]+(?P<name>[^:]*))?:[ ]*(?P<text>.*)")
_OF_SPHINX = {
    **dict.fromkeys(("param", "parameter", "arg", "argument", "key", "keyword"), "Arguments"),
    **dict.fromkeys(("var", "ivar", "cvar"), "Attributes"),
    **dict.fromkeys(("raises", "raise", "except", "exception"), "Raises"),
    **dict.fromkeys(("return", "returns"), "Returns"),
    **dict.fromkeys(("yield", "yields"), "Yields"),
}


@dataclass(frozen=True)
class Field:
    """An argument, an attribute or an exception: its name, its type if it is told, and what is said of it."""

    name: str
    type: str
    text: str


@dataclass(frozen=True)
class Part:
    """A part of a docstring.

    Attributes:
        kind: What it is.
        first: The first line of it in the file.
        last: The last one.
        title: The name of its section.
        said: What stands beside the name of a section such as `Source:`.
        text: Markdown.
        fields: The fields of a section that has them.
        ids: The questions that it names.
    """

    kind: Literal["text", "label", "section", "asked", "answer"]
    first: int
    last: int
    title: str = ""
    said: str = ""
    text: str = ""
    fields: tuple[Field, ...] = ()
    ids: tuple[str, ...] = ()


def parts(docstring: str, first: int, last: int) -> tuple[Part, ...]:
    """Return the parts of a docstring that stands on some lines of a file; together they hold each of these lines once.

    Args:
        docstring: Its value.
        first: The line on which it begins.
        last: The line on which it ends.
    """
    lines = _dedented(docstring)
    # With escapes, or if strings are joined, its lines are not those of the file.
    is_placed = len(lines) == last - first + 1
    found = list(_parts(lines))
    if not found:
        return (Part("text", first, last),)
    starts = [first + start if is_placed else first for start, _ in found]
    ends = [*(start - 1 for start in starts[1:]), last] if is_placed else [last, *([first - 1] * (len(found) - 1))]
    starts[0] = first
    return tuple(
        replace(part, first=start, last=end) for (_, part), start, end in zip(found, starts, ends, strict=True)
    )


def _dedented(docstring: str) -> list[str]:
    head, *rest = docstring.expandtabs().split("\n")
    depth = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return [head.strip(), *(line[depth:].rstrip() for line in rest)]


def _parts(lines: Sequence[str]) -> Iterator[tuple[int, Part]]:
    """Yield the parts, each with the number of its first line."""
    text: list[str] = []
    start = at = 0
    is_start = True  # of a paragraph
    while at < len(lines):
        found = _section(lines, at, is_start)
        if found is None:
            if not any(text):
                start = at
            text.append(lines[at])
            is_start = not lines[at]
            at += 1
            continue
        if any(text):
            yield start, _of("text", text=markdown(text))
        text, is_start = [], True
        after, part = found
        yield at, part
        at = after
    if any(text):
        yield start, _of("text", text=markdown(text))


def _of(kind: Literal["text", "label", "section", "asked", "answer"], **more: object) -> Part:
    return Part(kind, 0, 0, **more)  # type: ignore[arg-type]


def _section(lines: Sequence[str], at: int, is_start: bool) -> tuple[int, Part] | None:
    """Return the section that begins at a line, and the line behind it; None if none begins there."""
    line = lines[at]
    if not line or line[0] == " ":
        return None
    below = _below(lines, at + 1)
    if asked := _ASKED.fullmatch(line):
        return at + 1, _of("asked", ids=tuple(re.split(r",\s*", asked[1].strip())))
    if answer := _ANSWERS.fullmatch(line):
        return below, _of("answer", ids=(answer[1],), text=markdown(lines[at + 1 : below]))
    if (header := _HEADER.fullmatch(line)) and below > at + 1:
        title = _TITLES[next(name for name in _TITLES if name.lower() == header[1].lower())]
        return below, _titled(title, lines[at + 1 : below], _FIELD)
    if is_start and (label := _LABEL.fullmatch(line)):
        # What goes on may be indented; an equation below it is one of its own.
        ends = (n for n in range(at + 1, len(lines)) if not lines[n] or lines[n].lstrip().startswith("$$"))
        end = next(ends, len(lines))
        words = " ".join([label[2] or "", *(line.strip() for line in lines[at + 1 : end])]).strip()
        below = _below(lines, end)
        return below, _of("label", title=label[1], said=words, text=markdown(lines[end:below]))
    if line.title() in _TITLES and at + 1 < len(lines) and _UNDERLINE.fullmatch(lines[at + 1]):
        underlined = (n - 1 for n in range(at + 3, len(lines)) if lines[n] and _UNDERLINE.fullmatch(lines[n]))
        end = next((n for n in underlined if lines[n].strip()), len(lines))
        return end, _titled(_TITLES[line.title()], lines[at + 2 : end], _NUMPY)
    if (field := _SPHINX.fullmatch(line)) and field["kind"] in {*_OF_SPHINX, "type", "rtype"}:
        return _sphinx(lines, at)
    return None


def _below(lines: Sequence[str], at: int) -> int:
    """Return the line behind those that are indented, without empty ones at the end."""
    end = at
    for number in range(at, len(lines)):
        if lines[number] and lines[number][0] != " ":
            break
        end = number + 1 if lines[number] else end
    return end


def _titled(title: str, lines: Sequence[str], entry: re.Pattern[str]) -> Part:
    """Return a section: its fields, if it has some, and the text before them."""
    dedented = textwrap.dedent("\n".join(lines)).split("\n")
    if title not in _OF_FIELDS:
        return _of("section", title=title, text=markdown(dedented))
    fields: list[Field] = []
    text: list[str] = []
    rest: list[str] = text
    name = kind = ""

    def close() -> None:
        if name:
            fields.append(Field(name, kind, markdown(rest)))

    for line in dedented:
        found = entry.fullmatch(line) if line and line[0] != " " else None
        if found:
            close()
            said = found.groupdict().get("text")
            name, kind, rest = found["name"], (found["type"] or "").strip(), [said] if said else []
        else:
            rest.append(line)
    close()
    return _of("section", title=title, text=markdown(text), fields=tuple(fields))


def _sphinx(lines: Sequence[str], at: int) -> tuple[int, Part]:
    """Return the fields of one kind that begin at a line, and the line behind them."""
    fields: list[Field] = []
    title = ""
    types: dict[str, str] = {}
    while at < len(lines) and (found := _SPHINX.fullmatch(lines[at])):
        kind, name, text = found["kind"], (found["name"] or "").strip(), found["text"]
        if title and kind in _OF_SPHINX and _OF_SPHINX[kind] != title:
            break
        end = at + 1
        while end < len(lines) and lines[end] and lines[end][0] == " ":
            end += 1
        said = markdown([text, *lines[at + 1 : end]])
        if kind in ("type", "rtype"):
            types[name] = said
        elif kind in _OF_SPHINX:
            title = _OF_SPHINX[kind]
            *type_, name = name.split() if title == "Arguments" and name else [name]
            fields.append(Field(name, " ".join(type_), said))
        at = end
    fields = [Field(one.name, one.type or types.pop(one.name, ""), one.text) for one in fields]
    left = [f"`{name}`: {text}" if name else text for name, text in types.items()]
    if title in ("Returns", "Yields"):
        return at, _of("section", title=title, text="\n\n".join([*(one.text for one in fields), *left]))
    return at, _of("section", title=title or "Returns", fields=tuple(fields), text="\n\n".join(left))


def markdown(lines: Sequence[str]) -> str:
    """Return the lines of a docstring or a comment as Markdown: an example is code, whatever is around it."""
    written: list[str] = []
    is_inside = False
    for line in textwrap.dedent("\n".join(lines)).split("\n"):
        is_example = line.lstrip().startswith(">>>")
        if is_example and not is_inside:
            written += ["", "```pycon"]
        elif is_inside and not line.strip():
            written.append("```")
        is_inside = is_example or (is_inside and bool(line.strip()))
        written.append(line.lstrip() if is_example else line)
    return "\n".join([*written, *(["```"] if is_inside else [])]).strip("\n")
