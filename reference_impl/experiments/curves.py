"""Results by arm and seed: what to read of them, how to say it in a sentence, and the curves of a figure."""

from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

from quaere.content.results import Series, spread

Curve = Sequence[Mapping[str, Any]]
"""A learning curve: measurements by name, in the order of training steps."""
Sweep = Mapping[Any, Sequence[float]]
"""Values of each seed by what is varied, such as the number of training images."""
Arm = TypeVar("Arm", bound=Hashable)


def select(results: Mapping[Arm, Sequence[Mapping[str, Any]]], name: str) -> dict[Arm, list[Any]]:
    """Return one entry of the results of each arm and seed."""
    return {arm: [one[name] for one in runs] for arm, runs in results.items()}


def final_values(curves: Mapping[Arm, Sequence[Curve]], measure: str) -> dict[Arm, list[float]]:
    """Return the last value of a measure, for each arm and seed."""
    return {arm: [curve[-1][measure] for curve in runs] for arm, runs in curves.items()}


def moving_average(curve: Curve, measure: str, window: int = 3) -> list[float]:
    """Return the moving average of a measure: single measurements are noisy."""
    values = [point[measure] for point in curve]
    return [fmean(values[max(0, end - window) : end]) for end in range(1, len(values) + 1)]


def final_averages(curves: Mapping[Arm, Sequence[Curve]], measure: str) -> dict[Arm, list[float]]:
    """Return the mean of the last three values of a measure, for each arm and seed."""
    return {arm: [moving_average(curve, measure)[-1] for curve in runs] for arm, runs in curves.items()}


def has_plateaued(curve: Curve, measure: str, patience: int, *, higher_is_better: bool = True) -> bool:
    """Return whether a measure has stopped improving: none of the last measurements is better than all before.

    Args:
        curve: The measurements so far.
        measure: The measure, as a moving average of three.
        patience: The number of last measurements.
        higher_is_better: Whether the measure rises as the model learns.
    """
    values = [value if higher_is_better else -value for value in moving_average(curve, measure)]
    return len(values) > patience and max(values[-patience:]) <= max(values[:-patience])


def list_means(values: Mapping[str, Sequence[float]], form: str, separator: str = "; ") -> str:
    """Say the mean over seeds for each arm, as in "ViT 0.91; ConvNet 0.93"."""
    return separator.join(f"{arm} {fmean(seeds):{form}}" for arm, seeds in values.items())


def list_spreads(values: Mapping[str, Sequence[float]], form: str = ".3f", separator: str = "; ") -> str:
    """Say the mean over seeds for each arm, with the lowest and the highest."""
    return separator.join(f"{arm} {spread(seeds, form)}" for arm, seeds in values.items())


def curve_series(curves: Mapping[str, Sequence[Curve]], measure: str, x: str = "step") -> tuple[Series, ...]:
    """Return the curves of a figure: a measure against the training step, for each arm and seed."""
    return tuple(Series.of(arm, runs, measure, x) for arm, runs in curves.items())


def sweep_series(sweeps: Mapping[str, Sweep]) -> tuple[Series, ...]:
    """Return the curves of a figure: values against what is varied, for each arm and seed."""
    return tuple(
        Series(name=arm, x=tuple(sweep), runs=tuple(zip(*sweep.values(), strict=True))) for arm, sweep in sweeps.items()
    )
