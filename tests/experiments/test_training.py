"""The loop that trains: taken up again it comes to the same numbers, and two processes are as good as one."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quaere.running.experiments import DeviceError, Run
from reference_impl.experiments.training import Training, TrainingLoop, count_parameters

ROOT = Path(__file__).parents[2]
GRADIENTS, TOGETHER = (Path(__file__).with_name(name) for name in ("gradients.py", "together.py"))


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))


def loss(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    return ((model(x)[:, 0] - y) ** 2).sum(), len(x)


def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = torch.randn(8, 3, generator=generator)
    return x, x.sum(dim=1)


def training(seed: int = 0, steps: int = 40, device: str = "auto", **more: Any) -> TrainingLoop:
    def decay(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)

    def measure(model: nn.Module) -> dict[str, float]:
        return {"drawn": float(torch.rand(())), "out": float(model(torch.ones(1, 3)))}

    settings: dict[str, Any] = {"schedule": decay, "measure": measure, "every": 10, "clip": 1.0}
    one = TrainingLoop(Training(net, loss, batch, steps, **{**settings, **more}), seed, device)
    one.interval = 7
    return one


class GoneDownError(Exception):
    """The machine went down."""


def stopping_at(step: int, one: TrainingLoop) -> TrainingLoop:
    take = one.step

    def step_or_stop(index: int) -> float:
        if index == step:
            raise GoneDownError
        return take(index)

    one.step = step_or_stop  # type: ignore[method-assign]
    return one


def test_it_learns() -> None:
    one = training(schedule=None)
    losses = [one.step(index) for index in range(600)]
    assert sum(losses[-20:]) < sum(losses[:20]) / 4


@pytest.mark.parametrize("step", [8, 27, 39])
def test_a_training_that_was_stopped_comes_to_the_same_curve(tmp_path: Path, step: int) -> None:
    whole = Run(tmp_path / "whole").loop("fit", training)
    with pytest.raises(GoneDownError):
        Run(tmp_path / "run").loop("fit", lambda: stopping_at(step, training()))
    assert Run(tmp_path / "run", resume=True).loop("fit", training) == whole
    assert [point["step"] for point in whole["curve"]] == [10, 20, 30, 40]


def test_a_training_ends_when_it_is_told_from_its_curve(tmp_path: Path) -> None:
    one = training(stop=lambda curve: len(curve) == 2)
    curve = Run(tmp_path / "a-smoke-0").loop("it", lambda: one)["curve"]
    assert [point["step"] for point in curve] == [10, 20]
    assert curve == Run(tmp_path / "b-smoke-0").loop("it", training)["curve"][:2]


def test_the_seed_decides_the_weights_the_batches_and_the_dropout() -> None:
    def first(seed: int) -> tuple[float, float]:
        one = training(seed)
        return one.step(0), one.step(1)

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_measuring_changes_no_number_of_the_training() -> None:
    def losses(one: TrainingLoop) -> list[float]:
        return [one.step(index) for index in range(40)]

    assert losses(training(every=1)) == losses(training(measure=None))


def test_a_measurement_is_taken_without_dropout_and_without_gradients() -> None:
    modes = []

    def measure(model: nn.Module) -> dict[str, float]:
        modes.append((model.training, torch.is_grad_enabled()))
        return {}

    training(measure=measure, steps=1).step(0)
    assert modes == [(False, False)]


def test_what_a_training_ends_with_is_returned_beside_its_curve() -> None:
    modes = []

    def ending(model: nn.Module) -> dict[str, bool]:
        modes.append((model.training, torch.is_grad_enabled()))
        return {"is_seen": True}

    one = training(steps=1, ending=ending)
    one.step(0)
    result = one.result()
    assert modes == [(False, False)]
    assert ([point["step"] for point in result["curve"]], result["is_seen"]) == ([1], True)


def test_a_device_that_is_not_there_is_named() -> None:
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(DeviceError, match=f"no device {missing} here; there is auto, cpu"):
        training(device=missing)


def test_parameters_that_do_not_train_are_not_counted() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert count_parameters(model) == 6


# Two that are forked, with the variables that the launcher sets, are joined in test_gradients.
@pytest.mark.slow
def test_two_launched_processes_are_joined_and_the_first_of_them_writes(tmp_path: Path) -> None:
    command = launched(2, str(TOGETHER), str(tmp_path / "lines"))
    subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, timeout=120, check=True)
    assert (tmp_path / "lines").read_text() == "2 processes\n"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def launched(processes: int, *what: str) -> list[str]:
    """Return the command that runs Python on something in so many processes."""
    if processes == 1:
        return [sys.executable, *what]
    # Without a GPU, the launcher starts several processes (by gloo) if it is told that there are several.
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    plain = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return [sys.executable, *launch, *plain, *what]


def gradients(processes: int, *slugs: str) -> dict[str, dict[str, float]]:
    """Take the first gradients of experiments' trainings in so many processes; the first writes what it got."""
    folder = tempfile.mkdtemp()
    command = launched(processes, str(GRADIENTS), folder, *slugs)
    run = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=PIPE, stderr=PIPE, text=True)
    try:
        out, log = run.communicate(timeout=300)
    finally:
        # A launcher that is asked to end takes its processes with it.
        run.terminate()
        shutil.rmtree(folder)
    assert run.returncode == 0, log
    told = json.loads(out.splitlines()[-1])
    assert told["processes"] == processes
    found: dict[str, dict[str, float]] = told["found"]
    return found
