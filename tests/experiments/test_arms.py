"""Arms: their budget of parameters, and their runs, one for each seed."""

from pathlib import Path

import pytest
import torch
from torch import nn

from quaere.running.experiments import Run
from reference_impl.experiments.arms import count_built, match_width, measure_seeds, train_seeds
from reference_impl.experiments.training import Training


def square(width: int) -> nn.Module:
    return nn.Linear(width, width, bias=False)


def test_the_width_is_the_nearest_to_the_budget() -> None:
    assert [match_width(square, budget) for budget in (1, 99, 105, 111)] == [1, 10, 10, 11]


def test_no_width_is_above_the_greatest() -> None:
    assert match_width(square, 111, max_width=8) == 8


def test_parameters_are_counted_without_memory() -> None:
    assert count_built(lambda: square(10**6)) == 10**12


def training(steps: int) -> Training:
    return Training(
        model=lambda: nn.Linear(1, 1),
        loss=lambda model, x: (model(x).square().sum(), len(x)),
        batch=lambda generator: (torch.randn(2, 1, generator=generator),),
        steps=steps,
        measure=lambda model: {"bias": model.bias},
    )


def test_an_arm_has_a_run_for_each_seed(tmp_path: Path) -> None:
    first, second = train_seeds(Run(tmp_path / "run", device="cpu"), "arm", training(2), [3, 4])
    assert [point["step"] for point in first["curve"]] == [2]
    assert first != second


def test_a_training_that_depends_on_the_seed_is_built_for_each(tmp_path: Path) -> None:
    results = train_seeds(Run(tmp_path / "run", device="cpu"), "arm", training, [2, 3])
    assert [one["curve"][-1]["step"] for one in results] == [2, 3]


def test_what_is_measured_with_each_seed_is_kept_under_its_name(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", device="cpu")
    assert measure_seeds(run, "double", lambda seed: 2 * seed, [3, 4]) == [6, 8]
    with pytest.raises(ValueError, match="double, seed 4"):
        run.piece("double, seed 4", dict)
