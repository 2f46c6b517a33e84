r"""CURL: does the contrastive loss improve the features of pixels, and an agent that learns from pixels?

Claims: Contrastive learning extracts high-level features from raw pixels (abstract), and an agent with it learns in
    fewer steps than the same agent without (abstract; Appendix E.4 for the loss without crops for the agent itself).

Tasks: *Features*: an encoder is trained on frames of cartpole by the contrastive loss alone. *Playing*: an agent learns
    MinAtar's games, with 10 × 10 cells and a channel for each kind of object. Of its games, breakout and space invaders
    were tried, and both are run.

Arms: the encoder is compared with itself before training, with as many principal components of the pixels, and with one
    that is trained by the labels, which shows what can be predicted at all. One agent, double Q-learning with CURL's
    encoder at a stride of 1, learns each game with and without the contrastive loss. As in Appendix E.4, the agent
    itself sees no random crops.

Budget: the encoders train until R² has stopped rising. The agents take equally many actions. Contrastive learning alone
    takes a learning rate of 0.002, twice the paper's 0.001, since CURL's public code in effect doubles it too. No
    record tells what else was tried; the rate may have been settled on by looking at the probe that judges here.

Measures: R² of ridge regression, which predicts the state of cart and pole from the features, in held-out episodes; the
    agent's return during training and in a final evaluation, and that of random actions.

Gates: on features, the contrastive loss is learned, R² has converged, and labels make the state predictable; on an
    agent's scores, the paper's tasks and steps, and that some agent plays better than random actions. Three seeds or
    more.

Rules: all were set when an earlier run had been seen. In it, after 800 steps, R² of positions had risen in every seed
    and that of velocities hardly; that a quantity counts only if labels make it predictable came after that. In the
    games the contrast had lowered returns, and so had crops for the agent itself, whose two arms are dropped. That was
    once judged as the paper's claim, which is about control, and is now shown without a verdict.

Stands in: at `small` frames of 48, cropped to 40, for 100 and 84; 16 filters for 32. Soft actor-critic on cartpole
    learns nothing within minutes, so there are games.

Sizes: `full` takes the paper's sizes and also trains the agents of `reference_impl.curl` on its six tasks, for 100,000
    steps; `smoke` does so for some steps of one task.

In several processes each query is compared with the keys of all of them. An agent is trained by one process.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from quaere.content.results import Figure, Finding, Gate, Lines, Pictures, Report, Series, Table, spread
from quaere.running.experiments import Run
from reference_impl.curl import (
    CURL,
    BilinearSimilarity,
    ConvEncoder,
    PixelEncoder,
    ReplayBuffer,
    SoftActorCritic,
    center_crop,
    ema_update,
    info_nce,
    mlp,
    optimizer_step,
    random_crop,
    sample,
)
from reference_impl.experiments.arms import measure_seeds, train_seeds
from reference_impl.experiments.control import (
    ALL_TASKS,
    NO_TASKS,
    SMOKE_TASK,
    TASKS,
    AgentTraining,
    DMControlEnvironment,
    MinAtarEnvironment,
    Suite,
    TrainingConfig,
    build_task_training,
    random_return,
)
from reference_impl.experiments.curves import Curve, has_plateaued, list_spreads, select
from reference_impl.experiments.judging import (
    all_runs_above,
    converged,
    differences,
    each_seed_above,
    enough_seeds,
    gate,
    judge,
    no_experiment,
    quantity,
)
from reference_impl.experiments.probe import (
    QUANTITIES,
    LinearProbe,
    Measures,
    PretrainingConfig,
    QueryKeyEncoder,
    Recording,
    fill_replay_buffer,
    fork_rng,
    picture,
    prepare_data,
    probe_untrained,
    series,
    stack_frames,
    table_rows,
    update_encoder_target,
)
from reference_impl.experiments.training import Batch, Training, gather_detached


@dataclass(frozen=True)
class Size:
    """The settings: seeds, contrastive training alone, games, and the tasks of the control suite."""

    seeds: int
    pretraining: PretrainingConfig
    games: tuple[str, ...]
    num_train_steps: int
    init_steps: int
    num_eval_episodes: int
    suite: Suite


GAMES = ("breakout", "space_invaders")
SIZES = {
    "smoke": Size(
        seeds=1,
        pretraining=PretrainingConfig(
            4, held_out=1, pre_transform_image_size=20, image_size=16, num_filters=4, steps=6, batch_size=16,
            eval_every=3
        ),
        games=GAMES, num_train_steps=80, init_steps=50, num_eval_episodes=1, suite=SMOKE_TASK,
    ),
    "small": Size(
        seeds=3,
        pretraining=PretrainingConfig(
            52, held_out=12, pre_transform_image_size=48, image_size=40, num_filters=16, steps=1500, batch_size=128,
            eval_every=100
        ),
        games=GAMES, num_train_steps=3000, init_steps=500, num_eval_episodes=30, suite=NO_TASKS,
    ),
    "full": Size(
        seeds=3,
        pretraining=PretrainingConfig(
            100, held_out=20, pre_transform_image_size=100, image_size=84, num_filters=32, steps=20_000,
            batch_size=512, eval_every=1000
        ),
        games=GAMES, num_train_steps=100_000, init_steps=1000, num_eval_episodes=100, suite=ALL_TASKS,
    ),
}  # fmt: skip


# Arms: encoders that are trained by contrast alone, and agents for games and for the paper's tasks


class ContrastiveModel(QueryKeyEncoder):
    """An encoder for the queries, its moving average for the keys, and the bilinear similarity."""

    def __init__(self, encoder: PixelEncoder) -> None:
        super().__init__(encoder)
        self.similarity = BilinearSimilarity(encoder.feature_dim)


class LabeledModel(nn.Module):
    """An encoder with a linear layer for the state: how much of it can be predicted when labels train the encoder."""

    def __init__(self, encoder: PixelEncoder) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.feature_dim, len(QUANTITIES))


CONTRAST, NO_CONTRAST, RANDOM = "with contrast", "without contrast", "random actions"
ARMS = {NO_CONTRAST: False, CONTRAST: True}
"""Of the agent in games: whether it has the contrastive loss."""


class MinAtarConvEncoder(ConvEncoder):
    """CURL's convolutions with a stride of 1 throughout, for a screen of few cells."""

    def __init__(self, in_channels: int, num_filters: int = 16, layers: int = 2) -> None:
        super().__init__(in_channels, num_filters, layers)
        first = self[0]
        assert isinstance(first, nn.Conv2d)
        first.stride = (1, 1)

    def output_size(self, image_size: int) -> int:
        """Return the height and width of the feature maps for screens of `image_size` × `image_size`."""
        return image_size - 2 * self.layers


class DoubleDQN(nn.Module):
    r"""Double Q-learning of a game, with or without the contrastive loss.

    $$\mathcal L = \ell\bigl(Q(o, a) - r - \gamma (1 - d) \bar Q(o', \arg\max_{a'} Q(o', a'))\bigr) + \mathcal L_q$$

    Both arms have the same networks; without the contrastive loss the similarity is not trained.
    """

    def __init__(
        self, in_channels: int, num_actions: int, image_size: int, has_contrast: bool, epsilon_decay_steps: int
    ) -> None:
        super().__init__()
        self.encoder = PixelEncoder(image_size, 50, MinAtarConvEncoder(in_channels))
        self.trunk, self.similarity = mlp(50, 128, num_actions), BilinearSimilarity(50)
        self.target = copy.deepcopy(nn.ModuleList([self.encoder, self.trunk])).requires_grad_(False)
        self.has_contrast, self.epsilon_decay_steps = has_contrast, epsilon_decay_steps
        learning = [*self.encoder.parameters(), *self.trunk.parameters(), *self.similarity.parameters()]
        self.optimizer = torch.optim.Adam(learning, 1e-3)
        self.updates = nn.Parameter(torch.zeros(()), requires_grad=False)

    @torch.no_grad()
    def act(self, obs: Tensor, explore: bool = False) -> Tensor:
        """Return the greedy action of each observation, or an epsilon-greedy one; epsilon decays from 1 to 0.05."""
        values = self.trunk(self.encoder(center_crop(obs, self.encoder.image_size)))
        epsilon = max(0.05, 1 - float(self.updates) / self.epsilon_decay_steps) if explore else 0.0
        any_action = torch.randint(values.shape[1], (len(values),), device=values.device)
        chosen = torch.where(torch.rand(len(values), device=values.device) < epsilon, any_action, values.argmax(dim=1))
        return F.one_hot(chosen, values.shape[1]).float()

    def update(self, replay_buffer: ReplayBuffer, step: int, batch_size: int) -> None:
        """Take a step on the Q-learning loss, plus the contrastive loss if there is one."""
        batch = replay_buffer.sample(batch_size)
        obs, next_obs = (center_crop(pixels, self.encoder.image_size) for pixels in (batch.obs, batch.next_obs))
        features, (encoder, trunk) = self.encoder(obs), self.target
        with torch.no_grad():
            best = self.trunk(self.encoder(next_obs)).argmax(dim=1, keepdim=True)
            target = batch.reward + 0.99 * ~batch.terminal * trunk(encoder(next_obs)).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss((self.trunk(features) * batch.action).sum(dim=1), target)
        if self.has_contrast:
            query = self.encoder(random_crop(batch.obs, self.encoder.image_size))
            with torch.no_grad():
                key = encoder(random_crop(batch.obs, self.encoder.image_size))
            loss = loss + info_nce(self.similarity(query, key), torch.arange(batch_size, device=query.device))
        optimizer_step(self.optimizer, loss)
        ema_update(encoder, self.encoder, 0.05)
        ema_update(trunk, self.trunk, 0.01)
        self.updates.data += 1


NO_CURL = "soft actor-critic on crops"
AGENTS: dict[str, tuple[type[SoftActorCritic], bool]] = {
    "soft actor-critic": (SoftActorCritic, False),
    NO_CURL: (SoftActorCritic, True),
    "CURL": (CURL, True),
}
"""The agents for the paper's tasks, and whether they see random crops."""


# Training


def contrastive_loss(model: ContrastiveModel, obs_anchor: Tensor, obs_pos: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the InfoNCE loss over the queries, against the keys of all processes, and their number."""
    query, key = model.encoder(obs_anchor), gather_detached(model.encoder_target(obs_pos))
    own = PartialState().process_index * len(query) + torch.arange(len(query), device=query.device)
    return info_nce(model.similarity(query, key), own) * len(query), len(query)


def build_contrastive_training(
    config: PretrainingConfig,
    probe: LinearProbe,
    train: Recording,
    lr_schedule: Callable[[int], float] = lambda done: 1.0,
) -> Training:
    """Return the training of an encoder; `lr_schedule` maps a number of steps to the factor of the learning rate."""
    buffer = fill_replay_buffer(train.frames)
    slots = buffer.observation_indices()

    def batch(generator: torch.Generator) -> Batch:
        with fork_rng(generator):
            whole = buffer.stack_frames(sample(slots, config.batch_size))
            return random_crop(whole, config.image_size), random_crop(whole, config.image_size)

    return Training(
        model=lambda: ContrastiveModel(config.build_encoder()),
        loss=contrastive_loss,
        batch=batch,
        steps=config.steps,
        optimizer=lambda model: torch.optim.Adam([p for p in model.parameters() if p.requires_grad], config.lr),
        schedule=lambda made: LambdaLR(made, lr_schedule),
        after=update_encoder_target,
        measure=lambda model: probe(model.encoder),
        every=config.eval_every,
        stop=lambda curve: has_plateaued(curve, "mean", PATIENCE),
    )


PATIENCE = 5
"""Measurements without a rise of R² after which an encoder's training ends."""


def labeled_loss(model: LabeledModel, obs: Tensor, states: Tensor) -> tuple[Tensor, int]:
    """Return the sum of squared errors of the predicted state, and the number of its terms."""
    return F.mse_loss(model.head(model.encoder(obs)), states, reduction="sum"), states.numel()


def build_labeled_training(config: PretrainingConfig, probe: LinearProbe) -> Training:
    """Return the training of an encoder by the labels of the probe's training episodes, scaled to unit variance."""
    states = ((probe.train_states - probe.train_states.mean(dim=0)) / probe.train_states.std(dim=0)).float()

    def batch(generator: torch.Generator) -> Batch:
        indices = torch.randint(len(states), (config.batch_size,), generator=generator)
        return probe.train[indices], states[indices]

    return Training(
        model=lambda: LabeledModel(config.build_encoder()),
        loss=labeled_loss,
        batch=batch,
        steps=config.steps,
        optimizer=lambda model: torch.optim.Adam(model.parameters(), 1e-3),
        measure=lambda model: probe(model.encoder),
        every=config.eval_every,
        stop=lambda curve: has_plateaued(curve, "mean", PATIENCE),
    )


def build_game_training(run: Run, size: Size, game: str, arm: str, seed: int) -> AgentTraining:
    """Return the training of an arm's agent in a game."""
    example = MinAtarEnvironment(game, 0, 0)
    in_channels, screen, _ = example.frame_shape
    decay = size.num_train_steps // 5
    config = TrainingConfig(
        size.init_steps, batch_size=32, frame_stack=1, curve_points=10, num_eval_episodes=size.num_eval_episodes
    )
    return AgentTraining(
        lambda seed: MinAtarEnvironment(game, 1, seed),
        lambda: DoubleDQN(in_channels, example.action_dim, screen, ARMS[arm], epsilon_decay_steps=decay),
        size.num_train_steps,
        seed,
        config,
        device=run.device,
    )


def _build_task_training(run: Run, suite: Suite, name: str, arm: str, seed: int) -> AgentTraining:
    agent_class, crops = AGENTS[arm]
    # Without crops, frames are rendered at the size of a crop.
    frame_size = suite.pre_transform_image_size if crops else suite.image_size
    return build_task_training(suite, name, agent_class, frame_size, seed, run.device)


# Measures: `probe` measures features

GameRuns = Mapping[str, Sequence[Mapping[str, Any]]]
"""By arm, the result of each seed's agent in a game."""


def _late_return(runs: Mapping[str, Any]) -> float:
    """Return the mean return of episodes in the second half of training."""
    earned = [each for each in runs["returns"][len(runs["returns"]) // 2 :] if each is not None]
    return sum(earned) / len(earned) if earned else 0.0


Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""By game or task, and by arm, the score of each seed in the final evaluation."""


# Claims

REPORTED = {
    "finger": (767, 56),
    "cartpole": (582, 146),
    "reacher": (538, 233),
    "cheetah": (299, 48),
    "walker": (403, 24),
    "cup": (769, 43),
}
"""Mean and standard deviation at 100,000 steps: Table 1."""
PIXELS, UNTRAINED, LABELED = "50 components of the pixels", "CURL's encoder before training", "trained with labels"
MIN_R_SQUARED = 0.1
"""R² below which a quantity counts as not predicted."""


def judge_features(
    start: Sequence[Measures],
    pixels: Measures,
    labeled: Sequence[Measures],
    curves: Sequence[Curve],
    config: PretrainingConfig,
) -> Finding:
    """Judge whether a linear probe predicts the state better from trained features than from the baselines."""
    last = [curve[-1] for curve in curves]
    counting = [what for what in QUANTITIES if min(each[what] for each in labeled) >= MIN_R_SQUARED]

    def rises(what: str) -> bool:
        found = [each[what] for each in last]
        return each_seed_above(found, [each[what] for each in start]) and min(found) > pixels[what]

    means = {
        name: [each["mean"] for each in arm] for name, arm in (("CURL", last), (UNTRAINED, start), (LABELED, labeled))
    }
    losses, chance = [curve[-1]["loss"] for curve in curves], math.log(config.batch_size)
    return judge(
        "features",
        "Reproduced if in every seed R² on held-out episodes is above that of the untrained encoder and of the pixels' "
        "components, in the mean of five quantities and for each that counts, and none of these is below "
        f"{MIN_R_SQUARED}; a quantity counts if an encoder trained with labels reaches that with every seed; partly if "
        "only the mean is above both.",
        ran=f"frames of {config.episodes - config.held_out} episodes of cartpole, {config.image_size} × "
        f"{config.image_size} pixels, {max(int(curve[-1]['step']) for curve in curves):,} steps at most in batches of "
        f"{config.batch_size}; counts: {', '.join(counting) or 'none'}",
        quantities=[
            quantity("mean R² of five quantities", means, "higher", levels={PIXELS: pixels["mean"]}),
            *(
                quantity(
                    f"R² of each quantity, {name}",
                    {what: [each[what] for each in arm] for what in QUANTITIES},
                    "higher",
                    levels={"predicted": MIN_R_SQUARED},
                )
                for name, arm in (("CURL", last), (LABELED, labeled))
            ),
        ],
        reproduced=rises("mean")
        and all(rises(what) and min(each[what] for each in last) >= MIN_R_SQUARED for what in counting),
        partly=rises("mean"),
        gates=[
            gate(
                f"The contrast is learned: its loss ends below log {config.batch_size}, that of equal logits.",
                max(losses) < chance,
                f"{spread(losses, '.2f')}; equal logits {chance:.2f}",
            ),
            gate(
                "Three quantities or more can be predicted, by an encoder trained with labels.",
                len(counting) >= 3,
                ", ".join(counting) or "none",
            ),
            converged({"CURL": curves}, "mean"),
            enough_seeds(means),
        ],
    )


PAPER_STEPS = 100_000


def paper_steps(scores: Scores, steps: int) -> Gate:
    """Return the gate that agents are trained on the paper's tasks, for as many steps."""
    return gate(
        f"Agents are trained on the control suite, as in the paper, for {PAPER_STEPS:,} steps.",
        bool(scores) and steps >= PAPER_STEPS,
        f"{len(scores)} tasks, {steps:,} steps",
    )


def some_agent_learns(scores: Scores) -> Gate:
    """Return the gate that on each game or task every seed of some agent scores higher than random actions do."""
    learned = {
        name: [arm for arm in arms if arm != RANDOM and each_seed_above(arms[arm], arms[RANDOM])]
        for name, arms in scores.items()
    }
    return gate(
        "Every game and task is learned: every seed of some agent scores higher than random actions.",
        all(learned.values()),
        "; ".join(f"{_label(name)}: {', '.join(arms) or 'none'}" for name, arms in learned.items()),
    )


def judge_contrast(games: Scores, tasks: Scores, size: Size) -> Finding:
    """Judge whether the contrastive loss improves the same agent on the paper's tasks; games are shown beside it."""
    better = [all_runs_above(arms["CURL"], arms[NO_CURL]) for arms in tasks.values()]
    quantities = [
        quantity(f"return on {_label(game)}, final evaluation", arms, "higher") for game, arms in games.items()
    ]
    if tasks:
        gains = {name: differences(arms["CURL"], arms[NO_CURL]) for name, arms in tasks.items()}
        quantities.append(
            quantity("score of CURL minus that without contrast", gains, "higher", levels={"no gain": 0.0})
        )
    return judge(
        "beside-reward",
        "Reproduced if on each of the paper's tasks each run of CURL scores higher than each of soft actor-critic on "
        "the same crops; partly if on some; games do not decide.",
        ran=f"two games of MinAtar, {size.num_train_steps:,} actions; {len(tasks)} tasks of the control suite",
        quantities=quantities,
        reproduced=bool(better) and all(better),
        partly=any(better),
        gates=[
            paper_steps(tasks, size.suite.steps),
            some_agent_learns({**games, **tasks}),
            enough_seeds(next(iter(games.values()))),
        ],
        needed="the paper's six tasks at 100,000 steps, hours each without a GPU (size full)",
    )


def judge_scores(scores: Mapping[str, Sequence[float]], steps: int) -> Finding:
    """Judge scores on the paper's tasks against the reported ones, if trained for as many steps."""
    near = [fmean(each) >= REPORTED[name][0] - REPORTED[name][1] for name, each in scores.items()]
    reported = {name: float(REPORTED[name][0]) for name in scores} if steps >= PAPER_STEPS else {}
    return judge(
        "one-hundred-thousand",
        "Reproduced if on every task the mean of the seeds is no further below the reported mean than the reported "
        "standard deviation; partly if on some.",
        ran=f"{len(scores)} of the paper's six tasks, {steps:,} steps",
        quantities=[quantity("score of CURL", scores, "higher", reported=reported)] if scores else [],
        reproduced=bool(near) and all(near),
        partly=any(near),
        gates=[paper_steps({name: {} for name in scores}, steps), *([enough_seeds(scores)] if scores else [])],
        needed="six tasks of 100,000 steps, hours each without a GPU (size full)",
    )


def _label(game: str) -> str:
    return game.replace("_", " ")


NO_EXPERIMENT = no_experiment(
    {
        "dmcontrol": "the earlier methods too, on six tasks; size full has soft actor-critic alone for them",
        "atari": "26 games, and Rainbow in place of soft actor-critic, which has no reference here",
        "five-hundred-thousand": "six tasks of 500,000 steps, five times what size full runs",
        "contrast-alone": "soft actor-critic on the paper's tasks at 500,000 steps; games stand for them beside "
        "`beside-reward`",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train encoders by the contrastive loss alone and probe them; then train agents with and without it."""
    size, seeds = SIZES[run.size], run.seeds(SIZES[run.size].seeds)
    run.expect(1 + len(seeds) * (3 + (1 + len(ARMS)) * len(size.games) + (1 + len(AGENTS)) * len(size.suite.tasks)))
    probe, train, test = prepare_data(run, size.pretraining)
    start = measure_seeds(run, "untrained", partial(probe_untrained, size.pretraining, probe), seeds)
    pixels = run.piece("pixels", probe.principal_components)
    trainings = {
        "CURL": build_contrastive_training(size.pretraining, probe, train),
        LABELED: build_labeled_training(size.pretraining, probe),
    }
    curves = select({arm: train_seeds(run, arm, training, seeds) for arm, training in trainings.items()}, "curve")
    played = {
        game: {
            arm: train_seeds(run, f"{game} {arm}", partial(build_game_training, run, size, game, arm), seeds)
            for arm in ARMS
        }
        for game in size.games
    }
    tasks = {
        name: {
            arm: train_seeds(run, f"{name} {arm}", partial(_build_task_training, run, size.suite, name, arm), seeds)
            for arm in AGENTS
        }
        for name in size.suite.tasks
    }
    games, scores = (
        {
            name: {**select(arms, "score"), RANDOM: measure_seeds(run, f"{name} random", partial(chance, name), seeds)}
            for name, arms in of.items()
        }
        for of, chance in ((played, partial(_random_game, size)), (tasks, partial(_random_task, size)))
    )
    last, labeled = ([curve[-1] for curve in curves[arm]] for arm in trainings)
    return Report(
        findings=(
            judge_features(start, pixels, labeled, curves["CURL"], size.pretraining),
            judge_contrast(games, scores, size),
            judge_scores({name: arms["CURL"] for name, arms in scores.items()}, size.suite.steps),
            *NO_EXPERIMENT,
        ),
        tables=(_features(start, pixels, last, labeled), *_scores(scores)),
        figures=(
            _learning(start, pixels, curves["CURL"]),
            *(_playing(game, arms, games[game][RANDOM]) for game, arms in played.items()),
            _crops(test, size.pretraining),
        ),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes="The sky is black, since it is not rendered. At the edges of its track the cart leaves the frame, so no "
        "encoder can tell its position there. The ridge is chosen for each encoder on a validation split. "
        "The games are all that were tried. Both were also tried with random crops for the agent itself, for 3,000 "
        "actions: without contrast breakout was then learned less well.",
    )


def _random_game(size: Size, game: str, seed: int) -> float:
    return random_return(MinAtarEnvironment(game, 1, seed), size.num_eval_episodes, seed)


def _random_task(size: Size, name: str, seed: int) -> float:
    domain, task, action_repeat = TASKS[name]
    return random_return(DMControlEnvironment(domain, task, action_repeat, size.suite.image_size, seed), 1, seed)


def _features(
    start: Sequence[Measures], pixels: Measures, last: Sequence[Measures], labeled: Sequence[Measures]
) -> Table:
    return Table(
        title="R² of a linear probe of the state, on held-out episodes",
        columns=("features", *QUANTITIES, "mean of all"),
        rows=table_rows({PIXELS: [pixels], UNTRAINED: start, "CURL": last, LABELED: labeled}),
        note="Each column but the last is the mean of the seeds.",
    )


def _scores(tasks: Scores) -> tuple[Table, ...]:
    rows = []
    for name, arms in tasks.items():
        for arm, scores in arms.items():
            reported = "{} ± {}".format(*REPORTED[name]) if arm == "CURL" else ""
            rows.append((name, arm, spread(scores, ".0f"), reported))
    columns = ("task", "agent", "score at the end", "reported at 100,000 steps")
    return (Table(title="The paper's tasks", columns=columns, rows=tuple(rows)),) if rows else ()


def _learning(start: Sequence[Measures], pixels: Measures, curves: Sequence[Curve]) -> Figure:
    before, after = ([each["mean"] for each in some] for some in (start, [curve[-1] for curve in curves]))
    shown = (*QUANTITIES, "mean")
    return Lines(
        id="features",
        title="What a linear probe predicts from the encoder's features",
        caption="Training uses neither rewards nor labels. Look at which quantities rise: positions can be predicted "
        "from one frame, velocities only from the differences of three.",
        alt=(
            f"Mean R² goes from {spread(before, '.2f')} to {spread(after, '.2f')}; the pixels' components: "
            f"{pixels['mean']:.2f}."
        ),
        x="steps of the contrast",
        y="R² on held-out episodes",
        series=tuple(series(what, curves, what, [each[what] for each in start]) for what in shown),
        levels={f"{PIXELS}, mean": pixels["mean"]},
    )


def _playing(game: str, arms: GameRuns, random: Sequence[float]) -> Figure:
    told = list_spreads({arm: [_late_return(run) for run in runs] for arm, runs in arms.items()}, ".1f", ", ")
    return Lines(
        id=f"playing-{game.replace('_', '-')}",
        title=f"Learning {_label(game)} with and without the contrast",
        caption="Compare a curve with contrast to that of the same agent without: both took as many actions.",
        alt=f"Return in the second half of training: {told}.",
        x="actions",
        y="return of an episode in training",
        series=tuple(
            Series(name=arm, x=tuple(runs[0]["steps"]), runs=tuple(tuple(run["returns"]) for run in runs))
            for arm, runs in arms.items()
        ),
        levels={RANDOM: fmean(random)},
    )


def _crops(test: Recording, config: PretrainingConfig) -> Figure:
    frame_size, crop_size = config.pre_transform_image_size, config.image_size
    whole = stack_frames(test.frames[:1])[0, 20:21]
    with fork_rng(torch.Generator().manual_seed(0)):
        query, key = random_crop(whole, config.image_size), random_crop(whole, config.image_size)
        other = random_crop(stack_frames(test.frames[:1])[0, 60:61], config.image_size)
    named = {"observation": whole, "a query": query, "its positive": key, "a negative": other}
    return Pictures(
        id="crops",
        title="Positive and negative pairs",
        caption="Two crops of one observation are a positive pair; crops of all others in the batch are negatives. "
        "Only the last of three frames is shown.",
        alt=f"A cart with a pole, {frame_size} × {frame_size} pixels; two crops of {crop_size} × {crop_size} of it, "
        "shifted against each other; and a crop of another observation.",
        pictures=tuple(picture(title, pixels[0]) for title, pixels in named.items()),
    )
