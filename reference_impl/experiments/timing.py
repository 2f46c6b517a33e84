"""The time that the arms of an experiment take, measured in turns, so that what slows the machine slows them all."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch


def time_in_turns(
    arms: Mapping[str, Callable[[Any], Any]], inputs: Iterable[Any], device: str
) -> dict[str, list[float]]:
    """Return the seconds of each arm on each input but the first, which is for warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for each in inputs:
        for name, arm in arms.items():
            synchronize(device)
            start = time.perf_counter()
            arm(each)
            synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: taken[1:] for name, taken in seconds.items()}


def synchronize(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
