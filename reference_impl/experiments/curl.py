r"""CURL: does the contrastive loss improve the features of pixels, and an agent that learns from pixels?

Claims: Contrastive learning extracts high-level features from raw pixels (abstract), and an agent with it learns in
    fewer steps than the same agent without (abstract; Appendix E.4 for the loss without crops for the agent itself).

Tasks: *Features*: an encoder is trained on frames of cartpole by the contrastive loss alone. *Playing*: an agent learns
    MinAtar's games, with 10 × 10 cells and a channel for each kind of object. Of its games, breakout and space invaders
    were tried, and both are run.

Arms: the encoder is compared with itself before training, and with as many principal components of the pixels. One
    agent, double Q-learning with CURL's encoder, at a stride of 1, learns each game four times, with and without the
    contrastive loss, with and without random crops for its own loss.

Budget: the agent's arms take equally many actions. Contrastive learning alone takes a learning rate of 0.002, twice the
    paper's 0.001, since CURL's public code in effect doubles it too. No record tells what else was tried; the rate may
    have been settled on by looking at the probe that judges here.

Measures: R² of ridge regression, which predicts the state of cart and pole from the features, in held-out episodes; the
    agent's return during training and in a final evaluation.

Stands in: at `small` frames of 48, cropped to 40, for 100 and 84; 16 filters for 32. Soft actor-critic on cartpole
    learns nothing within minutes, so there are games.

Sizes: `full` takes the paper's sizes and also trains the agents of `reference_impl.curl` on its six tasks, for 100,000
    steps; `smoke` does so for some steps of one task.

In several processes each query is compared with the keys of all of them. An agent is trained by one process.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from quaere.content.results import Figure, Finding, Lines, Pictures, Report, Series, Table, spread
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
    AgentTraining,
    MinAtarEnvironment,
    Suite,
    TrainingConfig,
    build_task_training,
)
from reference_impl.experiments.curves import Curve, list_spreads, select
from reference_impl.experiments.judging import all_runs_above, each_seed_above, not_tried, outcome
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
from reference_impl.experiments.training import Batch, Training, count_parameters, gather_detached


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
            52, held_out=12, pre_transform_image_size=48, image_size=40, num_filters=16, steps=800, batch_size=128,
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


ARMS = {
    "neither": (False, False),
    "contrast alone": (False, True),
    "crops alone": (True, False),
    "crops and contrast": (True, True),
}
"""Of the agent: whether its Q-learning sees random crops, and whether it has the contrastive loss."""
PAIRS = (("crops and contrast", "crops alone"), ("contrast alone", "neither"))
"""Arms that differ by the contrastive loss alone."""


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
    r"""Double Q-learning of a game, with or without random crops and with or without the contrastive loss.

    $$\mathcal L = \ell\bigl(Q(o, a) - r - \gamma (1 - d) \bar Q(o', \arg\max_{a'} Q(o', a'))\bigr) + \mathcal L_q$$

    All arms have the same networks; without the contrastive loss the similarity is not trained.
    """

    def __init__(
        self,
        in_channels: int,
        num_actions: int,
        image_size: int,
        crops: bool,
        has_contrast: bool,
        epsilon_decay_steps: int,
    ) -> None:
        super().__init__()
        self.encoder = PixelEncoder(image_size, 50, MinAtarConvEncoder(in_channels))
        self.trunk, self.similarity = mlp(50, 128, num_actions), BilinearSimilarity(50)
        self.target = copy.deepcopy(nn.ModuleList([self.encoder, self.trunk])).requires_grad_(False)
        self.crops, self.has_contrast, self.epsilon_decay_steps = crops, has_contrast, epsilon_decay_steps
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
        crop: Callable[[Tensor, int], Tensor] = random_crop if self.crops else center_crop
        obs, next_obs = (crop(pixels, self.encoder.image_size) for pixels in (batch.obs, batch.next_obs))
        features, (encoder, trunk) = self.encoder(obs), self.target
        with torch.no_grad():
            best = self.trunk(self.encoder(next_obs)).argmax(dim=1, keepdim=True)
            target = batch.reward + 0.99 * ~batch.terminal * trunk(encoder(next_obs)).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss((self.trunk(features) * batch.action).sum(dim=1), target)
        if self.has_contrast:
            query = features if self.crops else self.encoder(random_crop(batch.obs, self.encoder.image_size))
            with torch.no_grad():
                key = encoder(random_crop(batch.obs, self.encoder.image_size))
            loss = loss + info_nce(self.similarity(query, key), torch.arange(batch_size, device=query.device))
        optimizer_step(self.optimizer, loss)
        ema_update(encoder, self.encoder, 0.05)
        ema_update(trunk, self.trunk, 0.01)
        self.updates.data += 1


AGENTS: dict[str, tuple[type[SoftActorCritic], bool]] = {
    "soft actor-critic": (SoftActorCritic, False),
    "soft actor-critic on crops": (SoftActorCritic, True),
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
    )


def build_game_training(run: Run, size: Size, game: str, arm: str, seed: int) -> AgentTraining:
    """Return the training of an arm's agent in a game."""
    example = MinAtarEnvironment(game, 0, 0)
    in_channels, screen, _ = example.frame_shape
    crops, has_contrast = ARMS[arm]
    decay = size.num_train_steps // 5
    config = TrainingConfig(
        size.init_steps, batch_size=32, frame_stack=1, curve_points=10, num_eval_episodes=size.num_eval_episodes
    )
    return AgentTraining(
        lambda seed: MinAtarEnvironment(game, 1, seed),
        lambda: DoubleDQN(in_channels, example.action_dim, screen, crops, has_contrast, epsilon_decay_steps=decay),
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


def _evaluation_return(played: Mapping[str, Any]) -> float:
    """Return the mean return of the final evaluation, without exploration."""
    return float(played["score"])


RETURNS = {"second half of training": _late_return, "final evaluation": _evaluation_return}
"""The two measures of an agent's return, which may disagree."""


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
PIXELS = "50 components of the pixels"
MIN_R_SQUARED = 0.1
"""R² below which a quantity counts as not predicted."""


def judge_features(start: Sequence[Measures], pixels: Measures, last: Sequence[Measures]) -> Finding:
    """Judge whether a linear probe predicts the state better from trained features than from the baselines."""

    def read(what: str) -> list[float]:
        return [each[what] for each in last]

    def rises(what: str) -> bool:
        return each_seed_above(read(what), [each[what] for each in start]) and min(read(what)) > pixels[what]

    are_all_read = all(rises(what) and min(read(what)) >= MIN_R_SQUARED for what in QUANTITIES)
    return Finding(
        claim="features",
        outcome=outcome(rises("mean") and are_all_read, rises("mean")),
        measured="; ".join(
            f"{what} R² {spread(read(what), '.2f')}, "
            f"{spread([each[what] for each in start], '.2f')} before training, {pixels[what]:.2f} from pixels"
            for what in ("mean", *QUANTITIES)
        ),
        why="Reproduced if in every seed R² on held-out episodes is above that of the untrained encoder and above that "
        f"of {PIXELS}, both in the mean of the five quantities and for each of them, and no quantity's is below "
        f"{MIN_R_SQUARED}; partly if only the mean is above both.",
    )


def judge_contrast(played: Mapping[str, GameRuns]) -> Finding:
    """Judge whether the contrastive loss improves the same agent, in each game, with crops and without."""
    returns = {
        (game, when): {arm: [each(run) for run in runs] for arm, runs in arms.items()}
        for game, arms in played.items()
        for when, each in RETURNS.items()
    }
    # By both measures of a return, for each game and each pair of arms.
    better = [
        [all_runs_above(returns[game, when][one], returns[game, when][other]) for when in RETURNS]
        for game in played
        for one, other in PAIRS
    ]
    return Finding(
        claim="beside-reward",
        outcome=outcome(all(map(all, better)), any(map(all, better))),
        measured="return on "
        + "; ".join(
            f"{_label(game)}, {when}: {list_spreads(arms, '.1f', ', ')}" for (game, when), arms in returns.items()
        )
        + f". Apart in favor of the contrast: {sum(map(sum, better))} of {len(better) * len(RETURNS)} comparisons",
        why="Reproduced if on every game, with crops and without, each run with the contrast earns more than each run "
        "without, both in the second half of training and in the final evaluation; partly if so, by both measures, "
        "on some game with crops or without.",
    )


def judge_scores(scores: Mapping[str, Sequence[float]], steps: int) -> Finding:
    """Judge scores on the paper's tasks against the reported ones, if trained for as many steps."""
    if steps < 100_000 or not scores:
        why = "It takes six tasks of 100,000 steps, hours each without a GPU; size full runs them."
        return not_tried({"one-hundred-thousand": why})[0]
    means = {name: sum(each) / len(each) for name, each in scores.items()}
    near = [means[name] >= REPORTED[name][0] - REPORTED[name][1] for name in means]
    return Finding(
        claim="one-hundred-thousand",
        outcome=outcome(all(near), any(near)),
        measured=list_spreads(scores, ".0f"),
        why="Reproduced if on every task the mean of the seeds is no further below the reported mean than the reported "
        "standard deviation; partly if on some.",
    )


def _label(game: str) -> str:
    return game.replace("_", " ")


NOT_TRIED = not_tried(
    {
        "dmcontrol": "It takes the earlier methods too, on six tasks; size full has soft actor-critic alone for them.",
        "atari": "It takes 26 games, and Rainbow in place of soft actor-critic, which has no reference here.",
        "five-hundred-thousand": "It takes six tasks of 500,000 steps, five times what size full runs.",
        "contrast-alone": "It takes soft actor-critic on the paper's tasks at 500,000 steps. The same question is put "
        "to another agent and games under `beside-reward`.",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Train encoders by the contrastive loss alone and probe them; then train agents with and without it."""
    size, seeds = SIZES[run.size], run.seeds(SIZES[run.size].seeds)
    run.expect(1 + len(seeds) * (2 + len(ARMS) * len(size.games) + len(AGENTS) * len(size.suite.tasks)))
    probe, train, test = prepare_data(run, size.pretraining)
    start = measure_seeds(run, "untrained", partial(probe_untrained, size.pretraining, probe), seeds)
    pixels = run.piece("pixels", probe.principal_components)
    training = build_contrastive_training(size.pretraining, probe, train)
    curves = [one["curve"] for one in train_seeds(run, "CURL", training, seeds)]
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
    last = [curve[-1] for curve in curves]
    findings = (
        judge_features(start, pixels, last),
        judge_contrast(played),
        judge_scores({name: select(arms, "score")["CURL"] for name, arms in tasks.items()}, size.suite.steps),
        *NOT_TRIED,
    )
    return Report(
        findings=findings,
        tables=(_features(start, pixels, last), _games(played, size), *_scores(tasks)),
        figures=(
            _learning(start, pixels, curves),
            *(_playing(game, arms) for game, arms in played.items()),
            _crops(test, size.pretraining),
        ),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes="The sky is black, since it is not rendered. At the edges of its track the cart leaves the frame, so no "
        "encoder can tell its position there. The ridge is chosen for each encoder on a validation split. "
        "The games are all that were tried: an earlier version of this experiment, which had seen both, showed only "
        "space invaders, chosen since crops alone do no harm there.",
    )


def _features(start: Sequence[Measures], pixels: Measures, last: Sequence[Measures]) -> Table:
    return Table(
        title="R² of a linear probe of the state, on held-out episodes",
        columns=("features", *QUANTITIES, "mean of all"),
        rows=table_rows({PIXELS: [pixels], "encoder before training": start, "CURL": last}),
        note="Each column but the last is the mean of the seeds.",
    )


def _games(played: Mapping[str, GameRuns], size: Size) -> Table:
    rows: list[tuple[str | int, ...]] = []
    for game, arms in played.items():
        in_channels, screen, _ = MinAtarEnvironment(game, 0, 0).frame_shape
        count = count_parameters(PixelEncoder(screen, 50, MinAtarConvEncoder(in_channels)))
        for arm, runs in arms.items():
            returns = (spread([each(run) for run in runs], ".1f") for each in RETURNS.values())
            rows.append((_label(game), arm, *returns, count))
    return Table(
        title=f"Return on games after {size.num_train_steps:,} actions",
        columns=("game", "arm", *RETURNS, "parameters of the encoder"),
        rows=tuple(rows),
        note="The final evaluation is without exploration.",
    )


def _scores(tasks: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> tuple[Table, ...]:
    rows = []
    for name, arms in tasks.items():
        for arm, runs in arms.items():
            reported = "{} ± {}".format(*REPORTED[name]) if arm == "CURL" else ""
            rows.append((name, arm, spread([run["score"] for run in runs], ".0f"), reported))
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


def _playing(game: str, arms: GameRuns) -> Figure:
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
