"""The context of the template of the page on which a module's code is read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from quaere.content import addresses
from quaere.content.model import Asked, Module
from quaere.pages import names, sections, source
from quaere.pages.docstrings import Part
from quaere.pages.output import Output
from quaere.pages.view import Here, View

_AXES = re.compile(r"\$(?P<axis>[A-Za-z]\w*)\$ (?P<is>[^.;]+?)(?=, (?:and )?\$[A-Za-z]\w*\$ |[.;]|$)")
_HEADER = re.compile(r"\s*(?:[rR]?\"\"\")?Answers:[ ]*(\S+)\s*$")
_SHAPES = re.compile(r"# \([\w*·…\s,.+\-/]*\)(?=$|[ ,;])")
_AXIS = re.compile(r"[*#?]*([A-Za-z]\w*)")
_TAKEN = re.compile(r"__|L\d+$|(def|asked)\.")
_INDENT, _DEEPEST, _LONG = 4, 9, 36
_COLORLESS = ("n", "w")
"""Classes of names that are nothing else, and of blanks: an element for each would be half of the page's."""


class Piece(NamedTuple):
    """A piece of a line of code: its text, its class, where it leads, and its id."""

    text: str
    kind: str
    href: str = ""
    id: str = ""


@dataclass(frozen=True)
class Line:
    """A line of code; `indent` is how deep it stands if it may be too long for a small screen, and 0 if not."""

    first: int
    last: int
    is_docstring: bool
    indent: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Shape:
    """The shape of an argument or of a result: its name, the kind of its numbers, and its axes with their meaning."""

    name: str
    kind: str
    axes: str
    meaning: str


@dataclass(frozen=True)
class Row:
    """A row of the page; `id` names its heading, if it has one, and `level` is the heading's.

    `answered` are the questions that it answers apart.
    """

    of: source.Row
    id: str
    level: int
    answered: tuple[str, ...]
    shapes: tuple[Shape, ...]
    lines: tuple[Line, ...]


def outputs(view: View) -> Iterator[Output]:
    """Yield the source of each module as a text file, which its page offers."""
    for name in view.library.named_modules:
        yield Output(addresses.source(name), partial(_source, name))


def _source(name: str, view: View) -> str:
    return view.library.named_modules[name].source


def context(view: View, module: Module) -> dict[str, Any]:
    """Return what the template `source.html` needs."""
    read = source.read(module.source)
    here = Here(view, addresses.code(module.name))
    known = view.names
    own = known.of(module.name) or names.Names(module.name)
    ids = _ids(read.rows, own)
    links, anchors = _links(here, module, read, known, own, ids)
    axes = {**view.axes, **_own_axes(read.rows, here)}
    marked = _of_axes(read.tree, own)
    rows = []
    headings = {ids[row.definition.name] for row in read.rows if row.definition}
    anchors = {place: id for place, id in anchors.items() if id not in headings}
    for row in read.rows:
        one = row.definition
        id = ids[one.name] if one else ""
        # What is defined twice has the id where it is first.
        id = id if id in headings else ""
        headings.discard(id)
        lines = tuple(_line(line, links, anchors, marked) for line in row.lines)
        shapes = tuple(_shapes(one.node, own, axes)) if one else ()
        level = 2 if one and "." not in one.name else 3
        rows.append(Row(row, id, level, _answered(row, read.lines), shapes, lines))
    asked = [id for row in read.rows for part in row.prose for id in part.ids]
    asked += [id for row in rows for id in row.answered]
    return {
        "module": module,
        "count": len(read.lines),
        "rows": rows,
        "is_read": read.tree is not None,
        "papers": view.implementing.get(module.name, ()),
        "asked": dict(_asked(view, dict.fromkeys(asked))),
        "sections": _sections(read.rows, ids),
        "reserved": {*ids.values(), *(f"asked.{id}" for id in asked)},
    }


def _asked(view: View, names: Iterable[str]) -> Iterator[tuple[str, Asked]]:
    """Yield the question that each answer in code is to, by the answer's name; an unknown one is left out."""
    library = view.library
    for name in names:
        today = library.today(name)
        if asked := library.questions.get(library.answering.get(today, today)):
            yield name, asked


def _answered(row: source.Row, lines: Sequence[str]) -> tuple[str, ...]:
    """Return the questions that functions answer which hold nothing else."""
    within = lines[row.first - 1 : row.last] if row.is_answers else ()
    return tuple(found[1] for line in within if (found := _HEADER.match(line)))


def _ids(rows: Sequence[source.Row], own: names.Names) -> dict[str, str]:
    """Return the id of each name."""
    return {name: id_of(name) for name in (*own.defined, *(row.definition.name for row in rows if row.definition))}


def id_of(name: str) -> str:
    """Return the id of a name on its module's page; those of lines, of the theme and of questions stay free."""
    return f"def.{name}" if _TAKEN.match(name) else name


def _links(
    here: Here,
    module: Module,
    read: source.Source,
    known: names.Known,
    own: names.Names,
    ids: Mapping[str, str],
) -> tuple[dict[tuple[int, int], tuple[str, str]], dict[tuple[int, int], str]]:
    """Return where names lead, by where they stand, with their text; and the ids of those that are defined."""
    if read.tree is None:
        return {}, {}
    references = names.References(own, known, read.lines, module.is_package).read(read.tree)
    links: dict[tuple[int, int], tuple[str, str]] = {}
    for one in references:
        place = one.place
        if place.module == module.name:
            target = f"#{ids[place.name]}" if place.name else ""
        else:
            there = known.of(place.module)
            id = _ids((), there).get(place.name, "") if there else ""
            target = here.to(addresses.code(place.module) + (f"#{id}" if id else ""))
        if target:
            links[one.line, one.column] = one.text, target
    return links, {place: ids[name] for name, place in own.defined.items()}


def _line(
    line: source.Line,
    links: Mapping[tuple[int, int], tuple[str, str]],
    anchors: Mapping[tuple[int, int], str],
    marked: frozenset[tuple[int, int]],
) -> Line:
    pieces: list[Piece] = []
    for token in line.tokens:
        at = token.line, token.column
        text, href = links.get(at, ("", ""))
        is_shape = at in marked or (token.kind == "c" and _SHAPES.match(token.text))
        kind = "" if token.kind in _COLORLESS else token.kind
        kind = f"{kind} q-axes" if is_shape else kind
        piece = Piece(token.text, kind, href if text == token.text else "", anchors.get(at, ""))
        if pieces and piece[1:] == pieces[-1][1:] == (kind, "", ""):
            pieces[-1] = Piece(pieces[-1].text + piece.text, kind)
        else:
            pieces.append(piece)
    written = "".join(piece.text for piece in pieces)
    depth = (len(written) - len(written.lstrip())) // _INDENT
    indent = min(_DEEPEST, depth + 1) if len(written) > _LONG else 0
    return Line(line.first, line.last, line.is_docstring, indent, tuple(pieces))


def _of_axes(tree: ast.Module | None, own: names.Names) -> frozenset[tuple[int, int]]:
    """Return where the axes of jaxtyping's annotations stand, as far as they are written in ASCII."""
    if tree is None or not any(full.startswith("jaxtyping") for full in own.imports.values()):
        return frozenset()
    found = (shape for node in ast.walk(tree) if (shape := _shape(node, own)))
    return frozenset((shape.lineno, shape.col_offset) for _, shape in found)


def _shape(node: ast.AST, own: names.Names) -> tuple[str, ast.Constant] | None:
    """Return the kind of numbers and the axes of an annotation such as `Float[Tensor, "b n"]`; None if it is none."""
    match node:
        case ast.Subscript(value=kind, slice=ast.Tuple(elts=[_, ast.Constant(value=str()) as axes])):
            name = names.dotted(kind)
            first, _, rest = name.partition(".")
            if own.imports.get(first, "").startswith("jaxtyping"):
                return rest or first, axes
    return None


def _shapes(node: ast.AST, own: names.Names, axes: Mapping[str, str]) -> Iterator[Shape]:
    """Yield the shapes of a function's arguments and results, or of a class's fields."""
    annotated: list[tuple[str, ast.expr | None]] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        annotated = [(one.arg, one.annotation) for one in every]
        annotated.append(("", node.returns))
    elif isinstance(node, ast.ClassDef):
        fields = (one for one in node.body if isinstance(one, ast.AnnAssign))
        annotated = [(one.target.id, one.annotation) for one in fields if isinstance(one.target, ast.Name)]
    for name, annotation in annotated:
        for inner in ast.walk(annotation) if annotation else ():
            if found := _shape(inner, own):
                kind, constant = found
                written = " ".join(str(constant.value).split())
                parts = (match[1] for part in written.split() if (match := _AXIS.fullmatch(part)))
                meaning = "; ".join(f"{one}: {axes[one]}" for one in dict.fromkeys(parts) if one in axes)
                yield Shape(name, kind, written or "scalar", meaning)


def _own_axes(rows: Sequence[source.Row], here: Here) -> dict[str, str]:
    """Return what the module's docstring says of its axes: `Axes: $b$ sentences of a batch, $n$ tokens`."""
    told = (part for row in rows[:1] for part in row.prose if part.title == "Axes")
    return {found["axis"]: here.said(found["is"]) for part in told for found in _AXES.finditer(part.said)}


def _sections(rows: Sequence[source.Row], ids: Mapping[str, str]) -> list[tuple[str, list[tuple[str, list[Any]]]]]:
    """Return the parts of papers that docstrings name, in each paper's order, with what implements them."""
    top = next((part.said for row in rows[:1] for part in _sources(row.prose)), "")
    work = sections.work_of(top)
    found: dict[str, dict[str, tuple[sections.Named, list[Any]]]] = {work: {}}
    for row in rows:
        for part in _sources(row.prose) if row.definition else ():
            for one in sections.named(part.said, work):
                label = f"{one.kind} {one.number}"
                _, entries = found.setdefault(one.work, {}).setdefault(label, (one, []))
                name = row.definition.name if row.definition else ""
                entries.append((name, ids[name], ", ".join(one.besides)))
    return [
        (work, [(label, entries) for label, (_, entries) in sorted(parts.items(), key=lambda item: item[1][0].order)])
        for work, parts in found.items()
        if parts
    ]


def _sources(prose: Iterable[Part]) -> Iterator[Part]:
    return (part for part in prose if part.title == "Source" and part.said)
