"""The arms of an experiment: models with one budget of parameters, each trained or measured with several seeds."""

import bisect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from quaere.running.experiments import Loop, Run
from reference_impl.experiments.training import Training, TrainingLoop, count_parameters


def count_built(build_model: Callable[[], Any], count: Callable[[Any], int] = count_parameters) -> int:
    """Count the parameters of the model that a function builds, from the shapes alone."""
    with torch.device("meta"):
        return count(build_model())


def match_width(
    build_model: Callable[[int], nn.Module],
    budget: int,
    count: Callable[[Any], int] = count_parameters,
    max_width: int = 1 << 14,
) -> int:
    """Return the width, `max_width` at most, at which a model's number of parameters is closest to the budget."""

    def size(width: int) -> int:
        return count_built(partial(build_model, width), count)

    above = bisect.bisect_left(range(1, max_width), budget, key=size) + 1
    return min((max(1, above - 1), above), key=lambda width: abs(size(width) - budget))


def train_seeds(
    run: Run, name: str, training: Training | Callable[[int], Training | Loop], seeds: Iterable[int]
) -> list[Any]:
    """Train an arm with each seed, and return the results: that of a `Training` has its `curve`.

    Args:
        run: The run that keeps the results.
        name: The name of the arm, unlike all others in the run.
        training: The training; where it depends on the seed, a function that builds it, or another loop, for a seed.
        seeds: The seeds.
    """

    def build(seed: int) -> Any:
        built = training if isinstance(training, Training) else training(seed)
        return TrainingLoop(built, seed, run.device) if isinstance(built, Training) else built

    return [run.loop(f"{name}, seed {seed}", partial(build, seed)) for seed in seeds]


def measure_seeds(run: Run, name: str, measure: Callable[[int], Any], seeds: Iterable[int]) -> list[Any]:
    """Measure something with each seed, and return what was found; it is kept as a piece of the run."""
    return [run.piece(f"{name}, seed {seed}", partial(measure, seed)) for seed in seeds]
