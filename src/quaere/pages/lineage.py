"""The graph of papers that build on one another: what it rests on, and how it is drawn.

Everything is made from what summaries say, in time that grows linearly with cards and edges.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from quaere.content.states import State
from quaere.pages import layered, lettering
from quaere.pages.layered import Edge
from quaere.pages.summary import Summary

MOST = 150
"""Papers in one drawing; the list beside it holds all."""
_MOST_IN_ALL = 600
_MOST_AT_HOME, _MOST_BESIDE = 24, 6
_WIDE = 1150.0
_LETTERS, _SMALL = 12.0, 12.0
_YEARS, _HIGH = 44.0, 600.0
_GAP, _TRACK, _BETWEEN = 12.0, 3.0, 30.0
_INSET = 7.0
# A phone of 360 pixels shows this much without scaling it.
_NARROW, _NARROW_MOST, _RAIL, _YEAR = 326.0, 48, 160.0, 32.0
_ARRIVES, _CORNER = 12.0, 6.0
# The order of the segments of a bar.
_ORDER = (State.DEMONSTRATED, State.ANSWERED, State.UNVERIFIED, State.BROKEN, State.OPEN)


@dataclass(frozen=True)
class Kin:
    """What a lineage shows of a paper, so that it changes with nothing else of the paper's card.

    Attributes:
        slug, name, title, heading, year: Those of its summary.
        has_code: Whether a module implements it.
        builds_on: The slugs of the papers that it builds on.
        counts: How many of its questions have each state; states that none has are left out.
    """

    slug: str
    name: str
    title: str
    heading: Markup
    year: int | None
    has_code: bool
    builds_on: tuple[str, ...]
    counts: tuple[tuple[State, int], ...]

    @classmethod
    def of(cls, paper: Summary) -> Kin:
        """Return what a lineage shows of a paper."""
        counts = Counter(question.state for question in paper.questions)
        in_order = tuple((state, counts[state]) for state in _ORDER if counts[state])
        told = paper.slug, paper.name, paper.title, paper.heading, paper.year
        return cls(*told, bool(paper.module), paper.builds_on, in_order)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The name in lines."""
        return tuple(lettering.wrap(self.name, 104.0, _LETTERS, 2))

    @cached_property
    def box(self) -> tuple[float, float]:
        """The size of its box in pixels, across and down."""
        words = max(lettering.width(line, _LETTERS) for line in self.lines)
        counted = lettering.width(" ".join(f"✓ {number}" for _, number in self.counts), _SMALL)
        return round(max(words, counted, 36.0) + 20), 15.0 * len(self.lines) + (30.0 if self.counts else 12.0)

    @cached_property
    def digest(self) -> str:
        """A digest of all of it."""
        told = (self.slug, self.name, self.title, self.heading, self.year, self.has_code, self.builds_on, self.counts)
        return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True)
class Trouble:
    """The nearest paper that another rests on and that has an answer which doesn't hold; `state` is that answer's."""

    slug: str
    name: str
    state: State


@dataclass(frozen=True)
class Node:
    """A paper in a drawing.

    Attributes:
        slug, title, year: The paper.
        trouble: What it rests on that doesn't hold; None if all holds.
        is_here: Whether it is the paper of the page around the drawing.
        left, top, width, height: Its box.
        name: Its name in lines.
        counts: How many of its questions have each state.
        bar: The share of each state: where its segment starts, and how wide it is.
    """

    slug: str
    title: str
    year: int | None
    trouble: Trouble | None
    is_here: bool
    left: float
    top: float
    width: float
    height: float
    name: tuple[str, ...]
    counts: Mapping[State, int]
    bar: tuple[tuple[State, float, float], ...]


@dataclass(frozen=True)
class Year:
    """A year, and where it starts; turned, the years stand side by side."""

    label: str
    start: float


@dataclass(frozen=True)
class Drawing:
    """A drawing of papers.

    Attributes:
        width, height: Its size.
        nodes: The papers.
        edges: The edges: the slugs of the ends, and the path.
        years: Where the years start; empty if the rows are no years.
        left, top: Where the papers start, beside or below the years.
        is_turned: Whether time runs from left to right.
        years_at: Where the years stand, if it does not.
    """

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str, str], ...]
    years: tuple[Year, ...]
    left: float
    top: float
    is_turned: bool
    years_at: float = 0.0


@dataclass(frozen=True)
class Group:
    """Papers that are joined by edges, and the drawings of those that matter most; `narrow` is for a phone."""

    papers: tuple[Kin, ...]
    drawing: Drawing
    narrow: Drawing


def troubles(papers: Mapping[str, Kin]) -> dict[str, Trouble]:
    """Return what each paper rests on, however far back, that has an answer which is broken or else unverified.

    The nearest such paper stands for all; a paper for which all holds is left out.
    """
    after: dict[str, list[str]] = {slug: [] for slug in papers}
    for slug, paper in papers.items():
        for earlier in paper.builds_on:
            after[earlier].append(slug)
    found: dict[str, Trouble] = {}
    for state in (State.BROKEN, State.UNVERIFIED):
        reached: dict[str, Trouble] = {}
        waiting = deque(
            (slug, Trouble(slug, paper.name, state)) for slug, paper in papers.items() if state in dict(paper.counts)
        )
        while waiting:
            slug, trouble = waiting.popleft()
            for later in after[slug]:
                # In a circle, a paper would rest on itself.
                if later not in reached and later != trouble.slug:
                    reached[later] = trouble
                    waiting.append((later, trouble))
        found = {**reached, **found}
    return found


def groups(papers: Mapping[str, Kin]) -> list[Group]:
    """Return the papers that are joined by edges, the largest groups first, each with its drawing.

    If the drawings would hold too many papers in all, the smallest groups are left out.
    """
    known, left = troubles(papers), _MOST_IN_ALL
    made = []
    for joined in _joined(papers):
        chosen = choose(joined, min(MOST, left))
        left -= len(chosen)
        if len(chosen) < 2:
            break
        made.append(Group(tuple(joined), draw(chosen, known), draw_narrow(choose(chosen, _NARROW_MOST), known)))
    return made


def at_home(papers: Mapping[str, Kin]) -> Group | None:
    """Draw the papers with code, or else those that matter most, for the home page; None if no two are joined."""
    with_code = {slug: paper for slug, paper in papers.items() if paper.has_code}
    for some in (with_code, papers):
        chosen = {one.slug: one for one in choose(some.values(), _MOST_AT_HOME)}
        pairs = [(earlier, slug) for slug, paper in chosen.items() for earlier in paper.builds_on if earlier in chosen]
        if pairs:
            ends = {slug for pair in pairs for slug in pair}
            joined, known = tuple(paper for slug, paper in chosen.items() if slug in ends), troubles(papers)
            return Group(joined, draw(joined, known), draw_narrow(joined, known))
    return None


def _joined(papers: Mapping[str, Kin]) -> list[list[Kin]]:
    near: dict[str, list[str]] = {slug: list(paper.builds_on) for slug, paper in papers.items()}
    for slug, paper in papers.items():
        for earlier in paper.builds_on:
            near[earlier].append(slug)
    seen: set[str] = set()
    found = []
    for slug in papers:
        if slug in seen or not near[slug]:
            continue
        seen.add(slug)
        group = [slug]
        for one in group:
            fresh = [other for other in near[one] if other not in seen]
            seen.update(fresh)
            group += dict.fromkeys(fresh)
        found.append([papers[one] for one in group])
    return sorted(found, key=len, reverse=True)


def choose(papers: Iterable[Kin], most: int) -> list[Kin]:
    """Choose papers to draw: those with code, then those with the most edges."""
    papers = list(papers)
    degree = Counter(slug for paper in papers for slug in paper.builds_on)
    order = sorted(papers, key=lambda one: (not one.has_code, -degree[one.slug] - len(one.builds_on), one.slug))
    return order[:most]


def draw(papers: Iterable[Kin], known: Mapping[str, Trouble]) -> Drawing:
    """Draw papers by year with the edges among them, from left to right if they fit, else from top to bottom.

    Args:
        papers: The papers.
        known: What `troubles` returns.
    """
    chosen = _by_year(papers)
    pairs = _pairs(chosen)
    boxes = {slug: paper.box for slug, paper in chosen.items()}
    rows = _rows(chosen, pairs, {slug: high for slug, (_, high) in boxes.items()}, _HIGH)
    is_turned = sum(max(boxes[slug][0] for slug in row) + _BETWEEN for row in rows) <= _WIDE
    if not is_turned:
        rows = _rows(chosen, pairs, {slug: wide for slug, (wide, _) in boxes.items()}, _WIDE)
    return _drawn(chosen, pairs, rows, known, is_turned=is_turned)


def draw_narrow(papers: Iterable[Kin], known: Mapping[str, Trouble]) -> Drawing:
    """Draw papers below one another by year, with the edges on their left.

    Each paper has one line for all that builds on it, which leaves its box below and comes to theirs from above.

    Args:
        papers: The papers.
        known: What `troubles` returns.
    """
    chosen = _by_year(papers)
    pairs = _pairs(chosen)
    depth = layered.ranks(chosen, [(one, other) for one, other in pairs if chosen[one].year == chosen[other].year])
    order = sorted(chosen, key=lambda slug: (chosen[slug].year is None, chosen[slug].year or 0, depth[slug]))
    lines = _lines_beside({slug: row for row, slug in enumerate(order)}, pairs)
    step = min(10.0, _RAIL / (1 + max(lines.values(), default=0)))
    rail = step * (1 + max(lines.values(), default=0)) + _CORNER
    boxes = {slug: chosen[slug].box for slug in order}
    tops: dict[str, float] = {}
    years: dict[str, Year] = {}
    reached = 0.0
    for slug in order:
        label = str(chosen[slug].year or "?")
        if label not in years:
            reached += _GAP
            years[label] = Year(label, reached)
        tops[slug] = reached
        reached += boxes[slug][1] + _GAP
    edges = []
    for one, other in pairs:
        at = rail - step * (1 + lines[one])
        leaves, arrives = tops[one] + boxes[one][1] - _ARRIVES, tops[other] + _ARRIVES
        wide = min(_CORNER, step, abs(arrives - leaves) / 2)
        turn = wide if arrives > leaves else -wide
        path = f"M{rail:g} {leaves:g}H{at + wide:g}Q{at:g} {leaves:g} {at:g} {leaves + turn:g}"
        path += f"V{arrives - turn:g}Q{at:g} {arrives:g} {at + wide:g} {arrives:g}H{rail:g}"
        edges.append((one, other, path))
    nodes = tuple(
        _node(
            chosen[slug],
            known.get(slug),
            (rail + boxes[slug][0] / 2, tops[slug] + boxes[slug][1] / 2),
            boxes[slug],
            is_here=False,
        )
        for slug in order
    )
    return Drawing(_NARROW, reached, nodes, tuple(edges), tuple(years.values()), 0.0, 0.0, False, _NARROW - _YEAR)


def _by_year(papers: Iterable[Kin]) -> dict[str, Kin]:
    return {one.slug: one for one in sorted(papers, key=lambda one: (one.year is None, one.year or 0, one.slug))}


def _pairs(papers: Mapping[str, Kin]) -> list[tuple[str, str]]:
    return [(earlier, slug) for slug, one in papers.items() for earlier in one.builds_on if earlier in papers]


def _lines_beside(rows: Mapping[str, int], pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the place of each paper's line, counted from the boxes: the nearest that is free."""
    spans: dict[str, tuple[int, int]] = {}
    for one, other in pairs:
        first, last = spans.get(one, (rows[one], rows[one]))
        spans[one] = min(first, rows[other]), max(last, rows[other])
    taken: list[int] = []
    lines: dict[str, int] = {}
    for slug, (first, last) in sorted(spans.items(), key=lambda item: item[1]):
        line = next((line for line, until in enumerate(taken) if until <= first), len(taken))
        taken[line : line + 1] = [last]
        lines[slug] = line
    return lines


def beside(paper: Kin, before: Sequence[Kin], after: Sequence[Kin], known: Mapping[str, Trouble]) -> Drawing:
    """Draw a paper between some of those that it builds on and some of those that build on it."""
    first, last = (choose(papers, _MOST_BESIDE) for papers in (before, after))
    rows = [
        sorted((one.slug for one in row), key=[one.slug for one in all_].index)
        for row, all_ in ((first, before), ([paper], [paper]), (last, after))
    ]
    chosen = {one.slug: one for one in (*first, paper, *last)}
    pairs = [*((one.slug, paper.slug) for one in first), *((paper.slug, one.slug) for one in last)]
    return _drawn(chosen, pairs, [row for row in rows if row], known, is_turned=True, here=paper.slug)


def _drawn(
    papers: Mapping[str, Kin],
    pairs: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[str]],
    known: Mapping[str, Trouble],
    *,
    is_turned: bool,
    here: str = "",
) -> Drawing:
    """Draw papers in rows; the years are left out if there is a paper of the page, `here`."""
    boxes = {slug: paper.box for slug, paper in papers.items()}
    sizes = {slug: box[::-1] if is_turned else box for slug, box in boxes.items()}
    flat = {slug: index for index, row in enumerate(rows) for slug in row}
    in_order = {slug: sizes[slug] for row in rows for slug in row}
    edges = [Edge(earlier, later) for earlier, later in pairs]
    if here:
        placed = _in_columns(in_order, rows, pairs)
    else:
        placed = layered.arrange(
            in_order, edges, flat, gap=_GAP, between=_BETWEEN, track=_TRACK, is_shared=True, starts_left=True
        )
    left, top = (2.0, 2.0) if here else (2.0, 26.0) if is_turned else (_YEARS, 8.0)
    across, along = placed.across, placed.along
    years: dict[str, Year] = {}
    for index, row in enumerate(() if here else rows):
        label = str(papers[row[0]].year or "?")
        years.setdefault(label, Year(label, round(placed.rows[index][0], 1)))
    paths = [layered.path(route, is_turned=is_turned) for route in placed.routes]
    return Drawing(
        width=round((along if is_turned else across) + left + 8),
        height=round((across if is_turned else along) + top + 8),
        nodes=tuple(
            _node(
                paper,
                known.get(slug),
                placed.centers[slug][:: -1 if is_turned else 1],
                boxes[slug],
                is_here=slug == here,
            )
            for slug, paper in papers.items()
        ),
        edges=tuple((*pair, path) for pair, path in zip(pairs, paths, strict=True)),
        years=tuple(years.values()),
        left=left,
        top=top,
        is_turned=is_turned,
    )


def _in_columns(
    sizes: Mapping[str, tuple[float, float]], rows: Sequence[Sequence[str]], pairs: Sequence[tuple[str, str]]
) -> layered.Arrangement:
    """Arrange rows each of which is joined to the next only: thousands of cards have such a drawing."""
    wholes = [sum(sizes[slug][0] + _GAP for slug in row) - _GAP for row in rows]
    across = max(wholes)
    centers: dict[str, tuple[float, float]] = {}
    bands: dict[str, tuple[float, float]] = {}
    along = 0.0
    for row, whole in zip(rows, wholes, strict=True):
        long, reached = max(sizes[slug][1] for slug in row), (across - whole) / 2
        for slug in row:
            centers[slug] = reached + sizes[slug][0] / 2, along + long / 2
            bands[slug] = along, along + long
            reached += sizes[slug][0] + _GAP
        along += long + _BETWEEN
    routes = []
    for one, other in pairs:
        (x, y), (to_x, to_y) = centers[one], centers[other]
        first = layered.Station(x, y + sizes[one][1] / 2, bands[one][1])
        routes.append((first, layered.Station(to_x, bands[other][0], to_y - sizes[other][1] / 2)))
    return layered.Arrangement(centers, tuple(routes), (), across, along - _BETWEEN)


def _rows(
    papers: Mapping[str, Kin], pairs: Sequence[tuple[str, str]], widths: Mapping[str, float], limit: float
) -> list[list[str]]:
    """Return the rows: a year’s papers, each below those of the year that it builds on; none is too wide."""
    within = [(one, other) for one, other in pairs if papers[one].year == papers[other].year]
    depth = layered.ranks(papers, within)
    by_row: dict[tuple[bool, int, int], list[str]] = {}
    last: dict[str, tuple[bool, int, int]] = {}
    for slug, paper in papers.items():
        # The first of a year stand in its first row.
        by_row.setdefault((paper.year is None, paper.year or 0, depth[slug]), []).append(slug)
    row_of = {slug: row for row, slugs in by_row.items() for slug in slugs}
    for one, other in pairs:
        last[one] = max(last.get(one, row_of[one]), row_of[other])
    rows: list[list[str]] = []
    passing: set[str] = set()
    for row in sorted(by_row):
        passing = {slug for slug in passing if last[slug] > row}
        free = limit - len(passing) * (_GAP + _TRACK)
        rows += _parted(by_row[row], widths, max(free, limit / 3))
        passing |= {slug for slug in by_row[row] if last.get(slug, row) > row}
    return rows


def _parted(slugs: Sequence[str], widths: Mapping[str, float], limit: float) -> Iterator[list[str]]:
    whole = sum(widths[slug] + _GAP for slug in slugs)
    # As many in each as in the others.
    share = whole / max(1, -(-whole // limit))
    part: list[str] = []
    reached = 0.0
    for slug in slugs:
        wide = widths[slug] + _GAP
        if part and (reached + wide > limit or reached >= share):
            yield part
            part, reached = [], 0.0
        part.append(slug)
        reached += wide
    yield part


def _node(
    paper: Kin, trouble: Trouble | None, center: tuple[float, ...], box: tuple[float, float], *, is_here: bool
) -> Node:
    counts = dict(paper.counts)
    number = sum(counts.values())
    bar: list[tuple[State, float, float]] = []
    reached = _INSET
    for state, many in counts.items():
        wide = (box[0] - 2 * _INSET) * many / number
        bar.append((state, round(reached, 1), round(wide, 1)))
        reached += wide
    return Node(
        slug=paper.slug,
        title=paper.title,
        year=paper.year,
        trouble=trouble,
        is_here=is_here,
        left=round(center[0] - box[0] / 2, 1),
        top=round(center[1] - box[1] / 2, 1),
        width=box[0],
        height=box[1],
        name=paper.lines,
        counts=counts,
        bar=tuple(bar),
    )
