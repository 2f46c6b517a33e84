"""Arrange a graph in rows: each edge leads from a row to a later one, with few crossings, around all other nodes.

The four steps of Sugiyama, Tagawa and Toda: rows, places for edges in the rows that they pass, an order within each row
by barycenters, and coordinates by least squares. Rows follow one another *along* the drawing, nodes of a row stand
*across* it. Time grows linearly with the nodes and the rows that edges pass.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul

_SWEEPS, _STEPS, _STILL = 12, 60, 0.25
# An edge that passes rows is straight before it is short.
_PULL = {0: 1.0, 1: 0.2, 2: 12.0}
_PORT = 14.0
_Near = tuple[Sequence[int], Sequence[float], float]


@dataclass(frozen=True)
class Station:
    """Where an edge passes a row: at `across`, straight from `start` to `end`."""

    across: float
    start: float
    end: float


@dataclass(frozen=True)
class Arrangement:
    """Where everything goes.

    Attributes:
        centers: The center of each node, across and along.
        routes: The stations of each edge, from the border of its source to that of its target.
        rows: Where each row starts and ends along the drawing.
        across: The whole size across.
        along: The whole size along.
    """

    centers: Mapping[str, tuple[float, float]]
    routes: tuple[tuple[Station, ...], ...]
    rows: tuple[tuple[float, float], ...]
    across: float
    along: float


def ranks(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the row of each node: one below the lowest that leads to it; an edge that closes a circle counts not.

    A node to which none leads stands just above the first to which it leads.
    """
    after: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        after[source].append(target)
    order, onward = _order(after)
    found = dict.fromkeys(after, 0)
    for node in order:
        for target in onward[node]:
            found[target] = max(found[target], found[node] + 1)
    led_to = {target for targets in onward.values() for target in targets}
    for node in order:
        if node not in led_to and onward[node]:
            found[node] = min(found[target] for target in onward[node]) - 1
    return found


def _order(after: Mapping[str, Sequence[str]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the nodes, each before those that it leads to, and what each leads to without closing a circle."""
    done: dict[str, None] = {}
    open_: dict[str, None] = {}
    onward: dict[str, list[str]] = {node: [] for node in after}
    for root in after:
        if root in done:
            continue
        path = [(root, iter(after[root]))]
        open_[root] = None
        while path:
            node, rest = path[-1]
            for target in rest:
                if target in open_:
                    continue
                onward[node].append(target)
                if target not in done:
                    open_[target] = None
                    path.append((target, iter(after[target])))
                    break
            else:
                path.pop()
                del open_[node]
                done[node] = None
    return list(reversed(done)), onward


class _Rows:
    """The rows with a slot for each node, and for each edge in a row that it passes."""

    def __init__(self, widths: Sequence[float], rows: Sequence[int], track: float) -> None:
        self.widths = list(widths)
        self.nodes = len(widths)
        self.row_of = list(rows)
        self.rows: list[list[int]] = [[] for _ in range(max(rows, default=-1) + 1)]
        for slot, row in enumerate(rows):
            self.rows[row].append(slot)
        self.before: list[list[int]] = [[] for _ in widths]
        self.after: list[list[int]] = [[] for _ in widths]
        self._track = track

    def lead(self, source: int, target: int, shared: dict[int, int] | None) -> list[int]:
        """Lead an edge through the rows between its ends; return its slots. Edges of one source may share theirs."""
        slots = [source]
        for row in range(self.row_of[source] + 1, self.row_of[target]):
            slot = None if shared is None else shared.get(row)
            if slot is None:
                slot = len(self.widths)
                self.widths.append(self._track)
                self.row_of.append(row)
                self.rows[row].append(slot)
                self.before.append([])
                self.after.append([])
                self._join(slots[-1], slot)
                if shared is not None:
                    shared[row] = slot
            slots.append(slot)
        self._join(slots[-1], target)
        return [*slots, target]

    def _join(self, one: int, other: int) -> None:
        self.after[one].append(other)
        self.before[other].append(one)

    def sort(self) -> None:
        """Sort each row by the barycenters of its neighbors, and keep the order with the fewest crossings."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            neighbors, rows = (self.before, self.rows) if sweep % 2 == 0 else (self.after, self.rows[::-1])
            for former, row in pairwise(rows):
                place = {slot: index / len(former) for index, slot in enumerate(former)}
                own = {slot: index / len(row) for index, slot in enumerate(row)}
                # Of an edge within a row, neither end decides.
                known = {slot: [place[one] for one in neighbors[slot] if one in place] for slot in row}
                row.sort(key=lambda slot: sum(known[slot]) / len(known[slot]) if known[slot] else own[slot])
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _crossings(self) -> int:
        count = 0
        for row, next_ in pairwise(self.rows):
            place = {slot: index for index, slot in enumerate(next_)}
            met: list[int] = []
            for slot in row:
                ends = [place[one] for one in self.after[slot] if one in place]
                count += sum(len(met) - bisect_right(met, end) for end in ends)
                for end in ends:
                    insort(met, end)
        return count

    def spread(self, gap: float) -> list[float]:
        """Return the place of each slot across: near its neighbors, and far enough from those beside it."""
        at = [0.0] * len(self.widths)
        for row in self.rows:
            whole = sum(self.widths[slot] + gap for slot in row)
            reached = -whole / 2
            for slot in row:
                at[slot] = reached + (self.widths[slot] + gap) / 2
                reached += self.widths[slot] + gap
        offsets = [self._offsets(row, gap) for row in self.rows]
        sides = [self._near(self.before), self._near(self.after)]
        both = self._near([one + other for one, other in zip(self.before, self.after, strict=True)])
        for sweep in range(_SWEEPS):
            self._settle(at, sides[sweep % 2], offsets, is_upward=sweep % 2 == 1)
        for sweep in range(_STEPS):
            if self._settle(at, both, offsets, is_upward=sweep % 2 == 1) < _STILL:
                break
        return at

    def _offsets(self, row: Sequence[int], gap: float) -> list[float]:
        """Return how far each slot of a row is from the first at least."""
        offsets: list[float] = []
        for index, slot in enumerate(row):
            apart = (self.widths[row[index - 1]] + self.widths[slot]) / 2 + gap if index else 0.0
            offsets.append((offsets[-1] if offsets else 0.0) + apart)
        return offsets

    def _near(self, side: Sequence[Sequence[int]]) -> list[_Near]:
        """Return the neighbors of each slot, how strongly each pulls at it, and all of them."""
        pulls = [
            [_PULL[(slot >= self.nodes) + (one >= self.nodes)] for one in neighbors]
            for slot, neighbors in enumerate(side)
        ]
        return [(neighbors, pull, sum(pull)) for neighbors, pull in zip(side, pulls, strict=True)]

    def _settle(
        self,
        at: list[float],
        near: Sequence[_Near],
        offsets: Sequence[Sequence[float]],
        *,
        is_upward: bool,
    ) -> float:
        """Move each slot as near to the middle of its neighbors as its row allows; return the longest way moved."""
        moved = 0.0
        for number in reversed(range(len(self.rows))) if is_upward else range(len(self.rows)):
            row = self.rows[number]
            wanted: list[float] = []
            weights: list[float] = []
            for slot in row:
                neighbors, pulls, pull = near[slot]
                wanted.append(sum(map(mul, [at[one] for one in neighbors], pulls)) / pull if pull else at[slot])
                weights.append(pull or 0.1)
            rising = _rising(wanted, weights, offsets[number])
            for slot, place, offset in zip(row, rising, offsets[number], strict=True):
                moved = max(moved, abs(place + offset - at[slot]))
                at[slot] = place + offset
        return moved


def _rising(wanted: Sequence[float], weights: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Return the values without their offsets that never fall and are nearest to what is wanted (pool and average)."""
    pools: list[tuple[float, float, int]] = []  # value, weight, how many
    for value, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, mass, count = value - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, heavy, more = pools.pop()
            mean = (mean * mass + other * heavy) / (mass + heavy)
            mass, count = mass + heavy, count + more
        pools.append((mean, mass, count))
    return [mean for mean, _, count in pools for _ in range(count)]


@dataclass(frozen=True)
class Edge:
    """An edge, with where it leaves its source and reaches its target across, from their centers, if that is fixed."""

    source: str
    target: str
    leaves: float | None = None
    reaches: float | None = None


def arrange(
    sizes: Mapping[str, tuple[float, float]],
    edges: Sequence[Edge],
    rows: Mapping[str, int],
    *,
    gap: float = 16.0,
    between: float = 36.0,
    track: float = 4.0,
    is_shared: bool = False,
    starts_left: bool = False,
    is_aligned: bool = False,
) -> Arrangement:
    """Arrange a graph.

    Args:
        sizes: Each node's size across and along.
        edges: The edges. One that leads to an earlier row is led back; one within a row goes from side to side.
        rows: The row of each node, from any number on; a row without nodes takes no place.
        gap: What is free between two nodes, or a node and an edge, of a row.
        between: What is free between two rows.
        track: The width of an edge that passes a row.
        is_shared: Whether edges of one source run together as far as they can.
        starts_left: Whether the first row is on the left, or at the top if the rows stand side by side.
        is_aligned: Whether the nodes of a row start side by side; otherwise their middles are in a line.
    """
    keys = list(sizes)
    number = {key: index for index, key in enumerate(keys)}
    compact = {row: index for index, row in enumerate(sorted(set(rows.values())))}
    drawn = _Rows([sizes[key][0] for key in keys], [compact[rows[key]] for key in keys], track)
    trunks: dict[int, dict[int, int]] = {}
    led: list[list[int]] = []
    for edge in edges:
        source, target = number[edge.source], number[edge.target]
        if drawn.row_of[source] == drawn.row_of[target]:
            led.append([source, target])
        elif drawn.row_of[source] < drawn.row_of[target]:
            led.append(drawn.lead(source, target, trunks.setdefault(source, {}) if is_shared else None))
        else:
            led.append(drawn.lead(target, source, None)[::-1])
    drawn.sort()
    at = drawn.spread(gap)
    oldest = drawn.rows[0] if drawn.rows else []
    if starts_left and sum(at[slot] for slot in oldest) / max(1, len(oldest)) > (min(at) + max(at)) / 2:
        at = [-place for place in at]
    left = min((at[slot] - drawn.widths[slot] / 2 for slot in range(len(at))), default=0.0)
    across = max((at[slot] + drawn.widths[slot] / 2 for slot in range(len(at))), default=0.0) - left
    at = [place - left for place in at]
    bands: list[tuple[float, float]] = []
    reached = 0.0
    for row in drawn.rows:
        long = max((sizes[keys[slot]][1] for slot in row if slot < len(keys)), default=0.0)
        bands.append((reached, reached + long))
        reached += long + between
    centers = {}
    for slot, key in enumerate(keys):
        start, end = bands[drawn.row_of[slot]]
        centers[key] = at[slot], start + sizes[key][1] / 2 if is_aligned else (start + end) / 2
    ports = _ports(edges, led, drawn, at, is_shared=is_shared)
    routes: list[tuple[Station, ...]] = []
    for edge, slots, (leaves, reaches) in zip(edges, led, ports, strict=True):
        first, last = sizes[edge.source], sizes[edge.target]
        (x, y), (to_x, to_y) = centers[edge.source], centers[edge.target]
        if drawn.row_of[slots[0]] == drawn.row_of[slots[-1]]:
            side = 1 if to_x > x else -1
            ends = (Station(x + side * first[0] / 2, y, y), Station(to_x - side * last[0] / 2, to_y, to_y))
            routes.append(ends)
            continue
        way = 1 if y < to_y else -1
        passed = [Station(at[slot], *bands[drawn.row_of[slot]][::way]) for slot in slots[1:-1]]
        start, end = y + way * first[1] / 2, to_y - way * last[1] / 2
        # Small nodes of a row reach its border in a straight line.
        out, into = bands[drawn.row_of[slots[0]]][::way][1], bands[drawn.row_of[slots[-1]]][::way][0]
        routes.append((Station(x + leaves, start, out), *passed, Station(to_x + reaches, into, end)))
    return Arrangement(centers, tuple(routes), tuple(bands), across, max(0.0, reached - between))


def _ports(
    edges: Sequence[Edge], led: Sequence[Sequence[int]], drawn: _Rows, at: Sequence[float], *, is_shared: bool
) -> list[tuple[float, float]]:
    """Return where each edge leaves and reaches its nodes: side by side, in the order in which they go on."""
    offsets = [[0.0, 0.0] for _ in edges]
    ends: dict[tuple[int, bool], list[tuple[float, int, int]]] = {}
    for index, (edge, slots) in enumerate(zip(edges, led, strict=True)):
        fixed = (edge.leaves, edge.reaches)
        for end, (slot, next_) in enumerate(((slots[0], slots[1]), (slots[-1], slots[-2]))):
            known = fixed[end]
            if known is not None:
                offsets[index][end] = known
            elif drawn.row_of[slot] != drawn.row_of[next_] and not (is_shared and end == 0):
                is_above = drawn.row_of[next_] < drawn.row_of[slot]
                ends.setdefault((slot, is_above), []).append((at[next_], index, end))
    for (slot, _), met in ends.items():
        step = min(_PORT, 0.7 * drawn.widths[slot] / len(met))
        for place, (_, index, end) in enumerate(sorted(met)):
            offsets[index][end] = (place - (len(met) - 1) / 2) * step
    return [(leaves, reaches) for leaves, reaches in offsets]


def path(route: Sequence[Station], *, is_turned: bool = False) -> str:
    """Return an edge as the path of an SVG; turned, the rows stand side by side."""

    def point(across: float, along: float) -> str:
        x, y = (along, across) if is_turned else (across, along)
        return f"{round(x, 1):g} {round(y, 1):g}"

    first, *rest = route
    parts = [f"M{point(first.across, first.start)}"]
    former = first
    if first.end != first.start:
        parts.append(f"L{point(first.across, first.end)}")
    for one in rest:
        if abs(one.across - former.across) > 0.05:
            middle = (former.end + one.start) / 2
            parts.append(f"C{point(former.across, middle)} {point(one.across, middle)} {point(one.across, one.start)}")
            if one.end != one.start:
                parts.append(f"L{point(one.across, one.end)}")
        else:
            parts.append(f"L{point(one.across, one.end)}")
        former = one
    return "".join(parts)
