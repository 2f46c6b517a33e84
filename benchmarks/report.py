"""What a run found, as the tables and figures of a result."""

import datetime
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks import measure
from benchmarks.row import Measured
from benchmarks.rows.performer import LENGTHS
from quaere.content.results import Lines, Report, Result, Series, Table
from quaere.project import Project
from quaere.running import hardware, verify

MEGA = 1e6
COLUMNS = (
    "row",
    "unit",
    "ours, a second",
    "peer",
    "peer, a second",
    "ratio",
    "quartiles",
    "memory, ours (MB)",
    "memory, peer (MB)",
    "share of product rate",
    "remark",
)
NOTE = (
    "Ratio: how many times as fast ours is, the median of pairs that were run in turn, with its quartiles. Memory: by "
    "how much it grows at most, beyond weights and inputs. Share: the operations a second that ours takes in products, "
    "as a share of what a product of two large matrices reaches beside the row, on the same threads."
)
GROWTH = "1 is linear, 2 quadratic. The exact attention is torch's fused kernel, which makes no matrix of weights."
STEEPEST = 1.1
STEEPER = "Ours is steeper in time than the 1.1 that is aimed at; not profiled yet."
VERSIONS = ("torch", "numpy", "transformers", "performer-pytorch")


def cells(one: Measured) -> tuple[str | float, ...]:
    """Return a row of the table."""
    low, high = one.times.quartiles
    return (
        one.setting.named(one.row.name),
        one.row.unit,
        one.items / one.times.ours,
        one.row.peer,
        one.items / one.times.theirs,
        one.times.ratio,
        f"{low:.2f} to {high:.2f}",
        one.memory[0] / MEGA,
        one.memory[1] / MEGA,
        one.share,
        one.remark,
    )


def line(one: Measured) -> str:
    """Return what is printed of a row as soon as it has been measured."""
    low, high = one.times.quartiles
    ours, theirs = (f"{one.items / seconds:,.4g}" for seconds in (one.times.ours, one.times.theirs))
    memory = f"{one.memory[0] / MEGA:.4g} and {one.memory[1] / MEGA:.4g} MB"
    return (
        f"{one.setting.named(one.row.name):22} {one.times.ratio:5.2f} ({low:.2f} to {high:.2f}, "
        f"{len(one.times.pairs)} pairs)  {ours} and {theirs} {one.row.unit} a second  {memory}  "
        f"share {one.share:.2f}  {one.remark}"
    )


def summarize(rows: Sequence[Measured], minutes: float) -> Report:
    """Return the tables and the figures of what has been measured."""
    table = Table(title="Ours and peers", columns=COLUMNS, rows=tuple(map(cells, rows)), note=NOTE)
    what = Table(title="What is measured", columns=("row", "what"), rows=tuple(_described(rows).items()))
    settings: dict[str, Any] = {"minutes": minutes, "threads": torch.get_num_threads()}
    for dtype in dict.fromkeys((one.setting.device, one.setting.dtype) for one in rows):
        rate = statistics.median(one.rate for one in rows if (one.setting.device, one.setting.dtype) == dtype)
        settings[f"product rate, {dtype[0]}, {dtype[1]} (operations a second)".replace("torch.", "")] = rate
    scaling, figures = performers(rows)
    return Report(tables=(table, *scaling, what), figures=figures, seeds=(0,), settings=settings)


def _described(rows: Sequence[Measured]) -> dict[str, str]:
    return {one.row.name: one.row.what for one in rows}


def performers(rows: Sequence[Measured]) -> tuple[tuple[Table, ...], tuple[Lines, ...]]:
    """Return how time and memory of FAVOR+, of the public one and of exact attention grow with the length."""
    of_cpu = {one.row.name: one for one in rows if one.setting.device == "cpu"}
    pairs = [(of_cpu.get(f"performer-{name}"), of_cpu.get(f"performer-{name}-exact")) for name in LENGTHS]
    complete = [(public, exact) for public, exact in pairs if public and exact]
    if len(complete) < len(LENGTHS):
        return (), ()
    lengths = tuple(map(float, LENGTHS.values()))
    seconds = {
        "FAVOR+, ours": [public.times.ours for public, _ in complete],
        "FAVOR+, performer-pytorch": [public.times.theirs for public, _ in complete],
        "exact attention": [exact.times.theirs for _, exact in complete],
    }
    bytes_held = {
        "FAVOR+, ours": [public.memory[0] / MEGA for public, _ in complete],
        "FAVOR+, performer-pytorch": [public.memory[1] / MEGA for public, _ in complete],
        "exact attention": [exact.memory[1] / MEGA for _, exact in complete],
    }
    growth = tuple(
        (name, measure.slope(lengths[1:], seconds[name][1:]), measure.slope(lengths[1:], bytes_held[name][1:]))
        for name in seconds
    )
    table = Table(
        title="Growth with the length, from 4,096 positions on",
        columns=("attention", "power of the length, time", "power of the length, memory"),
        rows=growth,
        note=" ".join([GROWTH, STEEPER] if growth[0][1] >= STEEPEST else [GROWTH]),
    )
    return (table,), (
        _lines("time", "Seconds a call", "s", lengths, seconds, {name: time for name, time, _ in growth}),
        _lines("memory", "Peak memory", "MB", lengths, bytes_held, {name: memory for name, _, memory in growth}),
    )


def _lines(
    what: str,
    title: str,
    unit: str,
    lengths: tuple[float, ...],
    values: dict[str, list[float]],
    powers: dict[str, float],
) -> Lines:
    grown = "; ".join(
        f"{name}: {of[0]:.3g} {unit} at {lengths[0]:,.0f} and {of[-1]:.3g} {unit} at {lengths[-1]:,.0f}"
        for name, of in values.items()
    )
    steepness = ", ".join(f"{name} {power:.2f}" for name, power in powers.items())
    return Lines(
        id=f"performer-{what}",
        title=f"{title} of attention against the length",
        caption=f"On both axes a step is a factor, so that the slope is the power of growth. It is: {steepness}.",
        alt=f"{title} against the number of positions, one line each. {grown}.",
        x="positions",
        y=f"{title.lower()} ({unit})",
        log=("x", "y"),
        series=tuple(Series(name=name, x=lengths, runs=(tuple(of),)) for name, of in values.items()),
    )


def result(found: Report, root: Path, device: str, seconds: float) -> Result:
    """Return what was found, with where it comes from."""
    project = Project.find(root)
    versions = {name: metadata.version(name) for name in VERSIONS}
    return Result(
        **dict(found),
        schema=3,
        experiment="benchmarks",
        size=device,
        key=project.read()[0].code_key,
        commit=verify.commit(root),
        at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        device=hardware.describe(device),
        versions={**project.versions, **versions},
    )
