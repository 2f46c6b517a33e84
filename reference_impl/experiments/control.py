"""Environments with pixel observations, and the training loop of an agent.

Tasks are of the DeepMind Control Suite, rendered without shadows, reflections, sky and haze for speed: the sky is
black, and the rest is as usual. Games are of MinAtar, whose screen has 10 × 10 cells and a channel for each kind of
object.

The state of an environment can be saved in the middle of an episode: it is the random state at the episode's start and
the actions since, which are played again.
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

from reference_impl.curl import ConvEncoder, PixelEncoder, ReplayBuffer, SoftActorCritic
from reference_impl.experiments.training import accelerator, run_on_main_process

# MuJoCo selects its renderer on import; EGL needs no display.
os.environ.setdefault("MUJOCO_GL", "egl")

EPISODE_LENGTH = 1000
"""Environment steps of an episode of the control suite."""
TASKS = {
    "finger": ("finger", "spin", 2),
    "cartpole": ("cartpole", "swingup", 8),
    "reacher": ("reacher", "easy", 4),
    "cheetah": ("cheetah", "run", 4),
    "walker": ("walker", "walk", 2),
    "cup": ("ball_in_cup", "catch", 4),
}
"""The tasks of CURL's paper: domain, task, and action repeat."""


class TimeStep(NamedTuple):
    """The result of an action; `terminal` if the task has ended, `done` if the episode has, also by its time limit."""

    reward: float
    frame: Tensor
    terminal: bool
    done: bool


class Environment(ABC):
    """An environment whose observations are frames.

    Args:
        seed: Seeds its random state.

    Attributes:
        frame_shape: The channels, rows and columns of a frame.
        action_dim: The dimension of an action, each component in [-1, 1]; of a game, the number of actions.
        action_repeat: How many environment steps an action lasts.
    """

    frame_shape: tuple[int, int, int]
    action_dim: int
    action_repeat = 1

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)
        self._episode_state, self._actions_taken = self.random.get_state(legacy=False), list[list[float]]()

    def reset(self) -> Tensor:
        """Start an episode, and return its first frame."""
        self._episode_state, self._actions_taken = self.random.get_state(legacy=False), []
        return self._reset()

    def step(self, action: Tensor) -> TimeStep:
        """Take an action, and return its result."""
        self._actions_taken.append(action.tolist())
        return self._step(action)

    def get_state(self) -> Any:
        """Return what `set_state` needs: the random state at the episode's start, and its actions."""
        return {"random": self._episode_state, "actions": self._actions_taken}

    def set_state(self, state: Any) -> None:
        """Return to the state of `get_state`, by playing the episode again."""
        self.random.set_state(state["random"])
        self.reset()
        for action in state["actions"]:
            self.step(torch.tensor(action))

    def sample_action(self) -> Tensor:
        """Return a random action."""
        return 2 * torch.rand(self.action_dim) - 1

    @abstractmethod
    def _reset(self) -> Tensor:
        """Start an episode, and return its first frame."""

    @abstractmethod
    def _step(self, action: Tensor) -> TimeStep:
        """Take an action, and return its result."""


class DMControlEnvironment(Environment):
    """A task of the control suite.

    Args:
        domain: The suite's name of the domain.
        task: The suite's name of the task.
        action_repeat: How often an action is repeated.
        image_size: The rows and columns of a frame.
        seed: Seeds the initial states.
    """

    def __init__(self, domain: str, task: str, action_repeat: int, image_size: int, seed: int) -> None:
        super().__init__(seed)
        import mujoco  # type: ignore[import-untyped]  # it has no types
        from dm_control import suite
        from dm_control.mujoco import engine

        endless = {"random": self.random, "time_limit": float("inf")}
        self._suite = suite.load(domain, task, task_kwargs=endless)
        self.frame_shape, self.action_repeat = (3, image_size, image_size), action_repeat
        self.action_dim = self._suite.action_spec().shape[0]
        self._num_steps = 0
        quality = self.physics.model.vis.quality
        quality.offsamples = quality.shadowsize = 0
        self._camera = engine.Camera(self.physics, height=2 * image_size, width=2 * image_size, camera_id=0)
        for effect in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE"):
            self._camera.scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{effect}")] = 0

    @property
    def physics(self) -> Any:
        """The simulation."""
        return self._suite.physics

    def _reset(self) -> Tensor:
        self._suite.reset()
        self._num_steps = 0
        return self._render()

    def _step(self, action: Tensor) -> TimeStep:
        reward = 0.0
        for _ in range(self.action_repeat):
            reward += self._suite.step(action.cpu().numpy()).reward
        self._num_steps += 1
        return TimeStep(reward, self._render(), False, self._num_steps >= EPISODE_LENGTH // self.action_repeat)

    def _render(self) -> Tensor:
        """Render a frame; each pixel is the mean of four, to antialias the thin pole."""
        image_size = self.frame_shape[1]
        pixels = self._camera.render().reshape(image_size, 2, image_size, 2, 3)
        pixels = pixels.mean(axis=(1, 3)).round().astype(np.uint8)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


class MinAtarEnvironment(Environment):
    """A game of MinAtar, whose actions are one-hot vectors.

    Args:
        name: MinAtar's name of the game.
        padding: Rows and columns of zeros around the screen, which allow for random crops.
        seed: Seeds the game.
    """

    def __init__(self, name: str, padding: int, seed: int) -> None:
        super().__init__(seed)
        from minatar import Environment as MinAtar

        self._game, self._padding = MinAtar(name), padding
        self._game.random = self._game.env.random = self.random
        rows, columns, channels = self._game.state_shape()
        self.frame_shape = (channels, rows + 2 * padding, columns + 2 * padding)
        self._choices = self._game.minimal_action_set()
        self.action_dim = len(self._choices)

    def sample_action(self) -> Tensor:
        """Return a random action."""
        return torch.eye(self.action_dim)[torch.randint(self.action_dim, ())]

    def _reset(self) -> Tensor:
        self._game.reset()
        # The last action is sometimes repeated, and must not come from the last episode.
        self._game.last_action = 0
        return self._render()

    def _step(self, action: Tensor) -> TimeStep:
        reward, terminal = self._game.act(self._choices[int(action.argmax())])
        return TimeStep(float(reward), self._render(), terminal, terminal)

    def _render(self) -> Tensor:
        cells = torch.from_numpy(self._game.state()).permute(2, 0, 1)
        return torch.nn.functional.pad(255 * cells.to(torch.uint8), (self._padding,) * 4)


# Tests check types at run time (beartype), which a protocol must allow.
@runtime_checkable
class Agent(Protocol):
    """The interface of an agent, such as `SoftActorCritic`."""

    def act(self, obs: Tensor, explore: bool = False) -> Tensor:
        """Return an action for each observation."""

    def update(self, replay_buffer: ReplayBuffer, step: int, batch_size: int) -> None:
        """Take a training step."""

    def state_dict(self) -> dict[str, Any]:
        """Return its parameters and buffers, as a module does."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Load what `state_dict` returned."""


@dataclass(frozen=True)
class TrainingConfig:
    """How an agent is trained and evaluated, by the names of CURL's public code.

    Attributes:
        init_steps: Random actions before the agent acts and learns.
        batch_size: Transitions of an update.
        frame_stack: Frames of an observation.
        replay_buffer_capacity: Frames that are kept.
        num_eval_episodes: Episodes without exploration at the end.
        curve_points: Into how many parts the learning curve is divided.
        interval: Actions between two checkpoints.
    """

    init_steps: int
    batch_size: int
    frame_stack: int = 3
    replay_buffer_capacity: int = 100_000
    num_eval_episodes: int = 10
    curve_points: int = 20
    interval: int = 2000


class AgentTraining:
    """The training loop of an agent that learns online; a `quaere.running.experiments.Loop`.

    A step is one action and one update, which depends on all steps before it. So training runs in one process; in
    several, each does the same.

    Args:
        environment: Builds the environment from a seed.
        agent: Builds the agent, after the seed is set.
        num_train_steps: The number of actions.
        seed: Seeds the weights, the environment and the samples.
        config: The settings of training.
        device: A device, or `auto`.
    """

    is_done = False

    def __init__(
        self,
        environment: Callable[[int], Environment],
        agent: Callable[[], Agent],
        num_train_steps: int,
        seed: int,
        config: TrainingConfig,
        device: str = "auto",
    ) -> None:
        self.steps, self.interval, self._seed = num_train_steps, config.interval, seed
        self._make, self._environment = environment, environment(seed)
        self._config = config
        set_seed(seed)
        self._device = accelerator(device).device
        with self._device:
            self.agent = agent()
            self.replay_buffer = ReplayBuffer(
                min(config.replay_buffer_capacity, 2 * num_train_steps),
                self._environment.action_dim,
                self._environment.frame_shape,
                config.frame_stack,
            )
        self._done, self._return = True, 0.0
        self.episode_returns: list[tuple[int, float]] = []

    def step(self, index: int) -> float:
        """Take one action and one update; return minus the return of the last complete episode."""
        if self._done:
            self.replay_buffer.add_first(self._environment.reset())
            self._return = 0.0
        random = index < self._config.init_steps
        if random:
            action = self._environment.sample_action()
        else:
            action = self.agent.act(_latest_observation(self.replay_buffer), explore=True)[0]
        reward, frame, terminal, self._done = self._environment.step(action)
        self.replay_buffer.add(action, reward, frame, terminal)
        self._return += reward
        if self._done:
            self.episode_returns.append((index + 1, self._return))
        if not random:
            self.agent.update(self.replay_buffer, index, self._config.batch_size)
        return -self.episode_returns[-1][1] if self.episode_returns else 0.0

    def save(self, folder: Path) -> None:
        """Write agent, optimizers, replay buffer, environment and random state; all processes call it."""
        state = {
            "agent": self.agent.state_dict(),
            "optimizers": {name: part.state_dict() for name, part in _stateful(self.agent)},
            "buffer": vars(self.replay_buffer),
            "environment": self._environment.get_state(),
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
        }

        def write() -> None:
            torch.save(state, folder / "state.pt")
            (folder / "played.json").write_text(json.dumps([self._done, self._return, self.episode_returns]))

        run_on_main_process(write)

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote."""
        state = torch.load(folder / "state.pt", weights_only=False, map_location="cpu")
        self.agent.load_state_dict(state["agent"])
        for name, part in _stateful(self.agent):
            part.load_state_dict(state["optimizers"][name])
        for name, part in state["buffer"].items():
            setattr(self.replay_buffer, name, part.to(self._device) if isinstance(part, Tensor) else part)
        self._environment.set_state(state["environment"])
        self._done, self._return, episode_returns = json.loads((folder / "played.json").read_text())
        self.episode_returns = [(index, returns) for index, returns in episode_returns]
        torch.set_rng_state(state["random"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])

    def result(self) -> dict[str, Any]:
        """Return the episodes' returns in training, by environment steps, and the mean of the final evaluation."""
        action_repeat, length = self._environment.action_repeat, self.steps / self._config.curve_points
        steps, returns = [], []
        for window in range(self._config.curve_points):
            within = [gain for index, gain in self.episode_returns if window * length < index <= (window + 1) * length]
            steps.append(round((window + 1) * length) * action_repeat)
            returns.append(sum(within) / len(within) if within else None)
        trial = self._make(self._seed + 10_000)
        frame_stack, trials = self.replay_buffer.frame_stack, range(self._config.num_eval_episodes)
        scores = [_evaluate(self.agent, trial, frame_stack, self._device) for _ in trials]
        return {
            "steps": steps,
            "returns": returns,
            "score": sum(scores) / len(scores),
            "episodes": len(self.episode_returns),
        }


def random_return(environment: Environment, episodes: int, seed: int) -> float:
    """Return the mean return of episodes of random actions."""
    set_seed(seed)
    total = 0.0
    for _ in range(episodes):
        environment.reset()
        done = False
        while not done:
            reward, _, _, done = environment.step(environment.sample_action())
            total += reward
    return total / episodes


def _latest_observation(replay_buffer: ReplayBuffer) -> Tensor:
    """Return the current observation, as a batch of one."""
    index = torch.tensor([(replay_buffer.idx - 1) % replay_buffer.capacity], device=replay_buffer.frames.device)
    return replay_buffer.stack_frames(index)


def _evaluate(agent: Agent, environment: Environment, frame_stack: int, device: torch.device) -> float:
    """Run an episode without exploration, and return its return."""
    with device:
        replay_buffer = ReplayBuffer(frame_stack + 1, environment.action_dim, environment.frame_shape, frame_stack)
    replay_buffer.add_first(environment.reset())
    returns, done = 0.0, False
    while not done:
        action = agent.act(_latest_observation(replay_buffer))[0]
        reward, frame, _, done = environment.step(action)
        replay_buffer.add(action, reward, frame)
        returns += reward
    return returns


def _stateful(agent: Any) -> list[tuple[str, Any]]:
    """Return an agent's optimizers and schedulers, which its `state_dict` leaves out."""
    kinds = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    return [(name, part) for name, part in sorted(vars(agent).items()) if isinstance(part, kinds)]


@dataclass(frozen=True)
class Suite:
    """Tasks of the control suite, and the settings of their agents, by the names of CURL's public code.

    Attributes:
        tasks: Names in `TASKS`.
        steps: Steps of the environment.
        init_steps: Random actions before the agent learns.
        batch_size: Transitions of an update.
        pre_transform_image_size: Rows and columns of a frame.
        image_size: Rows and columns of the crop that the agent reads.
        num_filters: Filters of each convolution.
        hidden_dim: Width of the hidden layers of actor and critic.
    """

    tasks: tuple[str, ...]
    steps: int
    init_steps: int
    batch_size: int
    pre_transform_image_size: int
    image_size: int
    num_filters: int
    hidden_dim: int


ALL_TASKS = Suite(
    tuple(TASKS),
    steps=100_000,
    init_steps=1000,
    batch_size=512,
    pre_transform_image_size=100,
    image_size=84,
    num_filters=32,
    hidden_dim=1024,
)
"""What CURL's paper runs."""
SMOKE_TASK = Suite(
    ("cartpole",),
    steps=96,
    init_steps=8,
    batch_size=4,
    pre_transform_image_size=20,
    image_size=16,
    num_filters=4,
    hidden_dim=16,
)
NO_TASKS = Suite(
    (), steps=0, init_steps=0, batch_size=0, pre_transform_image_size=0, image_size=0, num_filters=0, hidden_dim=0
)


def build_task_training(
    suite: Suite, name: str, agent_class: Callable[..., SoftActorCritic], image_size: int, seed: int, device: str
) -> AgentTraining:
    """Build the training loop of an agent on a task of the control suite.

    `image_size` is the height and width of the frames, which the agent crops to `suite.image_size`.
    """
    domain, task, action_repeat = TASKS[name]
    action_dim = DMControlEnvironment(domain, task, action_repeat, image_size, seed).action_dim
    lr = 2e-4 if name == "cheetah" else 1e-3

    def environment(seed: int) -> Environment:
        return DMControlEnvironment(domain, task, action_repeat, image_size, seed)

    def agent() -> SoftActorCritic:
        encoder = PixelEncoder(suite.image_size, 50, ConvEncoder(9, suite.num_filters))
        return agent_class(encoder, action_dim, suite.hidden_dim, lr)

    return AgentTraining(
        environment,
        agent,
        suite.steps // action_repeat,
        seed,
        TrainingConfig(suite.init_steps, suite.batch_size, num_eval_episodes=10 if suite.steps > EPISODE_LENGTH else 1),
        device=device,
    )
