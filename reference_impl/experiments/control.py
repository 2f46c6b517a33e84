"""Environments that are seen as pixels, and the loop in which an agent acts on one and learns.

Tasks are of the DeepMind Control Suite, drawn without shadows, reflections, sky and haze, so that a second gives some
thousand pictures: the sky is black, and the rest is as usual. Games are of MinAtar, where a screen has 10 × 10 cells
and a channel for each kind of thing.

An environment can be taken up in the middle of an episode: it keeps the random numbers' state from the episode's
beginning and the actions since, and plays these again.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import Tensor

from reference_impl.curl import Convolutions, PixelEncoder, ReplayBuffer, SoftActorCritic
from reference_impl.experiments.training import accelerator, run_on_main_process

# MuJoCo chooses how to draw when it is imported: EGL needs no screen.
os.environ.setdefault("MUJOCO_GL", "egl")

EPISODE = 1000
"""Steps of the environment in an episode of the control suite."""
TASKS = {
    "finger": ("finger", "spin", 2),
    "cartpole": ("cartpole", "swingup", 8),
    "reacher": ("reacher", "easy", 4),
    "cheetah": ("cheetah", "run", 4),
    "walker": ("walker", "walk", 2),
    "cup": ("ball_in_cup", "catch", 4),
}
"""The tasks of CURL's paper: body, task, and how often an action is repeated."""


class Moment(NamedTuple):
    """What an action led to: its reward, the frame, whether the task is at its end, and whether the episode is over."""

    reward: float
    frame: Tensor
    terminal: bool
    over: bool


class Environment(ABC):
    """Something that is acted on and seen as frames.

    Args:
        seed: Seeds all that is random in it.

    Attributes:
        frame: The channels, rows and columns of a frame.
        actions: How many numbers make an action, each in [-1, 1]; of a game, how many actions there are.
        repeat: How many steps of the environment an action lasts.
    """

    frame: tuple[int, int, int]
    actions: int
    repeat = 1

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)
        self._began, self._taken = self.random.get_state(legacy=False), list[list[float]]()

    def begin(self) -> Tensor:
        """Begin an episode, and return its first frame."""
        self._began, self._taken = self.random.get_state(legacy=False), []
        return self._begin()

    def act(self, action: Tensor) -> Moment:
        """Act, and return what comes of it."""
        self._taken.append(action.tolist())
        return self._act(action)

    def state(self) -> Any:
        """Return what `restore` needs."""
        return {"began": self._began, "taken": self._taken}

    def restore(self, state: Any) -> None:
        """Go to where `state` was taken."""
        self.random.set_state(state["began"])
        self.begin()
        for action in state["taken"]:
            self.act(torch.tensor(action))

    def draw(self) -> Tensor:
        """Draw an action."""
        return 2 * torch.rand(self.actions) - 1

    @abstractmethod
    def _begin(self) -> Tensor:
        """Begin an episode, and return its first frame."""

    @abstractmethod
    def _act(self, action: Tensor) -> Moment:
        """Act, and return what comes of it."""


class Task(Environment):
    """A task of the control suite.

    Args:
        domain: The suite's name of the body.
        task: The suite's name of what it has to do.
        repeat: How often an action is repeated.
        side: The rows and columns of a frame.
        seed: Seeds the episodes' beginnings.
    """

    def __init__(self, domain: str, task: str, repeat: int, side: int, seed: int) -> None:
        super().__init__(seed)
        import mujoco  # type: ignore[import-untyped]  # it has no types
        from dm_control import suite
        from dm_control.mujoco import engine

        endless = {"random": self.random, "time_limit": float("inf")}
        self._suite = suite.load(domain, task, task_kwargs=endless)
        self.frame, self.actions, self.repeat = (3, side, side), self._suite.action_spec().shape[0], repeat
        self._decisions = 0
        quality = self.physics.model.vis.quality
        quality.offsamples = quality.shadowsize = 0
        self._camera = engine.Camera(self.physics, height=2 * side, width=2 * side, camera_id=0)
        for effect in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE"):
            self._camera.scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{effect}")] = 0

    @property
    def physics(self) -> Any:
        """The simulated body."""
        return self._suite.physics

    def _begin(self) -> Tensor:
        self._suite.reset()
        self._decisions = 0
        return self._drawn()

    def _act(self, action: Tensor) -> Moment:
        reward = 0.0
        for _ in range(self.repeat):
            reward += self._suite.step(action.cpu().numpy()).reward
        self._decisions += 1
        return Moment(reward, self._drawn(), False, self._decisions >= EPISODE // self.repeat)

    def _drawn(self) -> Tensor:
        """Draw a frame; each pixel is the mean of four, or else a thin pole would come and go."""
        side = self.frame[1]
        pixels = self._camera.render().reshape(side, 2, side, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


class Game(Environment):
    """A game of MinAtar; an action is one of a few, as a vector with a single 1.

    Args:
        name: MinAtar's name of the game.
        margin: Rows and columns of black around the screen: so far a crop can shift it.
        seed: Seeds the game.
    """

    def __init__(self, name: str, margin: int, seed: int) -> None:
        super().__init__(seed)
        from minatar import Environment as MinAtar

        self._game, self._margin = MinAtar(name), margin
        self._game.random = self._game.env.random = self.random
        rows, columns, channels = self._game.state_shape()
        self.frame = (channels, rows + 2 * margin, columns + 2 * margin)
        self._choices = self._game.minimal_action_set()
        self.actions = len(self._choices)

    def draw(self) -> Tensor:
        """Draw an action."""
        return torch.eye(self.actions)[torch.randint(self.actions, ())]

    def _begin(self) -> Tensor:
        self._game.reset()
        # Sometimes the former action is taken again; an episode's first has none before it.
        self._game.last_action = 0
        return self._drawn()

    def _act(self, action: Tensor) -> Moment:
        reward, terminal = self._game.act(self._choices[int(action.argmax())])
        return Moment(float(reward), self._drawn(), terminal, terminal)

    def _drawn(self) -> Tensor:
        cells = torch.from_numpy(self._game.state()).permute(2, 0, 1)
        return torch.nn.functional.pad(255 * cells.to(torch.uint8), (self._margin,) * 4)


# Tests check types while the code runs (beartype), which a protocol must allow.
@runtime_checkable
class Agent(Protocol):
    """What acts and learns: `SoftActorCritic` and its like."""

    def act(self, pixels: Tensor, explore: bool = False) -> Tensor:
        """Return an action for each observation."""

    def update(self, buffer: ReplayBuffer, step: int, batch: int) -> None:
        """Learn from what has been seen."""

    def state_dict(self) -> dict[str, Any]:
        """Return its numbers, as a module does."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take numbers that `state_dict` returned."""


class Playing:
    """Decisions of an agent that acts and learns; a `quaere.running.experiments.Loop`.

    An update after each decision depends on all decisions before it, so that this is one process's work; in several,
    each does the same.

    Args:
        environment: Makes the environment from a seed.
        agent: Makes the agent, after the seed is set.
        decisions: How many are taken.
        seed: Seeds the weights, the environment and what is drawn.
        first: How many decisions are random, before the agent acts and learns.
        batch: Transitions of an update.
        stack: Frames of an observation.
        capacity: Frames that are kept.
        windows: Into how many parts the curve is divided.
        trials: Episodes without exploration at the end.
        interval: Decisions between two checkpoints.
        device: `auto`, or one to insist on.
    """

    def __init__(
        self,
        environment: Callable[[int], Environment],
        agent: Callable[[], Agent],
        decisions: int,
        seed: int,
        *,
        first: int,
        batch: int,
        stack: int = 3,
        capacity: int = 100_000,
        windows: int = 20,
        trials: int = 10,
        interval: int = 2000,
        device: str = "auto",
    ) -> None:
        self.steps, self.interval, self._seed = decisions, interval, seed
        self._make, self._environment = environment, environment(seed)
        self._first, self._batch, self._windows, self._trials = first, batch, windows, trials
        set_seed(seed)
        self._device = accelerator(device).device
        with self._device:
            self.agent = agent()
            self.buffer = ReplayBuffer(
                min(capacity, 2 * decisions), self._environment.actions, self._environment.frame, stack
            )
        self._over, self._return = True, 0.0
        self.ended: list[tuple[int, float]] = []

    def step(self, index: int) -> float:
        """Decide once, and learn; return minus what the last whole episode earned."""
        if self._over:
            self.buffer.begin(self._environment.begin())
            self._return = 0.0
        random = index < self._first
        action = self._environment.draw() if random else self.agent.act(_latest(self.buffer), explore=True)[0]
        reward, frame, terminal, self._over = self._environment.act(action)
        self.buffer.add(action, reward, frame, terminal)
        self._return += reward
        if self._over:
            self.ended.append((index + 1, self._return))
        if not random:
            self.agent.update(self.buffer, index, self._batch)
        return -self.ended[-1][1] if self.ended else 0.0

    def save(self, folder: Path) -> None:
        """Write agent, optimisers, buffer, environment and random numbers; all processes call it."""
        state = {
            "agent": self.agent.state_dict(),
            "kept": {name: part.state_dict() for name, part in _stateful(self.agent)},
            "buffer": vars(self.buffer),
            "environment": self._environment.state(),
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
        }

        def write() -> None:
            torch.save(state, folder / "state.pt")
            (folder / "played.json").write_text(json.dumps([self._over, self._return, self.ended]))

        run_on_main_process(write)

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote."""
        state = torch.load(folder / "state.pt", weights_only=False, map_location="cpu")
        self.agent.load_state_dict(state["agent"])
        for name, part in _stateful(self.agent):
            part.load_state_dict(state["kept"][name])
        for name, part in state["buffer"].items():
            setattr(self.buffer, name, part.to(self._device) if isinstance(part, Tensor) else part)
        self._environment.restore(state["environment"])
        self._over, self._return, ended = json.loads((folder / "played.json").read_text())
        self.ended = [(index, earned) for index, earned in ended]
        torch.set_rng_state(state["random"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])

    def result(self) -> dict[str, Any]:
        """Return what episodes earned while learning, by steps of the environment, and in the trials at the end."""
        repeat, length = self._environment.repeat, self.steps / self._windows
        steps, earned = [], []
        for window in range(self._windows):
            within = [gain for index, gain in self.ended if window * length < index <= (window + 1) * length]
            steps.append(round((window + 1) * length) * repeat)
            earned.append(sum(within) / len(within) if within else None)
        trial = self._make(self._seed + 10_000)
        scores = [_played(self.agent, trial, self.buffer.stack, self._device) for _ in range(self._trials)]
        return {"steps": steps, "earned": earned, "score": sum(scores) / len(scores), "episodes": len(self.ended)}


def _latest(buffer: ReplayBuffer) -> Tensor:
    """Return the present observation, as a batch of one."""
    slot = torch.tensor([(buffer.head - 1) % buffer.capacity], device=buffer.frames.device)
    return buffer.stacks(slot)


def _played(agent: Agent, environment: Environment, stack: int, device: torch.device) -> float:
    """Play an episode without exploring, and return what it earned."""
    with device:
        buffer = ReplayBuffer(stack + 1, environment.actions, environment.frame, stack)
    buffer.begin(environment.begin())
    earned, over = 0.0, False
    while not over:
        action = agent.act(_latest(buffer))[0]
        reward, frame, _, over = environment.act(action)
        buffer.add(action, reward, frame)
        earned += reward
    return earned


def _stateful(agent: Any) -> list[tuple[str, Any]]:
    """Return an agent's optimisers and schedules, which its state as a module leaves out."""
    kinds = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    return [(name, part) for name, part in sorted(vars(agent).items()) if isinstance(part, kinds)]


@dataclass(frozen=True)
class Suite:
    """Tasks of the control suite, and an agent's size: steps of the environment, after how many decisions it learns.

    Frames have `side` rows and columns, of which the agent reads `crop`.
    """

    tasks: tuple[str, ...]
    steps: int
    first: int
    batch: int
    side: int
    crop: int
    filters: int
    hidden: int


ALL_TASKS = Suite(tuple(TASKS), 100_000, first=1000, batch=512, side=100, crop=84, filters=32, hidden=1024)
"""What CURL's paper runs."""
ONE_TASK_BRIEFLY = Suite(("cartpole",), 96, first=8, batch=4, side=20, crop=16, filters=4, hidden=16)
NO_TASKS = Suite((), steps=0, first=0, batch=0, side=0, crop=0, filters=0, hidden=0)


def playing_task(
    suite: Suite, name: str, kind: Callable[..., SoftActorCritic], side: int, seed: int, device: str
) -> Playing:
    """Make the loop of an agent on a task of the control suite, whose frames have `side` rows and columns."""
    domain, task, repeat = TASKS[name]
    actions = Task(domain, task, repeat, side, seed).actions
    rate = 2e-4 if name == "cheetah" else 1e-3

    def environment(seed: int) -> Environment:
        return Task(domain, task, repeat, side, seed)

    def agent() -> SoftActorCritic:
        encoder = PixelEncoder(suite.crop, 50, Convolutions(9, suite.filters))
        return kind(encoder, actions, suite.hidden, rate)

    return Playing(
        environment,
        agent,
        suite.steps // repeat,
        seed,
        first=suite.first,
        batch=suite.batch,
        trials=10 if suite.steps > EPISODE else 1,
        device=device,
    )
