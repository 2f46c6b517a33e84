"""The training loop of the experiments, in one process or distributed.

It runs under Hugging Face accelerate: `accelerate launch --num_processes 2 -m quaere run …` is the same code. Every
process samples the whole batch and takes its shard, and a loss is a sum and a count. So the gradients are those of one
process on the whole batch, with any number of processes and with shards of unequal counts (as with padding).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import gather, reduce, set_seed
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from quaere.running.experiments import DeviceError
from reference_impl.experiments.curves import Curve

Batch = tuple[Tensor, ...]
Loss = Callable[..., tuple[Tensor, Tensor | float | int]]
"""A function of a model and a batch's tensors that returns the sum of the losses and the number of its terms."""


@dataclass(frozen=True)
class Training:
    r"""What learns what, and how: all of a training but its seed and its device.

    $$g = \frac{\nabla \sum_p \ell_p}{\sum_p c_p}$$ where $\ell_p$ is the sum of the losses of the $c_p$ tokens,
    images or boxes in the shard of process $p$.

    Attributes:
        model: Builds the model; called after the seed is set.
        loss: Returns the sum of the losses on a shard of a batch, and the count to divide it by.
        batch: Samples the whole batch of a step: tensors with one leading axis, from a generator of that step alone.
        steps: Number of training steps.
        optimizer: Builds the optimizer; by default AdamW with a learning rate of 1e-3 and no weight decay.
        schedule: Builds the learning rate schedule, stepped once a step.
        clip: The maximal norm of the gradient.
        after: Called after each step, as for a moving average of the weights.
        measure: Returns metrics of the model by name; called in evaluation mode and without gradients.
        every: Steps between two measurements; there is one after the last step in any case.
        stop: Tells from the curve so far, after each measurement, whether the training ends before its last step, as
            when it has converged.
        ending: Returns what the result holds beside the curve; called after the last step, in evaluation mode and
            without gradients.
    """

    model: Callable[[], nn.Module]
    loss: Loss
    batch: Callable[[torch.Generator], Batch]
    steps: int
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = lambda model: torch.optim.AdamW(
        model.parameters(), lr=1e-3, weight_decay=0.0
    )
    schedule: Callable[[torch.optim.Optimizer], LRScheduler] | None = None
    clip: float | None = None
    after: Callable[[Any], None] | None = None
    measure: Callable[[Any], Mapping[str, float]] | None = None
    every: int = 0
    stop: Callable[[Curve], bool] | None = None
    ending: Callable[[Any], Mapping[str, Any]] | None = None


class TrainingLoop:
    """A training with a seed, on a device; a `quaere.running.experiments.Loop`.

    Args:
        training: What to train, and how.
        seed: The seed of the weights, the batches and the dropout.
        device: `auto`, or a device that must be there.
    """

    def __init__(self, training: Training, seed: int, device: str = "auto") -> None:
        self.training, self.seed, self.steps = training, seed, training.steps
        self.interval = max(1, min(200, self.steps // 2))
        self._accelerator = accelerator(device)
        # The same weights in all processes, and different dropout.
        set_seed(seed)
        self.model = training.model()
        set_seed(seed + 1000 * self._accelerator.process_index)
        built = training.optimizer(self.model)
        self._model_with_loss, self._optimizer = self._accelerator.prepare(_WithLoss(self.model, training.loss), built)
        self._schedule = training.schedule(built) if training.schedule else None
        if self._schedule:
            self._accelerator.register_for_checkpointing(self._schedule)
        self._curve: list[dict[str, float]] = []
        self.is_done = False

    def step(self, index: int) -> float:
        """Take one step, and return the mean loss over the whole batch."""
        training, done = self.training, index + 1
        self._model_with_loss.train()
        loss = self.backward(index)
        if training.clip:
            self._accelerator.clip_grad_norm_(self.model.parameters(), training.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._schedule:
            self._schedule.step()
        if training.after:
            training.after(self.model)
        if training.measure and (done == self.steps or training.every and done % training.every == 0):
            self._curve.append({"step": done, "loss": loss, **self.evaluate()})
            self.is_done = training.stop is not None and training.stop(self._curve)
        return loss

    def backward(self, index: int) -> float:
        """Accumulate the gradients of a step's batch, and return its mean loss."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        processes, device = self._accelerator.num_processes, self._accelerator.device
        whole = self.training.batch(generator)
        shard = [_shard(part, self._accelerator.process_index, processes).to(device) for part in whole]
        total, count = self._model_with_loss(*shard)
        total_count = reduce(torch.as_tensor(count, dtype=torch.float32, device=device), "sum").clamp(min=1)
        # Gradients are averaged over the processes, and we want the sum.
        self._accelerator.backward(total * (processes / total_count))
        return float(reduce(total.detach().float(), "sum") / total_count)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure the model; its mode and the CPU's random state are left as they were."""
        if not self.training.measure:
            return {}
        state = torch.get_rng_state()
        self.model.eval()
        metrics = {name: float(value) for name, value in self.training.measure(self.model).items()}
        self.model.train()
        torch.set_rng_state(state)
        return metrics

    def save(self, folder: Path) -> None:
        """Save weights, optimizer, schedule, random states and the curve so far; all processes must call it."""
        self._accelerator.save_state(str(folder), safe_serialization=False)
        if self._accelerator.is_main_process:
            (folder / "curve.json").write_text(json.dumps(self._curve))
        self._accelerator.wait_for_everyone()

    def restore(self, folder: Path) -> None:
        """Restore what `save` saved."""
        self._accelerator.load_state(str(folder))
        self._curve = json.loads((folder / "curve.json").read_text())

    @torch.no_grad()
    def result(self) -> dict[str, Any]:
        """Return the metrics with the step and the loss of each measurement, as `curve`, and what `ending` returns."""
        self.model.eval()
        return {"curve": self._curve, **(self.training.ending(self.model) if self.training.ending else {})}


class _WithLoss(nn.Module):
    """A model and its loss as one module: distributed training synchronizes gradients around one `forward`."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch: Tensor) -> tuple[Tensor, Tensor | float | int]:
        return self.loss(self.model, *batch)


def accelerator(device: str = "auto") -> Accelerator:
    """Return the `Accelerator` that places models on a device and connects the processes.

    Raises:
        DeviceError: The device is not available.
    """
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, False):
        known = ", ".join(name for name, is_there in there.items() if is_there)
        raise DeviceError(f"there is no device {device} here; there is {known}")
    # By itself, accelerate would not connect processes on a machine without a GPU.
    is_cpu = device == "cpu" or (device == "auto" and _is_without_gpu())
    # Some losses do not use all weights, such as the class token in a model whose patches are used.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=is_cpu, kwargs_handlers=[unused])


def _is_without_gpu() -> bool:
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def run_on_main_process(write: Callable[[], Any]) -> None:
    """Call `write` on the main process once all processes are here; the others wait until it has returned."""
    state = PartialState(cpu=_is_without_gpu())
    state.wait_for_everyone()
    if state.is_main_process:
        write()
    state.wait_for_everyone()


def gather_detached(tensor: Tensor) -> Tensor:
    """Gather the rows of all processes, without gradients, as for contrastive negatives; shards must be equal."""
    return gather(tensor.detach())


def _shard(whole: Tensor, index: int, processes: int) -> Tensor:
    """Return the rows of a batch for one process."""
    return whole.tensor_split(processes)[index] if processes > 1 else whole


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a model's parameters are on."""
    return next(model.parameters()).device


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
