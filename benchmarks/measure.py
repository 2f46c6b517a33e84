"""Measure two pieces of work against each other, in one process.

They take turns, so that whatever else slows the machine down slows both, and the ratio of each pair counts.
"""

import json
import math
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Work = Callable[[], Any]

LEAST, MOST = 3, 40
"""How many pairs are run: at least and at most."""
SHORTEST = 0.02
"""Seconds below which a clock and a scheduler are too coarse: shorter work is repeated within a sample."""


@dataclass(frozen=True)
class Times:
    """Seconds a call of pairs of samples: ours, and the peer's beside it."""

    pairs: tuple[tuple[float, float], ...]

    @property
    def ratios(self) -> list[float]:
        """Return how many times as fast ours was, pair by pair."""
        return [theirs / ours for ours, theirs in self.pairs]

    @property
    def ratio(self) -> float:
        """Return the median ratio."""
        return statistics.median(self.ratios)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Return the ratios below which a quarter and three quarters of all lie."""
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def ours(self) -> float:
        """Return our median."""
        return statistics.median(ours for ours, _ in self.pairs)

    @property
    def theirs(self) -> float:
        """Return the peer's median."""
        return statistics.median(theirs for _, theirs in self.pairs)


def paired(
    ours: Work,
    theirs: Work,
    seconds: float,
    finish: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Run two pieces of work in turn, each pair in the other order than the one before.

    Args:
        ours: What is to be measured. It has been run before, so that nothing is done for the first time.
        theirs: What it is measured against.
        seconds: How long to go on, after the least number of pairs.
        finish: Waits until the device has done what it was told.
        clock: Tells the time in seconds.
    """

    def sample(work: Work, calls: int) -> float:
        finish()
        begin = clock()
        for _ in range(calls):
            work()
        finish()
        return (clock() - begin) / calls

    end = clock() + seconds
    works = ours, theirs
    calls = [math.ceil(SHORTEST / max(sample(work, 1), 1e-7)) for work in works]
    pairs: list[tuple[float, float]] = []
    while len(pairs) < LEAST or (len(pairs) < MOST and clock() < end):
        if len(pairs) % 2:
            second, first = sample(theirs, calls[1]), sample(ours, calls[0])
        else:
            first, second = sample(ours, calls[0]), sample(theirs, calls[1])
        pairs.append((first, second))
    return Times(tuple(pairs))


def difference(one: Any, other: Any) -> float:
    """Return the largest difference of two numbers, as a share of the largest number of its tensor in `other`.

    Whole numbers must be equal, and so must shapes: the difference is infinite otherwise.
    """
    ours, theirs = list(_tensors(one)), list(_tensors(other))
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return math.inf
    worst = 0.0
    for mine, peer in zip(ours, theirs, strict=True):
        if not mine.is_floating_point():
            worst = worst if torch.equal(mine, peer) else math.inf
        elif mine.numel():
            mine, peer = mine.detach().double(), peer.detach().double()
            apart = float((mine - peer).abs().max() / peer.abs().max().clamp(min=1e-12))
            worst = max(worst, apart) if apart == apart else math.inf
    return worst


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        yield torch.from_numpy(value)
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _tensors(value[name])
    else:
        for part in value:
            yield from _tensors(part)


def operations(work: Work) -> int:
    """Count the floating-point operations of the products in a piece of work, a multiplication and an addition as two.

    torch does not count attention's fused kernel on a CPU by itself. Gradients are on: where they are off, the counter
    stumbles over modules that return a view of a weight.
    """
    aten, forward, backward = torch.ops.aten, cast(Any, sdpa_flop_count), cast(Any, sdpa_backward_flop_count)
    kernels = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: forward(q, k, v),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: backward(g, q, k, v),
    }
    with FlopCounterMode(display=False, custom_mapping=kernels) as counter, torch.enable_grad():
        work()
    return counter.get_total_flops()


def peak_memory(work: Work, device: str) -> int:
    """Return by how many bytes memory grows at most while work is done; weights and inputs are there before.

    On a CPU these are the bytes of torch's allocator, as its profiler lists them, and of numpy's, as Python's own
    `tracemalloc` does. Each is exact and the same each time; the sum is a bound where both are used, since their peaks
    may fall at different times. What a library's kernel takes for itself is not among them. On a GPU torch keeps the
    count.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        tracemalloc.start()
        work()
        of_numpy = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        record.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text(encoding="utf-8"))["traceEvents"]
    return of_numpy + most_held(
        (event["args"]["Addr"], event["args"]["Bytes"])
        for event in sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    )


def most_held(events: Iterable[tuple[int, int]]) -> int:
    """Return the most bytes that were held at once, given where bytes were taken and, as negative numbers, given back.

    What was taken before the first event and is given back now does not count.
    """
    held: dict[int, int] = {}
    total = most = 0
    for address, size in events:
        if size > 0:
            held[address] = size
            total += size
        else:
            total -= held.pop(address, 0)
        most = max(most, total)
    return most


def product_rate(device: str, dtype: torch.dtype, finish: Callable[[], None] = lambda: None) -> float:
    """Return how many operations a second this machine reaches in products of two large matrices."""
    n = 2048 if device == "cpu" else 8192
    one, other = (torch.randn(n, n).to(device, dtype) for _ in range(2))
    rates = []
    for _ in range(6):
        finish()
        begin = time.perf_counter()
        one @ other
        finish()
        rates.append(2 * n**3 / (time.perf_counter() - begin))
    return statistics.median(rates[1:])


def slope(x: Iterable[float], y: Iterable[float]) -> float:
    """Return the power of x with which y grows: the slope of the line through both logarithms."""
    return statistics.linear_regression([math.log(one) for one in x], [math.log(one) for one in y]).slope
