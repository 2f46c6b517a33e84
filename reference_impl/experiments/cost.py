r"""The cost of a layer with linear, exact and identity attention against the length: seconds, FLOPs and memory.

All are of a forward and a backward pass. FLOPs, and the bytes that are kept for the backward pass, are counted exactly,
on tensors without data; exact attention then keeps its matrix of weights, as the paper's did. Seconds are measured with
all arms of a length in turns, and peak memory on a GPU alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from quaere.content.results import Finding, Lines, Series, Table
from quaere.running.experiments import Run
from reference_impl.experiments.judging import gate, judge, quantity
from reference_impl.experiments.timing import time_in_turns
from reference_impl.layers.attention import MultiHeadAttention
from reference_impl.performer import FavorAttention, replace_attention
from reference_impl.transformer import EncoderLayer

FAVOR, EXACT, IDENTITY = "FAVOR+", "exact", "identity"
NB_FEATURES = 256
"""The number of random directions wherever time and memory are measured: the public code's default."""

NEARLY_LINEAR, CLOSE = 1.15, 2.0
"""The largest power of the length that counts as nearly linear, and the largest ratio that counts as close."""


@dataclass(frozen=True)
class Timing:
    """Lengths and repeats of the timing.

    Attributes:
        lengths: Lengths at which FLOPs and bytes are counted.
        max_timed_length: The longest of them that is timed.
        fit_from: The smallest length in the fit of the powers.
        repeats: Repeats of each timing.
    """

    lengths: tuple[int, ...]
    max_timed_length: int
    fit_from: int
    repeats: int


@dataclass(frozen=True)
class Cost:
    """What a layer costs, by arm and length.

    Attributes:
        seconds: The seconds of all repeats.
        flops: The floating-point operations.
        memory: The bytes: at the peak on a GPU, those kept for the backward pass elsewhere.
    """

    seconds: Mapping[str, Mapping[int, Sequence[float]]]
    flops: Mapping[str, Mapping[int, float]]
    memory: Mapping[str, Mapping[int, float]]


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


def build_layers(device: str) -> dict[str, nn.Module]:
    """Return a layer of the paper's shape with each attention, all with the same weights."""
    torch.manual_seed(0)
    exact = EncoderLayer(512, 8, 2048, dropout=0.0).to(device)
    makes: dict[str, Callable[[MultiHeadAttention], nn.Module]] = {
        FAVOR: partial(FavorAttention, nb_features=NB_FEATURES),
        IDENTITY: IdentityAttention,
    }
    return {EXACT: exact, **{name: replace_attention(exact, make).to(device) for name, make in makes.items()}}


def run_both_passes(layer: nn.Module, x: Float[Tensor, "b n d"]) -> None:
    """Run a layer forward and backward."""
    layer.zero_grad()
    layer(x).sum().backward()


def measure_seconds(length: int, repeats: int, device: str) -> dict[str, list[float]]:
    """Time all arms at one length, interleaved."""
    arms = {name: partial(run_both_passes, layer) for name, layer in build_layers(device).items()}
    inputs = [torch.randn(1, n, 512, device=device) for n in (256, length)]
    return time_in_turns(arms, inputs[:1] + inputs[1:] * repeats, device)


def count_cost(length: int) -> dict[str, tuple[float, float]]:
    """Return the FLOPs of each arm at one length, and the bytes that it keeps for the backward pass."""
    found = {}
    for name, layer in build_layers("meta").items():
        storages: dict[int, int] = {}

        def keep(tensor: Tensor, storages: dict[int, int] = storages) -> Tensor:
            # Views of one storage are kept once.
            storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with FlopCounterMode(display=False) as counter, hooks:
            run_both_passes(layer, torch.empty(1, length, 512, device="meta"))
        found[name] = float(counter.get_total_flops()), float(sum(storages.values()))
    return found


def measure_peaks(length: int, device: str) -> dict[str, float]:
    """Return the peak memory of each arm at one length on a GPU, in bytes above what is held before."""
    peaks = {}
    for name, layer in build_layers(device).items():
        x = torch.randn(1, length, 512, device=device)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run_both_passes(layer, x)
        peaks[name] = float(torch.cuda.max_memory_allocated() - before)
    return peaks


def measure_cost(length: int, timing: Timing, device: str) -> dict[str, Any]:
    """Return all that is measured and counted at one length, by arm."""
    counted = count_cost(length)
    is_timed = length <= timing.max_timed_length
    return {
        "seconds": measure_seconds(length, timing.repeats, device) if is_timed else {},
        "flops": {arm: flops for arm, (flops, _) in counted.items()},
        "memory": measure_peaks(length, device)
        if is_gpu(device)
        else {arm: kept for arm, (_, kept) in counted.items()},
    }


def measure_costs(run: Run, timing: Timing, device: str) -> Cost:
    """Measure all arms at all lengths."""
    found = {
        length: run.piece(f"cost at {length}", partial(measure_cost, length, timing, device))
        for length in timing.lengths
    }

    def by_arm(what: str) -> dict[str, dict[int, Any]]:
        return {
            arm: {length: at[what][arm] for length, at in found.items() if arm in at[what]}
            for arm in (FAVOR, EXACT, IDENTITY)
        }

    return Cost(by_arm("seconds"), by_arm("flops"), by_arm("memory"))


def is_gpu(device: str) -> bool:
    """Return whether a device is a GPU whose memory torch can tell."""
    return device.startswith("cuda")


def fit_power(values: Mapping[int, float], start: int) -> float:
    """Fit the power of the length with which values grow, from the length `start` on; at least two are needed."""
    lengths, grown = np.log([(length, value) for length, value in values.items() if length >= start]).T
    return float(np.polyfit(lengths, grown, 1)[0])


def judge_cost(cost: Cost, timing: Timing, device: str) -> Finding:
    """Judge whether a layer's cost is nearly linear and close to that with identity attention."""
    powers, ratios = {}, {}
    for arm in (FAVOR, EXACT):
        for name, of in (
            ("seconds", cost.seconds),
            ("memory", _as_repeats(cost.memory)),
            ("FLOPs", _as_repeats(cost.flops)),
        ):
            longest = max(of[arm])
            powers[f"{arm}, {name}"] = [
                fit_power({length: each[i] for length, each in of[arm].items()}, timing.fit_from)
                for i in range(len(of[arm][longest]))
            ]
            ratios[f"{arm}, {name}"] = [one / float(np.median(of[IDENTITY][longest])) for one in of[arm][longest]]
    # Seconds on a CPU depend on its caches.
    decisive = [f"{FAVOR}, {name}" for name in ("FLOPs", "memory", *(["seconds"] if is_gpu(device) else []))]
    linear = all(np.median(powers[name]) <= NEARLY_LINEAR for name in decisive)
    close = all(np.median(ratios[name]) <= CLOSE for name in decisive)
    (quadratic,) = ratios[f"{EXACT}, FLOPs"]
    return judge(
        "linear-cost",
        f"Reproduced if the FLOPs and the memory of a layer with FAVOR+, and on a GPU its seconds, grow with a power "
        f"of the length of at most {NEARLY_LINEAR} and are at most {CLOSE:g} times those with identity attention at "
        "the longest length, by the medians of the repeats; partly if either the powers or the ratios keep to that. "
        "(An earlier rule asked for the seconds of a GPU in any case.)",
        ran=f"a layer of the paper's shape, {NB_FEATURES} features, a forward and a backward pass over one sequence: "
        f"FLOPs and memory at {min(timing.lengths):,} to {max(timing.lengths):,} positions, seconds at "
        f"{timing.max_timed_length:,} at most; powers are fitted from {timing.fit_from:,} on",
        quantities=[
            quantity("power of the length", powers, "lower", levels={"linear": 1.0, "quadratic": 2.0}),
            quantity("cost over that with identity attention", ratios, "lower", levels={"identity": 1.0}, log=True),
        ],
        reproduced=linear and close,
        partly=linear or close,
        gates=[
            gate(
                f"The longest sequence is so long that a layer with exact attention takes more than {CLOSE:g} times "
                "the FLOPs of one with identity attention.", quadratic > CLOSE, f"{quadratic:.3g} times",
            ),
            gate("Seconds are measured three times or more.", timing.repeats >= 3, str(timing.repeats)),
        ],
    )  # fmt: skip


def _as_repeats(values: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, list[float]]]:
    """Return values that were measured once as lists of one."""
    return {arm: {length: [value] for length, value in of_arm.items()} for arm, of_arm in values.items()}


def cost_table(cost: Cost) -> Table:
    """Return the table of seconds, FLOPs and memory by length."""
    return Table(
        title="A forward and a backward pass of one layer",
        columns=("attention", "length", "seconds, median", "GFLOPs", "MiB"),
        rows=tuple(
            (
                arm,
                length,
                float(np.median(cost.seconds[arm][length])) if length in cost.seconds[arm] else None,
                flops / 1e9,
                cost.memory[arm][length] / 2**20,
            )
            for arm, by_length in cost.flops.items()
            for length, flops in by_length.items()
        ),
        note="MiB are those at the peak on a GPU, and those kept for the backward pass, weights included, elsewhere. "
        "FLOPs and bytes kept are counted with exact attention as a matrix; it is timed with torch's fused kernel.",
    )


def cost_figure(cost: Cost) -> Lines:
    """Plot FLOPs against the length."""
    ends = "; ".join(f"{arm} {list(of.values())[-1] / 1e9:,.0f}" for arm, of in cost.flops.items())
    return Lines(
        id="flops",
        title="FLOPs of a layer",
        caption="A forward and a backward pass. Linear is a decade up for a decade across; quadratic, two.",
        alt=f"GFLOPs at {max(cost.flops[FAVOR]):,} positions: {ends}.",
        x="length (positions)",
        y="GFLOPs",
        log=("x", "y"),
        series=tuple(
            Series(name=arm, x=tuple(of), runs=(tuple(flops / 1e9 for flops in of.values()),))
            for arm, of in cost.flops.items()
        ),
    )
