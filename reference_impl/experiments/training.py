"""The training loop of the experiments, in one process or distributed.

It runs under Hugging Face accelerate: `accelerate launch --num_processes 2 -m quaere run …` is the same code. Every
process samples the whole batch and takes its shard, and a loss is a sum and a count. So the gradients are those of one
process on the whole batch, with any number of processes and with shards of unequal counts (as with padding).
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
"""A function of a model and a batch's tensors that returns the sum of the losses and the number of its terms."""


class Training:
    r"""Train one model by gradient descent; a `quaere.running.experiments.Loop`.

    $$g = \frac{\nabla \sum_p \ell_p}{\sum_p c_p}$$ where $\ell_p$ is the sum of the losses of the $c_p$ tokens,
    images or boxes in the shard of process $p$.

    Args:
        model: Builds the model; called after the seed is set.
        loss: Returns the sum of the losses on a shard of a batch, and the count to divide it by.
        batch: Samples the whole batch of a step: tensors with one leading axis, from a generator of that step alone.
        steps: Number of training steps.
        seed: The seed of the weights, the batches and the dropout.
        optimizer: Builds the optimizer; by default AdamW with a learning rate of 1e-3 and no weight decay.
        schedule: Builds the learning rate schedule, stepped once a step.
        measure: Returns metrics of the model by name; called in evaluation mode and without gradients.
        every: Steps between two measurements; there is one after the last step in any case.
        clip: The maximal norm of the gradient.
        after: Called after each step, as for a moving average of the weights.
        ending: Returns what is to be returned beside the curve; called after the last step, in evaluation mode and
            without gradients.
        interval: Steps between two checkpoints.
        device: `auto`, or a device that must be there.
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
        # The same weights in all processes, and different dropout.
        set_seed(seed)
        self.model = model()
        set_seed(seed + 1000 * self._accelerator.process_index)
        built = (optimizer or _adamw)(self.model)
        self._model_with_loss, self._optimizer = self._accelerator.prepare(_WithLoss(self.model, loss), built)
        self._schedule = schedule(built) if schedule else None
        if self._schedule:
            self._accelerator.register_for_checkpointing(self._schedule)
        self._batch, self._measure, self._every, self._clip = batch, measure, every, clip
        self._after, self._ending = after, ending
        self._curve: list[dict[str, float]] = []

    def step(self, index: int) -> float:
        """Take one step, and return the mean loss over the whole batch."""
        self._model_with_loss.train()
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
        """Accumulate the gradients of a step's batch, and return its mean loss."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        processes, device = self._accelerator.num_processes, self._accelerator.device
        whole = self._batch(generator)
        shard = [_shard(part, self._accelerator.process_index, processes).to(device) for part in whole]
        total, count = self._model_with_loss(*shard)
        total_count = reduce(torch.as_tensor(count, dtype=torch.float32, device=device), "sum").clamp(min=1)
        # Gradients are averaged over the processes, and we want the sum.
        self._accelerator.backward(total * (processes / total_count))
        return float(reduce(total.detach().float(), "sum") / total_count)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure the model; its mode and the CPU's random state are left as they were."""
        if not self._measure:
            return {}
        state = torch.get_rng_state()
        self.model.eval()
        metrics = {name: float(value) for name, value in self._measure(self.model).items()}
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

    def save_on_main_process(self, write: Callable[[nn.Module], None]) -> None:
        """Call `write` with the model on the main process, while the others wait."""
        run_on_main_process(lambda: write(self.model))

    @torch.no_grad()
    def result(self) -> Any:
        """Return the curve: the metrics, with the step and the loss of each measurement.

        With an `ending`, return a dictionary: the curve under `curve`, and what `ending` returned.
        """
        if not self._ending:
            return self._curve
        self.model.eval()
        return {"curve": self._curve, **self._ending(self.model)}


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


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
