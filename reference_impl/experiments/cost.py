"""Seconds and peak memory of linear, exact and identity attention against the length of the sequence.

All arms of a length are timed interleaved in one process. Memory is the resident set that the operating system
reports: each arm runs at increasing lengths in a process of its own, and its peak is read after each length, so that
the workspace of kernels counts too.
"""

import itertools
import json
import math
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from quaere.content.results import Finding, Lines, Series, Table
from quaere.running.experiments import Run
from reference_impl.experiments.judging import outcome
from reference_impl.experiments.timing import time_in_turns
from reference_impl.layers.attention import MultiHeadAttention
from reference_impl.performer import (
    FavorAttention,
    favor_attention,
    gaussian_orthogonal_random_matrix,
    replace_attention,
)
from reference_impl.transformer import EncoderLayer

FAVOR, CAUSAL, FUSED, MATRIX, IDENTITY = "FAVOR+", "FAVOR+, causal", "exact, fused", "exact, as a matrix", "identity"
NB_FEATURES = 256
"""The number of random directions wherever time and memory are measured: the public code's default."""

MODULE = "reference_impl.experiments.cost"
"""The module from which a process that measures memory imports `peaks_per_process`, also in a notebook."""

NEARLY_LINEAR, CLOSE = 1.15, 2.0
"""The largest power of the length that counts as nearly linear, and the largest ratio that counts as close."""

NAMES = {"attention": "attention alone", "layer": "a whole layer"}

Arm = Callable[..., Tensor]


@dataclass(frozen=True)
class Timing:
    """Lengths and repeats of the timing.

    Attributes:
        lengths: Lengths for attention alone; the plain matrix is made up to `max_matrix_length`.
        layer_lengths: Lengths for a whole layer.
        fit_from: The smallest length in the fit of the powers.
        repeats: Repeats of each timing; from the length `long_from` on, `long_repeats`.
    """

    lengths: tuple[int, ...]
    max_matrix_length: int
    layer_lengths: tuple[int, ...]
    fit_from: int
    repeats: int
    long_repeats: int
    long_from: int


class IdentityAttention(MultiHeadAttention):
    """Attention whose output at each position is its own value: a lower bound on the cost of a layer.

    Source: Section 4.1 and Figure 3, where it is called X or OPT

    Args:
        attention: An exact attention; its value and output layers are shared.
    """

    def __init__(self, attention: MultiHeadAttention) -> None:
        super().__init__(attention.query.weight.shape[1], attention.heads)
        self.value, self.output = attention.value, attention.output

    def forward(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b m d"],
        value: Float[Tensor, "b m d"],
        mask: Any = None,
    ) -> Float[Tensor, "b n d"]:
        """Return the projected values; queries and keys are not computed."""
        return self.output(self.value(value))


def build_arms(what: str, device: str) -> dict[str, Arm]:
    """Return the functions to time, by name: of queries, keys and values, or of a layer's input."""
    torch.manual_seed(0)
    if what == "layer":
        exact = EncoderLayer(512, 8, 2048, dropout=0.0).to(device).eval()
        favored = replace_attention(exact, partial(FavorAttention, nb_features=NB_FEATURES))
        return {FAVOR: favored.eval(), FUSED: exact, IDENTITY: replace_attention(exact, IdentityAttention).eval()}
    projection = gaussian_orthogonal_random_matrix(NB_FEATURES, 64).to(device)
    return {
        FAVOR: lambda q, k, v: favor_attention(q, k, v, projection),
        CAUSAL: lambda q, k, v: favor_attention(q, k, v, projection, causal=True),
        FUSED: F.scaled_dot_product_attention,
        MATRIX: lambda q, k, v: (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v,
    }


def build_inputs(what: str, length: int, device: str) -> list[Tensor]:
    """Return random arguments for the arms."""
    torch.manual_seed(0)
    shape = (1, 1, 1, length, 512) if what == "layer" else (3, 1, 1, length, 64)
    return (
        list(torch.randn(shape, device=device).unbind(0))
        if what != "layer"
        else [torch.randn(1, length, 512, device=device)]
    )


@torch.no_grad()
def measure_seconds(what: str, length: int, timing: Timing, device: str) -> dict[str, list[float]]:
    """Time all arms at one length, interleaved."""
    ready, given = build_arms(what, device), build_inputs(what, length, device)
    if length > timing.max_matrix_length:
        ready.pop(MATRIX, None)
    repeats = timing.long_repeats if length >= timing.long_from else timing.repeats
    arms = {name: lambda given, arm=arm: arm(*given) for name, arm in ready.items()}
    return time_in_turns(arms, [build_inputs(what, 256, device), *[given] * repeats], device)


def measure_memory(
    lengths: Mapping[str, Mapping[str, Sequence[int]]], device: str
) -> dict[str, dict[str, list[float]]]:
    """Return the peak MiB of each arm at each of its lengths, inputs included, measured in fresh processes.

    Args:
        lengths: For attention and for a layer, the lengths of each arm.
        device: Where to compute.
    """
    code = f"import json, sys; from {MODULE} import peaks_per_process as run"
    code += "; print(json.dumps(run(*json.loads(sys.argv[1]))))"
    command = [sys.executable, "-c", code, json.dumps([lengths, device])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # In a session of its own, where a terminal's Ctrl-C does not reach it: the run ends the piece in hand.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, start_new_session=True)
    return json.loads(done.stdout.splitlines()[-1])


def peaks_per_process(
    lengths: Mapping[str, Mapping[str, Sequence[int]]], device: str
) -> dict[str, dict[str, list[float]]]:
    """Measure each arm's peaks in a process of its own, forked before anything is computed."""
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return {
            what: {arm: pool.apply(measure_peaks, (what, arm, of_arm, device)) for arm, of_arm in arms_of.items()}
            for what, arms_of in lengths.items()
        }


@torch.no_grad()
def measure_peaks(what: str, arm: str, lengths: Sequence[int], device: str) -> list[float]:
    """Run an arm at increasing lengths, and return by how much each raises the process's peak memory."""
    run = build_arms(what, device)[arm]
    run(*build_inputs(what, 256, device))
    # Starting up left a mark above what is held now. This much more lifts the process to a mark of its own.
    ballast = torch.ones(2**24, device=device)
    start, found = _mark(device), []
    for length in sorted(lengths):
        run(*build_inputs(what, length, device))
        found.append((_mark(device) - start) / 2**20)
    del ballast
    return found


def _mark(device: str) -> int:
    """Return the peak memory of this process in bytes."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@dataclass(frozen=True)
class Cost:
    """Seconds and MiB of all arms, for attention alone or a whole layer.

    Attributes:
        what: Which of the two.
        fit_from: The smallest length in the fit of the powers.
        seconds: For each arm and length, the times of all repeats.
        mebibytes: For each arm and length, the peak.
    """

    what: str
    fit_from: int
    seconds: Mapping[str, Mapping[int, Sequence[float]]]
    mebibytes: Mapping[str, Mapping[int, float]]

    def medians(self, arm: str) -> dict[int, float]:
        """Return an arm's median seconds by length."""
        return {length: float(np.median(times)) for length, times in self.seconds[arm].items()}

    def table(self) -> Table:
        """Return the table of fitted powers and of the cost at the longest length."""
        rows: list[tuple[str | float, ...]] = []
        for arm in self.seconds:
            times, held = self.medians(arm), self.mebibytes[arm]
            longest = max(times)
            slopes = [fit_power(times, self.fit_from), fit_power(held, self.fit_from)]
            rows.append(
                (
                    arm,
                    longest,
                    times[longest],
                    min(self.seconds[arm][longest]),
                    max(self.seconds[arm][longest]),
                    held[longest],
                    *slopes,
                )
            )
        columns = (
            "arm",
            "longest",
            "seconds, median",
            "lowest",
            "highest",
            "MiB at peak",
            "power of length, time",
            "power, memory",
        )
        pays = describe_crossover(crossover_length(self.medians(FAVOR), self.medians(FUSED)))
        return Table(
            title=f"Cost of {NAMES[self.what]} at its longest length",
            columns=columns,
            rows=tuple(rows),
            note=f"FAVOR+ is faster than the fused kernel {pays}. Powers are fitted from {self.fit_from:,} positions "
            "on.",
        )

    def figures(self) -> tuple[Lines, Lines]:
        """Plot seconds and MiB against the length."""
        times = tuple(timing_series(arm, of_length) for arm, of_length in self.seconds.items())
        held = tuple(
            # A logarithm has no place for what was too little to be seen.
            Series(name=arm, x=tuple(of_length), runs=(tuple(most or None for most in of_length.values()),))
            for arm, of_length in self.mebibytes.items()
        )
        x, steep = "length (positions)", "Linear is a decade up for a decade across; quadratic, two."
        return (
            Lines(
                id=f"seconds-of-{self.what}",
                title=f"Seconds of {NAMES[self.what]}",
                caption=f"Each repeat faintly, and their mean. {steep}",
                alt=f"Seconds against length, both logarithmic. {describe_ends(times, 's')}",
                x=x,
                y="seconds",
                log=("x", "y"),
                series=times,
            ),
            Lines(
                id=f"memory-of-{self.what}",
                title=f"Peak memory of {NAMES[self.what]}",
                caption=f"The highest resident set above the start, inputs included. {steep}",
                alt=f"MiB against length, both logarithmic. {describe_ends(held, 'MiB')}",
                x=x,
                y="MiB",
                log=("x", "y"),
                series=held,
            ),
        )


def measure_costs(run: Run, timing: Timing, device: str) -> tuple[Cost, Cost]:
    """Measure attention alone, and a whole layer."""
    timed: dict[str, dict[str, dict[int, list[float]]]] = {}
    for what, lengths in (("attention", timing.lengths), ("layer", timing.layer_lengths)):
        by_arm = timed[what] = {}
        for length in lengths:
            found = run.piece(f"seconds of {what} at {length}", partial(measure_seconds, what, length, timing, device))
            for arm, times in found.items():
                by_arm.setdefault(arm, {})[length] = times
    lengths_of = {what: {arm: list(times) for arm, times in by_arm.items()} for what, by_arm in timed.items()}
    held = run.piece("memory", partial(measure_memory, lengths_of, device))

    def cost(what: str) -> Cost:
        peaks_of = {arm: dict(zip(timed[what][arm], peaks, strict=True)) for arm, peaks in held[what].items()}
        return Cost(what, timing.fit_from, timed[what], peaks_of)

    return cost("attention"), cost("layer")


def describe_ends(series: Sequence[Series], unit: str) -> str:
    """Describe the curves' values at the longest length."""
    ends = [(each.name, [run[-1] for run in each.runs if run[-1] is not None], each.x[-1]) for each in series]
    told = (f"{name} {np.mean(values):.3g} {unit} at {at:,.0f}" for name, values, at in ends if values)
    return f"At the longest: {'; '.join(told)}."


def timing_series(arm: str, times: Mapping[int, Sequence[float]]) -> Series:
    """Return a curve with one run for each repeat."""
    most = max(map(len, times.values()))
    runs = tuple(tuple(each[i] if i < len(each) else None for each in times.values()) for i in range(most))
    return Series(name=arm, x=tuple(times), runs=runs)


def fit_power(values: Mapping[int, float], start: int) -> float:
    """Fit the power of the length with which values grow, from the length `start` on."""
    points = [(length, value) for length, value in values.items() if length >= start and value > 0]
    if len(points) < 2:
        return math.nan
    lengths, grown = np.log(np.array(points)).T
    return float(np.polyfit(lengths, grown, 1)[0])


def steepest_power(values: Mapping[int, float], start: int) -> tuple[float, int, int]:
    """Return the largest power of growth between two successive lengths from `start` on, and these lengths."""
    lengths = sorted(length for length in values if length >= start)
    pairs = itertools.pairwise(lengths)
    return max((fit_power({low: values[low], high: values[high]}, low), low, high) for low, high in pairs)


def crossover_length(fast: Mapping[int, float], slow: Mapping[int, float]) -> int | None:
    """Return the length from which on `fast` beats `slow`, interpolated log-linearly between measured lengths."""
    ahead = {length: math.log(slow[length] / fast[length]) for length in fast}
    lengths = sorted(ahead)
    behind = [length for length in lengths if ahead[length] <= 0]
    if not behind:
        return lengths[0]
    if behind[-1] == lengths[-1]:
        return None
    low, high = behind[-1], lengths[lengths.index(behind[-1]) + 1]
    share = -ahead[low] / (ahead[high] - ahead[low])
    return round(low * (high / low) ** share)


def describe_crossover(pays: int | None) -> str:
    """Describe from which length on it is faster."""
    return (
        "at none of these lengths"
        if pays is None
        else f"from about {pays:,} positions on, or from the shortest that was timed"
    )


def judge_cost(attention: Cost, layer: Cost) -> Finding:
    """Judge whether a layer's cost is nearly linear and close to that with identity attention."""
    powers, alone = (
        (fit_power(cost.medians(FAVOR), cost.fit_from), fit_power(cost.mebibytes[FAVOR], cost.fit_from))
        for cost in (layer, attention)
    )
    jump, low, high = steepest_power(attention.medians(FAVOR), attention.fit_from)
    longest = max(layer.seconds[FAVOR])
    times = {arm: layer.medians(arm)[longest] for arm in layer.seconds}
    held = {arm: layer.mebibytes[arm][longest] for arm in layer.seconds}
    ratios = times[FAVOR] / times[IDENTITY], held[FAVOR] / held[IDENTITY] if held[IDENTITY] > 0 else math.nan
    exact = times[FUSED] / times[IDENTITY], fit_power(layer.medians(FUSED), layer.fit_from)
    pays = crossover_length(attention.medians(FAVOR), attention.medians(FUSED))
    return judge_linear(powers, ratios, (
        f" With exact attention it takes {exact[0]:.2f} times the identity's time there, and grows with power "
        f"{exact[1]:.2f}. FAVOR+ alone grows with power {alone[0]:.2f} in time and {alone[1]:.2f} in memory; between "
        f"successive lengths its time grows fastest from {low:,} to {high:,}, with power {jump:.2f}. It is faster than "
        f"exact attention alone {describe_crossover(pays)}."
    ), longest)  # fmt: skip


def judge_linear(powers: tuple[float, float], ratios: tuple[float, float], besides: str, longest: int) -> Finding:
    """Judge by a layer's powers of the length in time and memory, and by its ratios to the identity's in both."""
    # What could not be measured is neither: no comparison with NaN holds.
    linear, near = all(power <= NEARLY_LINEAR for power in powers), all(ratio <= CLOSE for ratio in ratios)
    return Finding(
        claim="linear-cost",
        outcome=outcome(linear and near, linear or near),
        measured=(
            f"A whole layer's time grows with power {powers[0]:.2f} of the length, its memory with {powers[1]:.2f}. At "
            f"{longest:,} positions it takes {ratios[0]:.2f} times the identity's time and {ratios[1]:.2f} times its "
            f"memory.{besides}"
        ),
        why=(
            f"Reproduced if neither power of the layer is above {NEARLY_LINEAR} and neither ratio above {CLOSE:g}; "
            "partly if the powers or the ratios keep to that. The layer is judged because the claim is of a model; an "
            "earlier run was judged by the powers of attention alone, which are said beside it. On the machine that is "
            "named, forward passes alone."
        ),
    )
