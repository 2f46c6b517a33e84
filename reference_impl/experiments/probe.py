"""A linear probe of an encoder: it predicts the state of cartpole from features of its frames, measured by R².

A random policy pushes a cart with a hanging pole. An observation stacks three frames, so that it shows velocities.
Whole episodes are held out, since neighboring frames are nearly alike.
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
from reference_impl.curl import ConvEncoder, PixelEncoder, ReplayBuffer, center_crop, ema_update, weight_init
from reference_impl.experiments.control import EPISODE_LENGTH, DMControlEnvironment
from reference_impl.experiments.curves import Curve

QUANTITIES = ("position", "cosine", "sine", "velocity", "angular velocity")
"""Position of the cart, cosine and sine of the pole's angle, velocity of the cart, angular velocity of the pole."""
ACTION_REPEAT = 8
"""Environment steps that an action of cartpole lasts."""
RIDGE_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of the ridge, for features whose mean square is 1; the best on a validation split is used."""


Measures = dict[str, float]


@dataclass(frozen=True)
class PretrainingConfig:
    """The settings of contrastive training on recorded frames: the data, the encoder and the steps.

    Frames have `pre_transform_image_size` rows and columns, of which `image_size` are read. A batch counts
    observations, whatever they are grouped into.
    """

    episodes: int
    held_out: int
    pre_transform_image_size: int
    image_size: int
    num_filters: int
    steps: int
    batch_size: int
    eval_every: int
    lr: float = 2e-3

    def build_encoder(self) -> PixelEncoder:
        """Build an initialized encoder."""
        encoder = PixelEncoder(self.image_size, 50, ConvEncoder(9, self.num_filters))
        weight_init(encoder)
        return encoder


class QueryKeyEncoder(nn.Module):
    """An encoder for the queries, and its moving average for the keys."""

    def __init__(self, encoder: PixelEncoder) -> None:
        super().__init__()
        self.encoder: PixelEncoder = encoder
        self.encoder_target: PixelEncoder = copy.deepcopy(encoder).requires_grad_(False)


def update_encoder_target(model: Any) -> None:
    """Update the moving average of a `QueryKeyEncoder`."""
    ema_update(model.encoder_target, model.encoder, 0.05)


class Recording(NamedTuple):
    """Episodes of cartpole.

    Attributes:
        frames: By episode and time.
        states: By episode, time and quantity.
    """

    frames: Tensor
    states: Tensor

    def select(self, episodes: slice) -> "Recording":
        """Return some of the episodes."""
        return Recording(self.frames[episodes], self.states[episodes])


def record_episodes(episodes: int, image_size: int, seed: int) -> Recording:
    """Record episodes of random actions; the same seed gives the same frames."""
    task = DMControlEnvironment("cartpole", "swingup", ACTION_REPEAT, image_size, seed)
    draw = np.random.RandomState(seed)
    frames, states = [], []
    for _ in range(episodes):
        frames.append([task.reset()])
        states.append([_state(task)])
        for _ in range(EPISODE_LENGTH // ACTION_REPEAT):
            frames[-1].append(task.step(torch.from_numpy(draw.uniform(-1, 1, 1))).frame)
            states[-1].append(_state(task))
    return Recording(
        torch.stack([torch.stack(episode) for episode in frames]), torch.tensor(states, dtype=torch.float32)
    )


def _state(task: DMControlEnvironment) -> list[float]:
    return [*task.physics.bounded_position(), *task.physics.velocity()]


def fill_replay_buffer(frames: Tensor) -> ReplayBuffer:
    """Return a replay buffer that holds these episodes."""
    episodes, steps, channels, rows, columns = frames.shape
    buffer = ReplayBuffer(episodes * steps, 1, (channels, rows, columns))
    for episode in frames:
        buffer.add_first(episode[0])
        for frame in episode[1:]:
            buffer.add(torch.zeros(1), 0.0, frame)
    return buffer


def stack_frames(frames: Tensor, frame_stack: int = 3) -> Tensor:
    """Return the observations of episodes, by episode and time, from the first complete stack on."""
    steps = frames.shape[1] - frame_stack + 1
    return torch.cat([frames[:, back : back + steps] for back in range(frame_stack)], dim=2)


class LinearProbe:
    """Ridge regression of the state on an encoder's features, measured by R² on held-out episodes.

    Args:
        train: Episodes that the regression is fitted to.
        test: Held-out episodes.
        image_size: Height and width of the center crop that the encoder reads.
        subsample: The step in time from one example to the next.
    """

    def __init__(self, train: Recording, test: Recording, image_size: int, subsample: int = 2) -> None:
        self.train, self.test = (
            center_crop(_observations(part.frames, subsample), image_size) for part in (train, test)
        )
        self.train_states, self._test = (part.states[:, 2::subsample].flatten(0, 1).double() for part in (train, test))

    def __call__(self, encoder: PixelEncoder) -> Measures:
        """Return R² for each quantity, and their mean."""
        train, test = (self._encode(encoder, pixels) for pixels in (self.train, self.test))
        return _by_quantity(r_squared(train, test, self.train_states, self._test))

    def principal_components(self, n_components: int = 50) -> Measures:
        """Return R² for the first principal components of the pixels in place of features."""
        pixels = [part.flatten(1).float() / 255 for part in (self.train, self.test)]
        centered = [part - pixels[0].mean(dim=0) for part in pixels]
        n_components = min(n_components, len(centered[0]) - 1)
        values, vectors = torch.linalg.eigh(centered[0] @ centered[0].T)
        axes = centered[0].T @ vectors[:, -n_components:] / values[-n_components:].clamp(min=1e-6).sqrt()
        train, test = ((part @ axes).double() for part in centered)
        return _by_quantity(r_squared(train, test, self.train_states, self._test))

    @torch.no_grad()
    def _encode(self, encoder: PixelEncoder, pixels: Tensor) -> Tensor:
        device, starts = encoder.fc.weight.device, range(0, len(pixels), 256)
        return torch.cat([encoder(pixels[start : start + 256].to(device)).cpu().double() for start in starts])


def _by_quantity(found: list[float]) -> Measures:
    return {**dict(zip(QUANTITIES, found, strict=True)), "mean": sum(found) / len(found)}


def _observations(frames: Tensor, subsample: int) -> Tensor:
    return stack_frames(frames)[:, ::subsample].flatten(0, 1)


def r_squared(train: Tensor, test: Tensor, targets: Tensor, test_targets: Tensor) -> list[float]:
    r"""Return the R² of ridge regression on the test set, for each quantity.

    $$R^2 = 1 - \frac{\sum (y - \hat y)^2}{\sum (y - \bar y)^2}$$

    The regularization strength is chosen for each quantity on the last quarter of the training set.
    """
    cut = 3 * len(train) // 4
    fit, held = slice(None, cut), slice(cut, None)
    tried = torch.stack(
        [_r_squared(_ridge(train[fit], targets[fit], train[held], s), targets[held]) for s in RIDGE_STRENGTHS]
    )
    best = tried.argmax(dim=0)
    scores = torch.stack([_r_squared(_ridge(train, targets, test, s), test_targets) for s in RIDGE_STRENGTHS])
    return scores.gather(0, best[None])[0].tolist()


def _ridge(features: Tensor, targets: Tensor, new: Tensor, strength: float) -> Tensor:
    """Fit ridge regression, and return its predictions for new features."""
    mean, center = features.mean(dim=0), targets.mean(dim=0)
    scale = (features - mean).square().mean().sqrt().clamp(min=1e-9)
    x, given = (features - mean) / scale, (new - mean) / scale
    normal = x.T @ x + strength * len(x) / x.shape[1] * torch.eye(x.shape[1], dtype=x.dtype)
    return given @ torch.linalg.solve(normal, x.T @ (targets - center)) + center


def _r_squared(predictions: Tensor, targets: Tensor) -> Tensor:
    residuals, centered = predictions - targets, targets - targets.mean(dim=0)
    return 1 - residuals.square().sum(dim=0) / centered.square().sum(dim=0)


@contextmanager
def fork_rng(generator: torch.Generator) -> Iterator[None]:
    """Seed the global generator from this one, and restore its state afterwards."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def prepare_data(run: Run, config: PretrainingConfig) -> tuple[LinearProbe, Recording, Recording]:
    """Return the probe, the training episodes and the held-out ones.

    Each process records them again, also when a run is resumed, so that no file has to be shared.
    """
    whole = record_episodes(config.episodes, config.pre_transform_image_size, run.seed)
    train, test = whole.select(slice(-config.held_out)), whole.select(slice(-config.held_out, None))
    return LinearProbe(train, test, config.image_size), train, test


def probe_untrained(config: PretrainingConfig, probe: LinearProbe, seed: int) -> Measures:
    """Return the R² of the initial encoder, which all arms of a seed share."""
    set_seed(seed)
    return probe(config.build_encoder())


def series(name: str, curves: Sequence[Curve], what: str, starts: Sequence[float] | None = None) -> Series:
    """Return one measure of the curves of all seeds, with its value before training at step 0."""
    if starts is not None:
        curves = [[{"step": 0, what: start}, *curve] for start, curve in zip(starts, curves, strict=True)]
    return Series.of(name, curves, what)


def table_rows(arms: Mapping[str, Sequence[Measures]]) -> tuple[tuple[str | float, ...], ...]:
    """Return the rows of a table: for each arm the mean R² over seeds, by quantity."""
    rows: list[tuple[str | float, ...]] = []
    for arm, found in arms.items():
        means = [sum(each[what] for each in found) / len(found) for what in QUANTITIES]
        rows.append((arm, *means, spread([each["mean"] for each in found], ".2f")))
    return tuple(rows)


def picture(title: str, observation: Tensor, scale: int = 2) -> Picture:
    """Return the last frame of an observation as a picture."""
    pixels = observation[-3:].permute(1, 2, 0).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    return Picture(title=title, png=encoded(Image.fromarray(pixels.numpy())))
