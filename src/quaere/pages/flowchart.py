"""Flowcharts: the plain ones of Mermaid, read and arranged when the site is built.

Read are nodes of the usual shapes, arrows with labels, and boxes (`subgraph`), in four directions. What else a chart
says (styles, clicks, classes, images, other arrows), or more than is sensible, leaves the whole chart to Mermaid.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from quaere.content.bibliography.tex import Run, Text
from quaere.pages import layered, lettering
from quaere.pages.layered import Edge

_LONGEST, _MOST_NODES, _MOST_ARROWS, _DEEPEST, _LONGEST_LABEL = 20_000, 150, 250, 5, 300
# Rows that all arrows together may pass.
_MOST_ROWS = 2_500
_LETTERS, _SMALL, _LINE = 12.5, 12.0, 16.0
_WIDEST, _WIDEST_LABEL, _MOST_LINES = 150.0, 110.0, 8
_GAP, _BETWEEN, _PAD, _TITLE = 22.0, 30.0, 12.0, 24.0

_HEAD = re.compile(r"\s*(?:flowchart|graph)(?:[ \t]+(TB|TD|BT|LR|RL))?[ \t]*(?:;|\n|\Z)")
_COMMENT = re.compile(r"^[ \t]*%%(?!\{).*$", re.MULTILINE)
_ID = r"\w+(?:[.-]\w+)*"
_NODE = re.compile(rf"\s*({_ID})")
_SUBGRAPH = re.compile(
    rf"""subgraph(?:[ \t]+(?:({_ID})[ \t]*\[([^\[\]]*)\]|({_ID})|("[^"]*"|[^\s\[\]"][^\[\]"]*?)))?[ \t]*\Z"""
)
_DIRECTION = re.compile(r"direction[ \t]+(TB|TD|BT|LR|RL)[ \t]*\Z")
# The brackets of each shape, the longest first.
_SHAPES = {
    ("(((", ")))"): "",  # Mermaid's
    ("((", "))"): "circle",
    ("([", "])"): "stadium",
    ("[[", "]]"): "subroutine",
    ("[(", ")]"): "cylinder",
    ("{{", "}}"): "hexagon",
    ("[/", "/]"): "lean",
    ("[\\", "\\]"): "back",
    ("[", "]"): "box",
    ("(", ")"): "round",
    ("{", "}"): "diamond",
}
_ARROW = re.compile(
    r"""\s*(?:
      (?P<line>-{2,}>|-{3,}|={2,}>|={3,}|-\.+->|-\.+-|~{3,})(?P<odd>[ox](?=\s|\w))?\s*(?:\|(?P<label>[^|\n]*)\|)?
    | (?P<open>--|==|-\.)
      (?P<words>\s*(?:"[^"\n]*"|(?![ox]\s)[^-=.>|"\n\s](?:(?!--|==|\.-)[^|"\n>])*?)\s*)
      (?P<close>-{1,}->|-{3,}|={1,}=>|={3,}|\.+->|\.+-)
    )\s*""",
    re.VERBOSE,
)
_ENTITY = re.compile(r"#(\d{1,7}|[a-zA-Z]\w{0,30});")
_BREAK = re.compile(r"<br\s*/?>|\\n", re.IGNORECASE)
_MATH = re.compile(r"\$([^$\n]+)\$")


@dataclass(frozen=True)
class Node:
    """A node: its words in lines, its shape, and its size; the first line stands at `first` from its center."""

    id: str
    lines: tuple[str, ...]
    shape: str
    width: float
    height: float


@dataclass(frozen=True)
class Arrow:
    """An arrow between two nodes or boxes; `kind` is that of its line."""

    source: str
    target: str
    kind: str = "plain"
    has_head: bool = True
    label: tuple[str, ...] = ()


@dataclass
class Box:
    """A box around nodes and other boxes, in the order of the text; the whole chart is one."""

    id: str
    title: str = ""
    direction: str = ""
    inner: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """What a text says. `boxes` has the whole chart by an empty name; `around` names the box that each thing is in."""

    nodes: Mapping[str, Node]
    boxes: Mapping[str, Box]
    arrows: tuple[Arrow, ...]
    around: Mapping[str, str]


class _UnreadError(Exception):
    """The text is none of ours."""


# Reading


def read(source: str) -> Chart | None:
    """Read a flowchart; None if it is something else, or more than is read here."""
    if len(source) > _LONGEST or not (head := _HEAD.match(source)):
        return None
    try:
        return _Reader(head[1] or "TB").read(_COMMENT.sub("", source[head.end() :]))
    except _UnreadError:
        return None


class _Reader:
    def __init__(self, direction: str) -> None:
        self._boxes = {"": Box("", direction=direction)}
        self._open = [""]
        self._around: dict[str, str] = {}
        self._nodes: dict[str, tuple[str, str]] = {}
        self._arrows: list[Arrow] = []

    def read(self, text: str) -> Chart:
        for statement in _statements(text):
            self._statement(statement)
        if len(self._open) > 1 or not self._nodes or set(self._nodes) & set(self._boxes):
            raise _UnreadError
        nodes = {id: _sized(id, label, shape) for id, (label, shape) in self._nodes.items()}
        chart = Chart(nodes, self._boxes, tuple(self._arrows), self._around)
        _check(chart)
        return chart

    def _statement(self, text: str) -> None:
        if text == "end":
            if len(self._open) == 1:
                raise _UnreadError
            self._open.pop()
        elif found := _DIRECTION.match(text):
            self._boxes[self._open[-1]].direction = found[1]
        elif re.match(r"subgraph\b", text):
            self._box(text)
        elif re.match(r"(?:style|classDef|class|linkStyle|click|accTitle|accDescr|title)\b", text):
            raise _UnreadError
        else:
            self._chain(text)

    def _box(self, text: str) -> None:
        found = _SUBGRAPH.match(text)
        if not found or len(self._open) > _DEEPEST:
            raise _UnreadError
        id, title, alone, words = found.groups()
        id = id or alone or f" {len(self._boxes)}"
        if id in self._boxes:
            raise _UnreadError
        self._boxes[id] = Box(id, _words(title if title is not None else words or alone or ""))
        self._place(id)
        self._open.append(id)

    def _place(self, id: str) -> None:
        """Put something into the innermost box that is open, unless it is in one."""
        if id not in self._around:
            self._around[id] = self._open[-1]
            self._boxes[self._open[-1]].inner.append(id)
        elif self._around[id] == "" and self._open[-1] not in ("", id):
            # Mermaid moves a node into the box that names it.
            self._boxes[""].inner.remove(id)
            self._around[id] = self._open[-1]
            self._boxes[self._open[-1]].inner.append(id)

    def _chain(self, text: str) -> None:
        sources, at = self._group(text, 0)
        while at < len(text):
            found = _ARROW.match(text, at)
            if not found or found["odd"]:
                raise _UnreadError
            targets, at = self._group(text, found.end())
            line = found["line"] or found["open"] + found["close"]
            kind = {"-.": "dotted", "==": "thick", "~~": "none"}.get(line[:2], "plain")
            label = _words(found["label"] or found["words"] or "")
            lines = tuple(lettering.wrap(label, _WIDEST_LABEL, _SMALL, 4)) if label else ()
            self._arrows += (
                Arrow(source, target, kind, line.endswith(">"), lines) for source in sources for target in targets
            )
            if len(self._arrows) > _MOST_ARROWS:
                raise _UnreadError
            sources = targets

    def _group(self, text: str, at: int) -> tuple[list[str], int]:
        """Read nodes joined by `&`; return them, and where they end."""
        ids = []
        while True:
            found = _NODE.match(text, at)
            if not found:
                raise _UnreadError
            id, at = found[1], found.end()
            at = self._shape(id, text, at)
            ids.append(id)
            if not (found := re.compile(r"\s*&\s*").match(text, at)):
                return ids, at + len(text[at:]) - len(text[at:].lstrip())
            at = found.end()

    def _shape(self, id: str, text: str, at: int) -> int:
        if text.startswith((":::", "@{"), at):
            raise _UnreadError
        brackets = next((pair for pair in _SHAPES if text.startswith(pair[0], at)), None)
        if brackets is None:
            if id not in self._boxes:
                self._nodes.setdefault(id, (id, "box"))
        else:
            opening, closing = brackets
            first, last = re.escape(opening), re.escape(closing)
            quoted = re.compile(rf'{first}\s*"([^"]*)"\s*{last}').match(text, at)
            found = quoted or re.compile(rf'{first}([^"\[\]{{}}()<>|]*?){last}').match(text, at)
            if not found or not _SHAPES[brackets] or id in self._boxes:
                raise _UnreadError
            self._nodes[id] = _words(found[1]), _SHAPES[brackets]
            at = found.end()
        if len(self._nodes) > _MOST_NODES:
            raise _UnreadError
        self._place(id)
        return at


def _statements(text: str) -> Iterator[str]:
    """Yield the statements: what stands between line breaks and semicolons outside of quotes."""
    for line in re.findall(r'(?:"[^"\n]*"|[^";\n])+', text):
        if statement := line.strip():
            yield statement
    if text.count('"') % 2:
        raise _UnreadError


def _words(written: str) -> str:
    """Return the words of a label: entities as characters, mathematics as Unicode."""
    written = written.strip().strip('"')
    if len(written) > _LONGEST_LABEL or "$$" in written or written.startswith("`") or "%%{" in written:
        raise _UnreadError
    text = html.unescape(_ENTITY.sub(r"&\1;", _BREAK.sub("\n", written)))
    if re.search(r"<[a-zA-Z/]", text) and "<" in written:
        raise _UnreadError
    return _MATH.sub(lambda found: Text([Run(found[1], is_math=True)]).plain, text)


def _check(chart: Chart) -> None:
    """Refuse what can't be arranged: arrows from a thing to itself, or between a box and what is in it."""
    for arrow in chart.arrows:
        if arrow.source == arrow.target:
            raise _UnreadError
        if arrow.source in _boxes_around(chart, arrow.target) or arrow.target in _boxes_around(chart, arrow.source):
            raise _UnreadError
    for id, box in chart.boxes.items():
        if not box.inner and id:
            raise _UnreadError


def _boxes_around(chart: Chart, id: str) -> list[str]:
    """Return the boxes around something, from the inmost to the whole chart."""
    found = []
    while id:
        id = chart.around[id]
        found.append(id)
    return found


# Sizes


def _sized(id: str, label: str, shape: str) -> Node:
    lines = lettering.wrap(label, _WIDEST, _LETTERS, _MOST_LINES) if label.strip() else []
    if not lines:
        # A circle without words is where lines meet.
        return Node(id, (), "dot" if shape == "circle" else shape, *((7.0, 7.0) if shape == "circle" else (28.0, 20.0)))
    wide = max(lettering.width(line, _LETTERS) for line in lines)
    high = _LINE * len(lines)
    match shape:
        case "circle":
            wide = high = max((wide**2 + high**2) ** 0.5 + 8, 30.0)
        case "diamond":
            wide, high = 1.6 * wide + 16, 2.6 * high + 8
        case "hexagon" | "lean" | "back" | "stadium" | "subroutine":
            wide, high = wide + 40, high + 16
        case "cylinder":
            wide, high = wide + 24, high + 32
        case _:
            wide, high = wide + 26, high + 16
    return Node(id, tuple(lines), shape, round(wide), round(high))


def outline(node: Node) -> str:
    """Return the outline of a node around the point 0 0, as the path of an SVG."""
    x, y = node.width / 2, node.height / 2
    match node.shape:
        case "circle" | "dot":
            return f"M{-x:g} 0A{x:g} {x:g} 0 1 1 {x:g} 0A{x:g} {x:g} 0 1 1 {-x:g} 0Z"
        case "diamond":
            return f"M0 {-y:g}L{x:g} 0L0 {y:g}L{-x:g} 0Z"
        case "hexagon":
            return f"M{12 - x:g} {-y:g}H{x - 12:g}L{x:g} 0L{x - 12:g} {y:g}H{12 - x:g}L{-x:g} 0Z"
        case "lean":
            return f"M{12 - x:g} {-y:g}H{x:g}L{x - 12:g} {y:g}H{-x:g}Z"
        case "back":
            return f"M{-x:g} {-y:g}H{x - 12:g}L{x:g} {y:g}H{12 - x:g}Z"
        case "cylinder":
            return (
                f"M{-x:g} {7 - y:g}A{x:g} 7 0 0 1 {x:g} {7 - y:g}V{y - 7:g}A{x:g} 7 0 0 1 {-x:g} {y - 7:g}Z"
                f"M{-x:g} {7 - y:g}A{x:g} 7 0 0 0 {x:g} {7 - y:g}"
            )
        case "subroutine":
            return f"M{-x:g} {-y:g}H{x:g}V{y:g}H{-x:g}ZM{8 - x:g} {-y:g}V{y:g}M{x - 8:g} {-y:g}V{y:g}"
        case shape:
            r = {"round": 9.0, "stadium": y}.get(shape, 4.0)
            return (
                f"M{r - x:g} {-y:g}H{x - r:g}Q{x:g} {-y:g} {x:g} {r - y:g}V{y - r:g}Q{x:g} {y:g} {x - r:g} {y:g}"
                f"H{r - x:g}Q{-x:g} {y:g} {-x:g} {y - r:g}V{r - y:g}Q{-x:g} {-y:g} {r - x:g} {-y:g}Z"
            )


# Arranging

_Point = tuple[float, float]


@dataclass(frozen=True)
class Leg:
    """A straight part of a line, upright or level; between two legs, a line bends."""

    start: _Point
    end: _Point
    is_level: bool


@dataclass(frozen=True)
class Line:
    """An arrow as it is drawn: its path, its head, and its label with the middle of it."""

    arrow: Arrow
    path: str
    head: str
    label: tuple[tuple[str, float, float], ...]
    ground: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Frame:
    """A box as it is drawn."""

    title: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Figure:
    """A flowchart as it is drawn: `nodes` with their middles."""

    width: float
    height: float
    nodes: tuple[tuple[Node, float, float], ...]
    frames: tuple[Frame, ...]
    lines: tuple[Line, ...]
    words: str


@dataclass
class _Laid:
    """What is arranged in a box, from its upper left corner.

    `ways` are the legs of arrows as far as they are known: those of the number and True start here, those of False only
    end here.
    """

    width: float = 0.0
    height: float = 0.0
    places: dict[str, _Point] = field(default_factory=dict)
    frames: list[tuple[str, float, float, float, float]] = field(default_factory=list)
    ways: dict[tuple[int, bool], list[Leg]] = field(default_factory=dict)
    labels: dict[int, _Point] = field(default_factory=dict)


def arrange(chart: Chart, direction: str = "") -> Figure | None:
    """Arrange a flowchart; None if its arrows pass too many rows. A direction can stand in for the chart's own."""
    try:
        laid = _Arranger(chart, direction or chart.boxes[""].direction).lay("")
    except _UnreadError:
        return None
    places = laid.places
    nodes = tuple((node, *_rounded(places[id])) for id, node in chart.nodes.items())
    frames = tuple(Frame(chart.boxes[id].title, *map(round, box)) for id, *box in laid.frames)
    lines = (_line(one, laid.ways[index, True], laid.labels.get(index)) for index, one in enumerate(chart.arrows))
    return Figure(round(laid.width + 2), round(laid.height + 2), nodes, frames, tuple(lines), _in_words(chart))


def _turned(size: _Point, is_level: bool) -> _Point:
    return size[::-1] if is_level else size


NARROW = 350.0
"""What fits the page of a phone."""


def figures(source: str) -> tuple[tuple[Figure, str], ...]:
    """Read and arrange a flowchart; empty if Mermaid must draw it.

    Returns:
        The figure, and one from top to bottom for narrow pages if it runs sideways and is too wide for them; each with
        where it is shown: `all`, or `wide`, `widest` and `narrow` pages.
    """
    chart = read(source)
    figure = arrange(chart) if chart else None
    if not chart or not figure:
        return ()
    is_level = chart.boxes[""].direction in ("LR", "RL")
    if not is_level or figure.width <= NARROW or not (narrow := arrange(chart, "TB")):
        return ((figure, "all"),)
    kind = "wide" if figure.width <= 700 else "widest"
    return (figure, kind), (narrow, f"not-{kind}")


def _rounded(point: _Point) -> _Point:
    return round(point[0], 1), round(point[1], 1)


class _Arranger:
    def __init__(self, chart: Chart, direction: str) -> None:
        self._chart = chart
        self._rows = 0
        self._around = {id: _boxes_around(chart, id) for id in (*chart.nodes, *chart.boxes)}
        # The ends of each arrow in the inmost box around both: what they are, or the boxes that they are in.
        self._within: dict[str, list[int]] = {id: [] for id in chart.boxes}
        self._ends: list[tuple[str, str]] = []
        crossed: set[str] = set()
        for index, arrow in enumerate(chart.arrows):
            source, target = ([id, *self._around[id]] for id in (arrow.source, arrow.target))
            common = next(id for id in source[1:] if id in target[1:])
            self._within[common].append(index)
            self._ends.append((source[source.index(common) - 1], target[target.index(common) - 1]))
            crossed |= {*source[1 : source.index(common)], *target[1 : target.index(common)]}
        # As in Mermaid, a box whose things are joined to others outside has the direction of what is around it.
        self._direction: dict[str, str] = {}
        for id, box in chart.boxes.items():
            outer = self._direction[chart.around[id]] if id else direction
            self._direction[id] = outer if id in crossed or not box.direction or not id else box.direction
        self._entered = {one.target for one in chart.arrows if chart.around[one.source] == chart.around[one.target]}
        beside = {index for index in range(len(chart.arrows)) if self._may_be_beside(index)}
        follows = {frozenset(ends) for index, ends in enumerate(self._ends) if index not in beside}
        self._beside = {index for index in beside if frozenset(self._ends[index]) not in follows}

    def lay(self, id: str) -> _Laid:
        """Arrange what is in a box, after the boxes in it."""
        chart, box, direction = self._chart, self._chart.boxes[id], self._direction[id]
        inner = {one: self.lay(one) for one in box.inner if one in chart.boxes}
        is_level = direction in ("LR", "RL")
        plain = {one: (chart.nodes[one].width, chart.nodes[one].height) for one in box.inner if one in chart.nodes}
        plain |= {one: (laid.width, laid.height) for one, laid in inner.items()}
        sizes = {one: _turned(plain[one], is_level) for one in box.inner}
        arrows = self._within[id]
        beside = [index for index in arrows if index in self._beside]
        # Labels are nodes on their arrows; what comes in or goes out has a place at the border.
        edges: list[Edge] = []
        parts: dict[int, list[int]] = {}
        for index in arrows:
            if index in beside:
                continue
            source, target = self._ends[index]
            stops = [source, target]
            if label := chart.arrows[index].label:
                stops.insert(1, f" label {index}")
                size = max(lettering.width(line, _SMALL) for line in label) + 8, 14.0 * len(label) + 4
                sizes[stops[1]] = _turned(size, is_level)
            parts[index] = []
            for one, other in pairwise(stops):
                leaves = self._port(inner, index, one, is_level=is_level) if one == source else None
                reaches = self._port(inner, index, other, is_level=is_level) if other == target else None
                parts[index].append(len(edges))
                edges.append(Edge(one, other, leaves, reaches))
        rows = self._ranks(sizes, edges, [self._ends[index] for index in beside])
        first, last = min(rows.values()) - 1, max(rows.values()) + 1
        crossing = [(index, one) for index, one in enumerate(chart.arrows) if self._crosses(id, one)]
        for index, arrow in crossing:
            is_out = id in self._around[arrow.source]
            end = arrow.source if is_out else arrow.target
            if index in self._beside:
                continue
            own = next(one for one in [end, *self._around[end]] if self._chart.around.get(one) == id)
            port = f" port {index}"
            sizes[port], rows[port] = (1.0, 0.0), last if is_out else first
            offset = self._port(inner, index, own, is_level=is_level)
            parts[index] = [len(edges)]
            edges.append(Edge(own, port, offset, None) if is_out else Edge(port, own, None, offset))
        self._rows += sum(abs(rows[edge.source] - rows[edge.target]) for edge in edges)
        if self._rows > _MOST_ROWS:
            raise _UnreadError
        gap = _GAP + max((self._label_width(index, is_level=is_level) for index in beside), default=0.0)
        placed = layered.arrange(sizes, edges, rows, gap=gap, between=_BETWEEN, is_aligned=bool(beside))
        return self._put(id, direction, inner, plain, parts, placed, beside)

    def _crosses(self, id: str, arrow: Arrow) -> bool:
        """Tell whether an arrow leads into a box, to what is in it, or out of it."""
        return (id in self._around[arrow.source]) != (id in self._around[arrow.target])

    def _label_width(self, index: int, *, is_level: bool) -> float:
        label = self._chart.arrows[index].label
        if not label:
            return 0.0
        return 14.0 * len(label) if is_level else max(lettering.width(line, _SMALL) for line in label) + 12

    @staticmethod
    def _ranks(ids: Iterable[str], edges: Sequence[Edge], beside: Sequence[tuple[str, str]]) -> dict[str, int]:
        """Return the rows; what stands beside another is in its row."""
        leader = {id: id for id in ids}
        for one, other in beside:
            former, new = leader[other], leader[one]
            leader = {id: new if found == former else found for id, found in leader.items()}
        pairs = [(leader[edge.source], leader[edge.target]) for edge in edges]
        rows = layered.ranks(dict.fromkeys(leader.values()), [pair for pair in pairs if pair[0] != pair[1]])
        return {id: rows[found] for id, found in leader.items()}

    def _may_be_beside(self, index: int) -> bool:
        """Tell whether an arrow leads from box to box into the middle of the second: they may stand side by side."""
        source, target = self._ends[index]
        arrow = self._chart.arrows[index]
        are_boxes = source in self._chart.boxes and target in self._chart.boxes
        return are_boxes and source != arrow.source and target != arrow.target and arrow.target in self._entered

    def _port(self, inner: Mapping[str, _Laid], index: int, id: str, *, is_level: bool) -> float | None:
        """Return where an arrow passes the border of a box, across from its middle; None for what has no inside."""
        if id in self._chart.nodes:
            # At the tip of a diamond all arrows meet.
            return 0.0 if self._chart.nodes[id].shape in ("diamond", "dot") else None
        is_out = id in self._around[self._chart.arrows[index].source]
        if id not in inner or (index, is_out) not in inner[id].ways:
            return None
        laid = inner[id]
        legs = laid.ways[index, is_out]
        x, y = legs[-1].end if is_out else legs[0].start
        return y - laid.height / 2 if is_level else x - laid.width / 2

    def _put(
        self,
        id: str,
        direction: str,
        inner: Mapping[str, _Laid],
        plain: Mapping[str, _Point],
        parts: Mapping[int, Sequence[int]],
        placed: layered.Arrangement,
        beside: Sequence[int],
    ) -> _Laid:
        """Turn what is arranged in rows to its direction, with the border around it and the boxes in it."""
        is_level, is_back = direction in ("LR", "RL"), direction in ("BT", "RL")
        title = _TITLE if id and self._chart.boxes[id].title else 0.0
        pad = _PAD if id else 2.0
        long = placed.along

        def at(across: float, along: float) -> _Point:
            along = long - along if is_back else along
            return (along + pad, across + pad + title) if is_level else (across + pad, along + pad + title)

        whole = (long, placed.across) if is_level else (placed.across, long)
        wide = max(whole[0], 1.1 * lettering.width(self._chart.boxes[id].title, _SMALL) if id else 0.0)
        slack = (wide - whole[0]) / 2
        laid = _Laid(wide + 2 * pad, whole[1] + 2 * pad + title)

        def shifted(across: float, along: float) -> _Point:
            x, y = at(across, along)
            return x + slack, y

        for one in plain:
            x, y = laid.places[one] = shifted(*placed.centers[one])
            if one in inner:
                self._move(laid, inner[one], one, x - inner[one].width / 2, y - inner[one].height / 2)
        for index, numbers in parts.items():
            if f" label {index}" in placed.centers:
                laid.labels[index] = shifted(*placed.centers[f" label {index}"])
            own = [
                Leg(shifted(station.across, station.start), shifted(station.across, station.end), is_level)
                for number in numbers
                for station in placed.routes[number]
            ]
            # What is known of the way lies in the boxes at its ends.
            starts, ends = laid.ways.get((index, True), []), laid.ways.get((index, False), [])
            is_out = id in self._around[self._chart.arrows[index].source]
            laid.ways[index, is_out] = [*starts, *own, *ends]
        for index in beside:
            arrow = self._chart.arrows[index]
            source, target = ((laid.places[one], self._chart.nodes.get(one)) for one in (arrow.source, arrow.target))
            boxes = [next(frame for frame in laid.frames if frame[0] == one) for one in self._ends[index]]
            laid.ways[index, True] = _across(source, target, boxes, is_level=not is_level)
            first, last = laid.ways[index, True]
            if arrow.label:
                laid.labels[index] = ((first.end[0] + last.start[0]) / 2, (first.end[1] + last.start[1]) / 2)
        return laid

    @staticmethod
    def _move(laid: _Laid, inner: _Laid, id: str, x: float, y: float) -> None:
        """Put a box that is arranged into the one around it."""
        laid.frames.append((id, x, y, inner.width, inner.height))
        laid.frames += ((one, x + left, y + top, *size) for one, left, top, *size in inner.frames)  # type: ignore[misc]
        laid.places |= {one: (x + left, y + top) for one, (left, top) in inner.places.items()}
        laid.labels |= {one: (x + left, y + top) for one, (left, top) in inner.labels.items()}
        for way, legs in inner.ways.items():
            laid.ways[way] = [
                Leg((x + leg.start[0], y + leg.start[1]), (x + leg.end[0], y + leg.end[1]), leg.is_level)
                for leg in legs
            ]


def _across(
    source: tuple[_Point, Node | None],
    target: tuple[_Point, Node | None],
    boxes: Sequence[tuple[str, float, float, float, float]],
    *,
    is_level: bool,
) -> list[Leg]:
    """Return the legs of an arrow from the side of one box to that of another beside it."""
    borders = [(left, left + width) if is_level else (top, top + height) for _, left, top, width, height in boxes]
    is_onward = borders[0] < borders[1]

    def leg(end: tuple[_Point, Node | None], border: tuple[float, float], *, is_first: bool) -> tuple[_Point, _Point]:
        (x, y), node = end
        is_far = is_onward == is_first  # the far side of the box, or the near one
        half = (node.width if is_level else node.height) / 2 if node else 0.0
        near, far = (x if is_level else y) + (half if is_far else -half), border[is_far]
        return ((near, y), (far, y)) if is_level else ((x, near), (x, far))

    first = leg(source, borders[0], is_first=True)
    last = leg(target, borders[1], is_first=False)
    return [Leg(*first, is_level), Leg(*last[::-1], is_level)]


def _line(arrow: Arrow, legs: Sequence[Leg], middle: _Point | None) -> Line:
    label: tuple[tuple[str, float, float], ...] = ()
    ground = None
    if middle and arrow.label:
        x, y = _rounded(middle)
        top = y - 14.0 * len(arrow.label) / 2
        label = tuple((line, x, round(top + 14 * at + 10.5, 1)) for at, line in enumerate(arrow.label))
        wide = max(lettering.width(line, _SMALL) for line in arrow.label) + 6
        ground = (round(x - wide / 2, 1), round(top - 1, 1), round(wide, 1), 14.0 * len(arrow.label) + 2)
    return Line(arrow, _path(legs), _head(legs) if arrow.has_head and arrow.kind != "none" else "", label, ground)


def _path(legs: Sequence[Leg]) -> str:
    def at(point: _Point) -> str:
        return f"{round(point[0], 1):g} {round(point[1], 1):g}"

    parts = [f"M{at(legs[0].start)}"]
    for index, leg in enumerate(legs):
        if index:
            (x, y), (to_x, to_y) = legs[index - 1].end, leg.start
            if abs(x - to_x) < 0.1 or abs(y - to_y) < 0.1:
                parts.append(f"L{at(leg.start)}")
            elif leg.is_level:
                middle = (x + to_x) / 2
                parts.append(f"C{at((middle, y))} {at((middle, to_y))} {at(leg.start)}")
            else:
                middle = (y + to_y) / 2
                parts.append(f"C{at((x, middle))} {at((to_x, middle))} {at(leg.start)}")
        if leg.end != leg.start:
            parts.append(f"L{at(leg.end)}")
    return "".join(parts)


def _head(legs: Sequence[Leg]) -> str:
    """Return the head of an arrow, which ends where its line does."""
    points = [point for leg in legs for point in (leg.start, leg.end)]
    x, y = points[-1]
    axis = 0 if legs[-1].is_level else 1
    before = next((point[axis] for point in reversed(points) if abs(point[axis] - points[-1][axis]) > 0.01), 0.0)
    way = 1 if points[-1][axis] > before else -1
    if axis == 0:
        return f"M{round(x, 1):g} {round(y, 1):g}l{-7 * way} -4v8Z"
    return f"M{round(x, 1):g} {round(y, 1):g}l-4 {-7 * way}h8Z"


def _in_words(chart: Chart) -> str:
    """Return what the arrows say, for those who don't see them."""

    def name(id: str) -> str:
        return " ".join(chart.nodes[id].lines) if id in chart.nodes else chart.boxes[id].title

    said = [f"{name(arrow.source)} to {name(arrow.target)}" for arrow in chart.arrows if arrow.kind != "none"]
    return "; ".join(said)[:1000]
