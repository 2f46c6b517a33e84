"""Compute the gradients of the first batch of experiments' trainings, in as many processes as were launched.

A training whose result others need is then run, at size smoke.

Dropout is off: each process draws its own. The first process prints, for each training, its mean loss and the norm of
each weight's gradient, with a projection that tells its direction.
"""

import contextlib
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import torch
from torch import nn

from quaere.running.experiments import Loop, Run
from reference_impl.experiments.training import TrainingLoop

MOST = 2
"""Trainings per experiment: the first ones."""


class Enough(Exception):  # noqa: N818  (nothing went wrong)
    """All wanted gradients are recorded."""


class GradientRun(Run):
    """A run that records each training's first gradients."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.found: dict[str, dict[str, float]] = {}

    def loop(self, name: str, make: Callable[[], Loop]) -> Any:
        one = make()
        if not isinstance(one, TrainingLoop):
            raise Enough
        for module in one.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(getattr(module, "dropout", None), float):
                setattr(module, "dropout", 0.0)  # noqa: B010  (modules declare no such attribute)
        # A first batch may have nothing to tell apart, as where the cart is out of sight.
        for index in range(20):
            one.model.zero_grad()
            self.found[name] = {"loss": one.backward(index), **dict(_projections(one.model))}
            if any(size for weight, size in self.found[name].items() if weight.endswith(" norm")):
                break
        if len(self.found) == MOST:
            raise Enough
        return super().loop(name, make)


def _projections(model: nn.Module) -> Any:
    for name, weight in sorted(model.named_parameters()):
        if weight.grad is not None:
            direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
            yield f"{name} norm", float(weight.grad.double().norm())
            yield f"{name} along", float((weight.grad.double() * direction).sum())


def first_gradients(folder: Path, *slugs: str) -> tuple[int, dict[str, dict[str, float]]]:
    """Return the number of processes, and the first gradients of experiments' trainings.

    The runs lie in one folder for all processes.
    """
    found = {}
    for slug in slugs:
        # What the first process writes, all read.
        run = GradientRun(folder / slug)
        with contextlib.suppress(Enough):
            importlib.import_module(f"reference_impl.experiments.{slug}").experiment(run)
        found.update({f"{slug} {name}": one for name, one in run.found.items()})
    return accelerate.PartialState().num_processes, found


def main() -> None:
    processes, found = first_gradients(Path(sys.argv[1]), *sys.argv[2:])
    if accelerate.PartialState().is_main_process:
        print(json.dumps({"processes": processes, "found": found}))


if __name__ == "__main__":
    main()
