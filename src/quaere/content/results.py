"""The result of an experiment: tables, figures as data, and the outcome of each claim.

An experiment returns a `Report`. A `Result` adds where, when and on what it ran, and is stored as one JSON file.
Figures are stored as data: every point of every curve is in the file, and is drawn when the site is built.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import fmean
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator


def _finite(value: Any) -> Any:
    """Round a number to six digits; return None for one that JSON can't store, such as a loss that diverged.

    A whole number, such as a count of parameters, keeps all its digits.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if value.is_integer() else float(f"{value:.6g}")
    return value


Number = Annotated[float | None, BeforeValidator(_finite)]
Cell = Annotated[int | float | str | None, BeforeValidator(_finite)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Outcome(StrEnum):
    """What came of a claim at the size that was run."""

    YES = "reproduced"
    PARTLY = "partly"
    NO = "not reproduced"
    NO_VERDICT = "no verdict at this size"
    NO_EXPERIMENT = "no experiment"

    @property
    def is_verdict(self) -> bool:
        """Tell whether the claim was judged."""
        return self in (Outcome.YES, Outcome.PARTLY, Outcome.NO)


class Quantity(_Part):
    """A measured quantity: for each arm one value a seed; null for a value that is not finite."""

    name: Text = Field(description="what was measured, as on the axis of a plot")
    unit: str = ""
    better: Annotated[Literal["higher", "lower", ""], Field(description="the direction, if there is one")] = ""
    arms: Mapping[Text, tuple[Number, ...]] = Field(min_length=1)
    reported: Annotated[Mapping[str, FiniteFloat], Field(description="the paper's values, if on the same scale")] = {}
    levels: Annotated[Mapping[str, FiniteFloat], Field(description="values to compare with, such as chance")] = {}
    log: Annotated[bool, Field(description="whether the axis is logarithmic")] = False

    @property
    def title(self) -> str:
        """What was measured, in which unit, and which direction is better."""
        direction = f"{self.better} is better" if self.better else ""
        notes = ", ".join(note for note in (self.unit, direction, "logarithmic" if self.log else "") if note)
        return f"{self.name} ({notes})" if notes else self.name

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for arm, values in self.arms.items():
            if not values:
                raise ValueError(f"no value of the arm `{arm}` in `{self.name}`")
        return self


class Gate(_Part):
    """A condition of any verdict, such as that all arms have converged: without it the claim's regime was not met."""

    needs: Text = Field(description="the condition, as a sentence")
    is_met: bool
    measured: Annotated[str, Field(description="the numbers that decided")] = ""


class Finding(_Part):
    """The outcome of a paper's claim, with what was measured; there is no verdict unless all gates are met."""

    claim: Name = Field(description="the claim's id on the card")
    outcome: Outcome
    rule: Annotated[str, Field(description="the criterion of the outcome, as a sentence")] = ""
    ran: Annotated[str, Field(description="what was run, in a line: data, size, steps, seconds")] = ""
    quantities: tuple[Quantity, ...] = ()
    gates: tuple[Gate, ...] = ()
    needed: Annotated[str, Field(description="what a verdict would take, if there is none")] = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        was_run = bool(self.rule and self.ran and self.quantities)
        if self.outcome.is_verdict:
            if not was_run:
                raise ValueError(f"a verdict on `{self.claim}` needs a rule, what was run, and what was measured")
            if unmet := [gate.needs for gate in self.gates if not gate.is_met]:
                raise ValueError(f"a verdict on `{self.claim}`, of which a gate is not met: {unmet[0]}")
        elif not self.needed:
            raise ValueError(f"no verdict on `{self.claim}`, and not what one would take")
        if self.outcome is Outcome.NO_EXPERIMENT and (self.quantities or self.gates):
            raise ValueError(f"measured values on `{self.claim}`, of which there is no experiment")
        return self


class Series(_Part):
    """A curve: one y for each x and each seed; null where there is none."""

    name: Text
    x: tuple[float, ...]
    runs: tuple[tuple[Number, ...], ...] = Field(description="a list for each seed, as long as x")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for run in self.runs:
            if len(run) != len(self.x):
                raise ValueError(f"{len(run)} values for {len(self.x)} places of the curve `{self.name}`")
        return self

    @classmethod
    def of(cls, name: str, curves: Sequence[Sequence[Mapping[str, Any]]], y: str, x: str = "step") -> Self:
        """Return one measure of several runs as a series; each point of a run has numbers by name.

        A run that ended before the others, at a place of the longest, has nulls from there on.
        """
        longest = max(curves, key=len)
        return cls(
            name=name,
            x=tuple(point[x] for point in longest),
            runs=tuple(
                tuple(curve[place][y] if place < len(curve) else None for place in range(len(longest)))
                for curve in curves
            ),
        )


class _Figure(_Part):
    id: Name
    title: Text
    caption: Text = Field(description="what to look at (Markdown)")
    alt: Text = Field(description="alternative text: the shape of the curves, with numbers")


class Lines(_Figure):
    """Curves: the mean over seeds, each seed as a faint line, and a band from the lowest to the highest."""

    kind: Literal["lines"] = "lines"
    x: Text = Field(description="the axis's name, with its unit")
    y: Text
    log: Annotated[tuple[Literal["x", "y"], ...], Field(description="axes that are logarithmic")] = ()
    series: tuple[Series, ...]
    levels: Annotated[Mapping[str, float], Field(description="named horizontal lines, such as chance")] = {}


class Heatmap(_Figure):
    """A heat map, such as attention weights by query (rows) and key (columns)."""

    kind: Literal["heatmap"] = "heatmap"
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    x: Annotated[Text, Field(description="what the columns are")] = "key"
    y: Annotated[Text, Field(description="what the rows are")] = "query"
    values: tuple[tuple[Number, ...], ...]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        rows, columns = len(self.rows), len(self.columns)
        if len(self.values) != rows or any(len(row) != columns for row in self.values):
            raise ValueError(f"the map `{self.id}` is not {rows} by {columns}")
        return self


class Box(_Part):
    """A rectangle on a picture, in pixels from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float
    label: str = ""
    kind: Literal["true", "found"] = "found"


class Picture(_Part):
    """An image with boxes drawn on it."""

    title: Text
    png: Text = Field(description="the image as PNG, in Base64")
    boxes: tuple[Box, ...] = ()


class Pictures(_Figure):
    """Images side by side."""

    kind: Literal["pictures"] = "pictures"
    pictures: tuple[Picture, ...]


Figure = Annotated[Lines | Heatmap | Pictures, Field(discriminator="kind")]


class Table(_Part):
    """Rows of numbers and words."""

    title: Text
    columns: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} in a table of {len(self.columns)} columns, `{self.title}`")
        return self


class Report(_Part):
    """What an experiment returns."""

    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    seeds: tuple[int, ...]
    settings: Annotated[Mapping[str, Any], Field(description="the sizes that were run: steps, widths, lengths")] = {}
    notes: Annotated[str, Field(description="further notes for the reader (Markdown)")] = ""


class Result(Report):
    """A report with its provenance."""

    schema_version: Literal[3] = Field(3, alias="schema")
    experiment: Text
    size: Text
    key: Text = Field(description="a hash of the code that the experiment imports")
    commit: str
    at: Text = Field(description="when it ended, UTC, ISO 8601")
    seconds: Number
    device: Text
    accelerator: Annotated[Literal["cuda", "mps", ""], Field(description="empty on a CPU")] = ""
    versions: Mapping[str, str]

    @property
    def stem(self) -> str:
        """The name of the result's file: results are kept by size, and by device where the size leaves it open."""
        device = f"-{self.accelerator}" if self.accelerator and self.size != "gpu" else ""
        return f"{self.experiment}-{self.size}{device}"

    def json_text(self) -> str:
        """Return the file's text: one line for each list of numbers, so that versions of it can be compared."""
        text = json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False)
        # Innermost lists, of numbers and nulls, come on one line each.
        return re.sub(r"\[[\s\d.,eE+\-nul]*\]", lambda match: re.sub(r"\s+", " ", match[0]), text) + "\n"


SIZES = ("small", "gpu", "full")
"""The sizes whose results are kept, from the smallest."""


def largest_first(results: Iterable[Result]) -> tuple[Result, ...]:
    """Sort results by size, the largest first, and those of one size by time, the newest first."""
    return tuple(sorted(results, key=lambda one: (SIZES.index(one.size), one.at), reverse=True))


def read(text: str) -> Result:
    """Read what `Result.json_text` wrote.

    Raises:
        pydantic.ValidationError: The text is not that.
    """
    return Result.model_validate_json(text)


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """Format the mean over seeds with the lowest and the highest value, as in "0.912 (0.893 to 0.934)"."""
    mean, lowest, highest = sum(values) / len(values), min(values), max(values)
    said = f"{mean:{form}} ({lowest:{form}} to {highest:{form}})" if len(values) > 1 else f"{mean:{form}}"
    return said.replace("nan", "–")


def mean_and_range(values: Sequence[float | None]) -> str:
    """Say the mean over seeds, with the lowest and the highest; there is none if a value is not finite."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return f"{len(values) - len(known)} of {len(values)} seeds not finite"
    middle, lowest, highest = (cell(_as_count(value)) for value in (mean(known), min(known), max(known)))
    return middle if lowest == highest else f"{middle} ({lowest} to {highest})"


def mean(values: Sequence[float]) -> float:
    """Return the mean of some values, also where their sum is too large for a number."""
    with contextlib.suppress(OverflowError):
        return fmean(values)
    # Rounding may lead beyond the largest number.
    return max(min(values), min(max(values), sum(value / len(values) for value in values)))


def _as_count(value: float) -> float | int:
    """Return a whole number as such, so that all its digits are shown."""
    return int(value) if value == int(value) else value


def encoded(image: _Image) -> str:
    """Encode an image, such as Pillow's, as PNG in Base64."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


class _Image(Protocol):
    def save(self, fp: io.BytesIO, format: str, *, optimize: bool) -> None: ...


def cell(value: float | str | None) -> str:
    """Format a table's cell; numbers are rounded."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
