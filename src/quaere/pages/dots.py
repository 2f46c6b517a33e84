"""Plot measured quantities for the templates: a row for each arm, with a dot for each seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from quaere.content.results import Quantity, cell, mean, mean_and_range

_MARGIN = 0.02


@dataclass(frozen=True)
class Row:
    """An arm: its values in words, and the places of its dots in percent from the left."""

    arm: str
    values: str
    dots: tuple[float, ...]
    mean: float | None
    reported: float | None


@dataclass(frozen=True)
class Level:
    """A value to compare with, such as chance."""

    name: str
    value: str
    place: float


@dataclass(frozen=True)
class Plot:
    """A quantity as rows of dots on one axis, from `low` to `high`."""

    title: str
    low: str
    high: str
    rows: tuple[Row, ...]
    levels: tuple[Level, ...]


def plot(quantity: Quantity) -> Plot:
    """Place the values of a quantity on an axis that holds them all, those reported and compared with too."""
    shown = [*_finite(quantity), *quantity.reported.values(), *quantity.levels.values()]
    is_log = quantity.log and bool(shown) and min(shown) > 0
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)

    def scaled(value: float) -> float:
        return math.log(value) if is_log else value

    width = scaled(high) - scaled(low)

    def place(value: float) -> float:
        # The width of an axis from -1e308 to 1e308 is not finite.
        share = (scaled(value) - scaled(low)) / width if width and math.isfinite(width) else 0.5
        return round(100 * (_MARGIN + (1 - 2 * _MARGIN) * share), 1)

    rows = []
    for arm, values in quantity.arms.items():
        known = [value for value in values if value is not None]
        reported = quantity.reported.get(arm)
        rows.append(
            Row(
                arm,
                mean_and_range(values) + (f"; the paper: {cell(reported)}" if reported is not None else ""),
                tuple(map(place, known)),
                place(mean(known)) if known else None,
                None if reported is None else place(reported),
            )
        )
    others = {f"{arm} in the paper": value for arm, value in quantity.reported.items() if arm not in quantity.arms}
    levels = (Level(name, cell(value), place(value)) for name, value in {**quantity.levels, **others}.items())
    return Plot(quantity.title, cell(low), cell(high), tuple(rows), tuple(levels))


def _finite(quantity: Quantity) -> Iterator[float]:
    return (value for values in quantity.arms.values() for value in values if value is not None)
