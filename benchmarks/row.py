"""What a row of the table is made of, and how a new one is added.

A row is a function with a decorator. It builds both models, copies the weights from one to the other, and returns two
pieces of work on the same input:

    @row("torch.nn.Linear", "vectors")
    def linear(at: Setting) -> Pair:
        '''A linear layer, 512 to 512, on 64 vectors.'''
        b = at.sized(64, tiny=2)
        ours, x = at.put(Linear(512, 512)), at.put(torch.randn(b, 512))
        theirs = at.put(nn.Linear(512, 512))
        theirs.load_state_dict(ours.state_dict())
        return Pair(lambda: ours(x), lambda: theirs(x), items=b)

Whatever both return is compared before anything is timed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.measure import Times, Work

T = TypeVar("T")
Placed = TypeVar("Placed", Tensor, nn.Module)


@dataclass(frozen=True)
class Setting:
    """Where and how a row is run.

    Attributes:
        device: `cpu` or `cuda`.
        dtype: The kind of floating-point numbers.
        compiled: Whether both sides go through `torch.compile`.
        tiny: Whether sizes are those of a test.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    compiled: bool = False
    tiny: bool = False

    def put(self, what: Placed) -> Any:
        """Return a tensor or a module on the device; its floating-point numbers are of the setting's kind."""
        if isinstance(what, Tensor) and not what.is_floating_point():
            return what.to(self.device)
        return what.to(self.device, self.dtype)

    def sized(self, size: T, tiny: T) -> T:
        """Return a size, or what stands for it in a test."""
        return tiny if self.tiny else size

    def finish(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def named(self, row: str) -> str:
        """Return a row's name in this setting: as it is on a CPU."""
        if self.device == "cpu":
            return row
        kind = str(self.dtype).removeprefix("torch.")
        return f"{row}, {self.device}, {kind}{', compiled' if self.compiled else ''}"


@dataclass(frozen=True)
class Pair:
    """Two pieces of work on the same weights and inputs: one call does `items` of the row's unit."""

    ours: Work
    theirs: Work
    items: int


@dataclass(frozen=True)
class Row:
    """A row of the table, to be measured.

    Attributes:
        name: What it is called.
        what: What is done, with its sizes.
        peer: Whose code it is compared with.
        unit: What is counted, in the plural.
        make: Builds both sides.
        trains: Whether gradients are needed.
        gpu: Whether it is run on a GPU too.
        tolerance: How far the outputs may be apart; None where they can't be the same, as `what` says.
        aim: The ratio that is aimed at.
        share: The share of the machine's product rate that is aimed at.
        slower: Why the ratio falls short, where it does; from a profile.
        idle: Why the share falls short, where it does.
    """

    name: str
    what: str
    peer: str
    unit: str
    make: Callable[[Setting], Pair]
    trains: bool = False
    gpu: bool = False
    tolerance: float | None = 1e-4
    aim: float = 1.0
    share: float = 0.0
    slower: str = ""
    idle: str = ""


ROWS: dict[str, Row] = {}
"""All rows by their names, in the order of the table."""


def row(
    peer: str, unit: str, name: str | None = None, **settings: Any
) -> Callable[[Callable[[Setting], Pair]], Callable[[Setting], Pair]]:
    """Add a row to the table. It is called as the function is; the function's docstring says what is done.

    Args:
        peer: Whose code it is compared with.
        unit: What is counted, in the plural.
        name: Another name than the function's.
        settings: As for `Row`.
    """

    def add(make: Callable[[Setting], Pair]) -> Callable[[Setting], Pair]:
        called = name or make.__name__.replace("_", "-")
        what = " ".join((make.__doc__ or "").split())
        ROWS[called] = Row(called, what, peer, unit, make, **settings)
        return make

    return add


class DifferentOutputsError(ValueError):
    """Two sides that should return the same do not: their times could not be compared."""


@dataclass(frozen=True)
class Measured:
    """A row with what was measured of it; rates are in units a second, memory in bytes."""

    row: Row
    setting: Setting
    items: int
    times: Times
    operations: int
    memory: tuple[int, int]
    rate: float

    @property
    def share(self) -> float:
        """Return the share of the machine's product rate that ours reaches."""
        return self.operations / self.times.ours / self.rate

    @property
    def remark(self) -> str:
        """Return whether both sides are level, and why ours falls short of what is aimed at, if it does."""
        low, high = self.times.quartiles
        is_level = low <= 1 <= high
        reasons = ["Level: the quartiles lie on both sides of 1."] if is_level else []
        if self.times.ratio < self.row.aim and (self.row.slower or not is_level):
            reasons.append(self.row.slower or "Slower than aimed at; not profiled yet.")
        if self.share < self.row.share:
            reasons.append(self.row.idle or "Below the share that is aimed at; not profiled yet.")
        return " ".join(reasons)


def outputs_agree(row: Row, pair: Pair, setting: Setting) -> None:
    """Run both sides once, from the same seed, and compare what they return.

    Numbers of 16 bits have two or three digits, so that they may differ by a twentieth.

    Raises:
        DifferentOutputsError: They differ by more than the row's tolerance.
    """
    returned = []
    for work in (pair.ours, pair.theirs):
        torch.manual_seed(0)
        returned.append(work())
    if row.tolerance is None:
        return
    apart = measure.difference(*returned)
    allowed = max(row.tolerance, 0.05) if setting.dtype == torch.bfloat16 else row.tolerance
    if not apart <= allowed:
        raise DifferentOutputsError(f"{row.name}: outputs differ by {apart:.3g}, more than {allowed:.3g}")


def measured(row: Row, setting: Setting, seconds: float) -> Measured:
    """Build both sides, compare them, and measure them for about so many seconds.

    Raises:
        DifferentOutputsError: They do not return the same.
    """
    torch.manual_seed(0)
    pair = row.make(setting)
    plain = pair.ours
    if setting.compiled:
        pair = replace(pair, ours=torch.compile(pair.ours), theirs=torch.compile(pair.theirs))
    with torch.set_grad_enabled(row.trains):
        outputs_agree(row, pair, setting)
        operations = measure.operations(plain)
        # Beside the row, so that a machine that has become slower, has for both.
        rate = measure.product_rate(setting.device, setting.dtype, finish=setting.finish)
        memory = measure.peak_memory(pair.ours, setting.device), measure.peak_memory(pair.theirs, setting.device)
        times = measure.paired(pair.ours, pair.theirs, seconds, setting.finish)
    return Measured(row, setting, pair.items, times, operations, memory, rate)
