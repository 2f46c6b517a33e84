"""What a linear map can read off an encoder: frames of cartpole with the state that they show, and R².

A random policy pushes a cart with a hanging pole. An observation stacks three frames, so that velocities show in it.
Whole episodes are held out, since neighbouring frames are nearly alike.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import set_seed
from PIL import Image
from torch import Tensor, nn

from quaere.content.results import Picture, Series, encoded, spread
from quaere.running.experiments import Run
from reference_impl.curl import Convolutions, PixelEncoder, ReplayBuffer, centre_crop, follow, initialise
from reference_impl.experiments.control import EPISODE, Task

QUANTITIES = ("position", "cosine", "sine", "velocity", "angular velocity")
"""Of the cart, of the pole's angle, of the cart, and of the pole."""
REPEAT = 8
"""Steps of the environment that an action of cartpole lasts."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of the ridge, for features whose mean square is 1: the best for episodes that were set aside is taken."""


Measures = dict[str, float]
Curve = list[Measures]


@dataclass(frozen=True)
class Sight:
    """What is seen and learnt from: episodes of cartpole, pixels, the encoder, and steps of training.

    Frames have `side` rows and columns, of which `crop` are read. A batch counts observations, whatever they are
    grouped into.
    """

    episodes: int
    held_out: int
    side: int
    crop: int
    filters: int
    steps: int
    batch: int
    every: int
    rate: float = 2e-3

    def encoder(self) -> PixelEncoder:
        """Make an encoder as agents begin with it."""
        made = PixelEncoder(self.crop, 50, Convolutions(9, self.filters))
        initialise(made)
        return made


class Keyed(nn.Module):
    """An encoder, which makes the queries of a contrast, with its average, which makes the keys."""

    def __init__(self, encoder: PixelEncoder) -> None:
        super().__init__()
        self.encoder: PixelEncoder = encoder
        self.average: PixelEncoder = copy.deepcopy(encoder).requires_grad_(False)


def keys_follow(model: Any) -> None:
    """Move the average of a `Keyed` model a little towards its encoder."""
    follow(model.average, model.encoder, 0.05)


class Recording(NamedTuple):
    """Episodes of cartpole.

    Attributes:
        frames: By episode and moment.
        states: By episode, moment and quantity.
    """

    frames: Tensor
    states: Tensor

    def part(self, episodes: slice) -> "Recording":
        """Return some of the episodes."""
        return Recording(self.frames[episodes], self.states[episodes])


def record(episodes: int, side: int, seed: int) -> Recording:
    """Play episodes at random; the same seed gives the same frames."""
    task, draw = Task("cartpole", "swingup", REPEAT, side, seed), np.random.RandomState(seed)
    frames, states = [], []
    for _ in range(episodes):
        frames.append([task.begin()])
        states.append([_state(task)])
        for _ in range(EPISODE // REPEAT):
            frames[-1].append(task.act(torch.from_numpy(draw.uniform(-1, 1, 1))).frame)
            states[-1].append(_state(task))
    return Recording(
        torch.stack([torch.stack(episode) for episode in frames]), torch.tensor(states, dtype=torch.float32)
    )


def _state(task: Task) -> list[float]:
    return [*task.physics.bounded_position(), *task.physics.velocity()]


def buffered(frames: Tensor) -> ReplayBuffer:
    """Return a buffer that has seen these episodes."""
    episodes, moments, channels, rows, columns = frames.shape
    buffer = ReplayBuffer(episodes * moments, 1, (channels, rows, columns))
    for episode in frames:
        buffer.begin(episode[0])
        for frame in episode[1:]:
            buffer.add(torch.zeros(1), 0.0, frame)
    return buffer


def stacked(frames: Tensor, stack: int = 3) -> Tensor:
    """Return the observations of episodes, by episode and moment, from the first that lacks no frame on."""
    moments = frames.shape[1] - stack + 1
    return torch.cat([frames[:, back : back + moments] for back in range(stack)], dim=2)


class Probe:
    """Ridge regression of the state on features, with R² on episodes that took no part.

    Args:
        train: Episodes that the regression sees.
        test: Episodes that it is judged on.
        size: Rows and columns that the encoder reads, from the middle of a frame.
        thin: Only every so many moments count.
    """

    def __init__(self, train: Recording, test: Recording, size: int, thin: int = 2) -> None:
        self.train, self.test = (centre_crop(_moments(part.frames, thin), size) for part in (train, test))
        self._train, self._test = (part.states[:, 2::thin].flatten(0, 1).double() for part in (train, test))

    def __call__(self, encoder: PixelEncoder) -> Measures:
        """Return R² for each quantity, and their mean."""
        train, test = (self._encoded(encoder, pixels) for pixels in (self.train, self.test))
        return _named(r_squared(train, test, self._train, self._test))

    def components(self, width: int = 50) -> Measures:
        """Return the same for as many numbers of the pixels themselves: their strongest principal components."""
        pixels = [part.flatten(1).float() / 255 for part in (self.train, self.test)]
        centred = [part - pixels[0].mean(dim=0) for part in pixels]
        width = min(width, len(centred[0]) - 1)
        values, vectors = torch.linalg.eigh(centred[0] @ centred[0].T)
        axes = centred[0].T @ vectors[:, -width:] / values[-width:].clamp(min=1e-6).sqrt()
        train, test = ((part @ axes).double() for part in centred)
        return _named(r_squared(train, test, self._train, self._test))

    @torch.no_grad()
    def _encoded(self, encoder: PixelEncoder, pixels: Tensor) -> Tensor:
        device, starts = encoder.linear.weight.device, range(0, len(pixels), 256)
        return torch.cat([encoder(pixels[start : start + 256].to(device)).cpu().double() for start in starts])


def _named(found: list[float]) -> Measures:
    return {**dict(zip(QUANTITIES, found, strict=True)), "mean": sum(found) / len(found)}


def _moments(frames: Tensor, thin: int) -> Tensor:
    return stacked(frames)[:, ::thin].flatten(0, 1)


def r_squared(train: Tensor, test: Tensor, wanted: Tensor, truth: Tensor) -> list[float]:
    r"""Return how much of each quantity's variance ridge regression explains where it was not fitted.

    $$R^2 = 1 - \frac{\sum (y - \hat y)^2}{\sum (y - \bar y)^2}$$

    The strength is chosen for each quantity on the last quarter of what it is fitted to.
    """
    cut = 3 * len(train) // 4
    tried = torch.stack([
        _explained(_ridge(train[:cut], wanted[:cut], train[cut:], strength), wanted[cut:]) for strength in STRENGTHS
    ])  # fmt: skip
    best = tried.argmax(dim=0)
    scores = torch.stack([_explained(_ridge(train, wanted, test, strength), truth) for strength in STRENGTHS])
    return scores.gather(0, best[None])[0].tolist()


def _ridge(features: Tensor, wanted: Tensor, new: Tensor, strength: float) -> Tensor:
    """Return what ridge regression says of new features."""
    mean, centre = features.mean(dim=0), wanted.mean(dim=0)
    scale = (features - mean).square().mean().sqrt().clamp(min=1e-9)
    x, given = (features - mean) / scale, (new - mean) / scale
    normal = x.T @ x + strength * len(x) / x.shape[1] * torch.eye(x.shape[1], dtype=x.dtype)
    return given @ torch.linalg.solve(normal, x.T @ (wanted - centre)) + centre


def _explained(guess: Tensor, truth: Tensor) -> Tensor:
    return 1 - (guess - truth).square().sum(dim=0) / (truth - truth.mean(dim=0)).square().sum(dim=0)


@contextmanager
def drawing(generator: torch.Generator) -> Iterator[None]:
    """Have whatever draws without a generator draw from this one, and leave no trace."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def prepared(run: Run, sight: Sight) -> tuple[Probe, Recording, Recording]:
    """Return the probe, the episodes to train on and those held out.

    They are played anew by each process, and when a run is taken up again: a file of them would have to be shared.
    """
    whole = record(sight.episodes, sight.side, run.seed)
    train, test = whole.part(slice(-sight.held_out)), whole.part(slice(-sight.held_out, None))
    return Probe(train, test, sight.crop), train, test


def untrained(run: Run, sight: Sight, probe: Probe, seed: int) -> Measures:
    """Return what can be read off the encoder that all arms of a seed begin with."""

    def measured() -> Measures:
        set_seed(seed)
        return probe(sight.encoder())

    return run.piece(f"untrained seed {seed}", measured)


def series(name: str, curves: Sequence[Curve], what: str, starts: Sequence[float] | None = None) -> Series:
    """Return one measure of the curves of all seeds; at 0 steps, what it was before."""
    if starts is not None:
        curves = [[{"step": 0, what: start}, *curve] for start, curve in zip(starts, curves, strict=True)]
    return Series.of(name, curves, what)


def readings(arms: Mapping[str, Sequence[Measures]]) -> tuple[tuple[str | float, ...], ...]:
    """Return a table's rows: for each arm the mean R² of all seeds, quantity by quantity."""
    rows: list[tuple[str | float, ...]] = []
    for arm, found in arms.items():
        means = [sum(each[what] for each in found) / len(found) for what in QUANTITIES]
        rows.append((arm, *means, spread([each["mean"] for each in found], ".2f")))
    return tuple(rows)


def picture(title: str, observation: Tensor, scale: int = 2) -> Picture:
    """Return an observation's latest frame as a picture."""
    pixels = observation[-3:].permute(1, 2, 0).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    return Picture(title=title, png=encoded(Image.fromarray(pixels.numpy())))
