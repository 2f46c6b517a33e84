"""The loop that trains every experiment's models, in one process or in many.

It runs under Hugging Face accelerate: `accelerate launch --num_processes 2 -m quaere run …` is the same code. Every
process draws the whole batch and takes its share, and a loss is a sum and a count, so that the gradients are those of
one process on the whole batch, however many there are and however unequal the shares (padding) turn out.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import gather, reduce, set_seed
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from quaere.running.experiments import DeviceError

Batch = tuple[Tensor, ...]
Loss = Callable[..., tuple[Tensor, Tensor | float | int]]
"""From a model and a batch's tensors to the sum of the losses and the number of things that they are summed over."""


class Training:
    r"""Steps of gradient descent on one model; a `quaere.running.experiments.Loop`.

    $$g = \frac{\nabla \sum_p \ell_p}{\sum_p c_p}$$ where process $p$ adds up $\ell_p$ over $c_p$ tokens, images or
    boxes of its share.

    Args:
        model: Makes the model; it is called after the seed is set.
        loss: The sum of the losses on a share of a batch, and the count that it is divided by.
        batch: Draws the whole batch of a step: tensors with one leading axis, from a generator of that step alone.
        steps: Steps to take.
        seed: Seeds the weights, the batches and the dropout.
        optimizer: Makes the optimizer; AdamW at 1e-3 without weight decay if none is given.
        schedule: Makes a schedule of the optimizer's rate, stepped once a step.
        measure: Measures the model, in evaluation mode and without gradients; numbers by name.
        every: Steps between two measurements; one is taken after the last step in any case.
        clip: The largest norm of the gradient.
        after: What is done after each step, such as moving an average of the weights.
        ending: What is returned beside the curve: looks at the model once all steps are done, in evaluation mode and
            without gradients.
        interval: Steps between two checkpoints.
        device: `auto`, or one to insist on.
    """

    def __init__(
        self,
        model: Callable[[], nn.Module],
        loss: Loss,
        batch: Callable[[torch.Generator], Batch],
        steps: int,
        seed: int,
        *,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
        schedule: Callable[[torch.optim.Optimizer], LRScheduler] | None = None,
        measure: Callable[[nn.Module], dict[str, float]] | None = None,
        every: int = 0,
        clip: float | None = None,
        after: Callable[[nn.Module], None] | None = None,
        ending: Callable[[Any], dict[str, Any]] | None = None,
        interval: int = 200,
        device: str = "auto",
    ) -> None:
        self.steps, self.interval, self.seed = steps, interval, seed
        self._accelerator = accelerator(device)
        # The same weights everywhere, and other dropout in each process.
        set_seed(seed)
        self.model = model()
        set_seed(seed + 1000 * self._accelerator.process_index)
        made = (optimizer or _adamw)(self.model)
        self._whole, self._optimizer = self._accelerator.prepare(_WithLoss(self.model, loss), made)
        self._schedule = schedule(made) if schedule else None
        if self._schedule:
            self._accelerator.register_for_checkpointing(self._schedule)
        self._batch, self._measure, self._every, self._clip = batch, measure, every, clip
        self._after, self._ending = after, ending
        self._curve: list[dict[str, float]] = []

    def step(self, index: int) -> float:
        """Take one step, and return the mean loss over the whole batch."""
        self._whole.train()
        loss = self.backward(index)
        if self._clip:
            self._accelerator.clip_grad_norm_(self.model.parameters(), self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._schedule:
            self._schedule.step()
        if self._after:
            self._after(self.model)
        done = index + 1
        if self._measure and (done == self.steps or self._every and done % self._every == 0):
            self._curve.append({"step": done, "loss": loss, **self.evaluate()})
        return loss

    def backward(self, index: int) -> float:
        """Add the gradients of a step's batch to the weights', and return the mean loss over it."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        processes, device = self._accelerator.num_processes, self._accelerator.device
        whole = self._batch(generator)
        share = [_share(part, self._accelerator.process_index, processes).to(device) for part in whole]
        total, count = self._whole(*share)
        counted = reduce(torch.as_tensor(count, dtype=torch.float32, device=device), "sum").clamp(min=1)
        # The gradients are averaged over the processes, and the sum is wanted.
        self._accelerator.backward(total * (processes / counted))
        return float(reduce(total.detach().float(), "sum") / counted)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure the model, leaving its mode and the processor's random numbers as they were."""
        if not self._measure:
            return {}
        state = torch.get_rng_state()
        self.model.eval()
        found = {name: float(value) for name, value in self._measure(self.model).items()}
        self.model.train()
        torch.set_rng_state(state)
        return found

    def save(self, folder: Path) -> None:
        """Write weights, optimizer, schedule, random numbers and the curve up to now; all processes call it."""
        self._accelerator.save_state(str(folder), safe_serialization=False)
        if self._accelerator.is_main_process:
            (folder / "curve.json").write_text(json.dumps(self._curve))
        self._accelerator.wait_for_everyone()

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self._accelerator.load_state(str(folder))
        self._curve = json.loads((folder / "curve.json").read_text())

    def save_on_main_process(self, write: Callable[[nn.Module], None]) -> None:
        """Have the first process write something of the model, and all wait until it is there."""
        run_on_main_process(lambda: write(self.model))

    @torch.no_grad()
    def result(self) -> Any:
        """Return the curve: what was measured, with the step and the loss there.

        With an `ending`, a dictionary: the curve under `curve`, and what else it returned.
        """
        if not self._ending:
            return self._curve
        self.model.eval()
        return {"curve": self._curve, **self._ending(self.model)}


class _WithLoss(nn.Module):
    """A model with its loss in one call, which is what gradients are gathered around in several processes."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch: Tensor) -> tuple[Tensor, Tensor | float | int]:
        return self.loss(self.model, *batch)


def accelerator(device: str = "auto") -> Accelerator:
    """Return what places models on devices and joins the processes.

    Raises:
        DeviceError: The device is not there.
    """
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, False):
        known = ", ".join(name for name, is_there in there.items() if is_there)
        raise DeviceError(f"there is no device {device} here; there is {known}")
    # Told to look for itself, accelerate would not join processes on a machine without a GPU.
    is_cpu = device == "cpu" or (device == "auto" and _is_without_gpu())
    # Some losses leave some weights out, such as a class token's in a model that is asked for its patches.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=is_cpu, kwargs_handlers=[unused])


def _is_without_gpu() -> bool:
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def run_on_main_process(write: Callable[[], Any]) -> None:
    """Have the first process write something once all have come so far, and all wait until it is there."""
    state = PartialState(cpu=_is_without_gpu())
    state.wait_for_everyone()
    if state.is_main_process:
        write()
    state.wait_for_everyone()


def gather_detached(tensor: Tensor) -> Tensor:
    """Return the rows of all processes, without gradients: the negatives of a contrast, say. Shares must be equal."""
    return gather(tensor.detach())


def _share(whole: Tensor, index: int, processes: int) -> Tensor:
    """Return the rows of a batch that one process takes."""
    return whole.tensor_split(processes)[index] if processes > 1 else whole


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)


def count_parameters(model: nn.Module) -> int:
    """Count a model's trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
