r"""M-CURL: do windows with masked timesteps train a better encoder than single observations do?

Claims: Taking the correlation of consecutive frames into account makes learning from pixels more efficient than CURL,
    and the Transformer reconstructs a masked timestep from the frames around it (abstract).

Task: encoders are trained on frames of cartpole, without reward.

Arms: CURL's contrastive loss and M-CURL's.

Budget: both arms see as many observations per step, and start with the same weights. Each trains until what is measured
    has stopped improving. The encoder's learning rate is 0.002, and decays after some steps as M-CURL's does, in both
    arms: M-CURL doubles the paper's 0.001, and so, in effect, does CURL's public code, whose rate stays constant. The
    Transformer's learning rate of 0.001 warms up, as in M-CURL.

Measures: *Features*: R² of ridge regression, which predicts the state of cart and pole from the features, in held-out
    episodes. *Context*: the middle of a held-out window is masked, and its reconstruction is compared with the middles
    of windows of all held-out episodes; with its own neighbors, with these in another order, and with those of another
    window. Since the windows come from different episodes, the similarity of the neighbors alone tells much. So the
    same is asked of the neighbors' features themselves, of the mean of all and of the nearest two, with the same
    encoder and no Transformer. Neighboring stacks share frames: where five in a row are masked, no frame of the middle
    is visible.

Gates: both losses are learned, what is judged has converged, windows are identified above chance, and three seeds. Of
    features the windows and the warmup of the authors' code, of scores the paper's steps.

Rules: all were set when an earlier run of 750 steps had been seen. In it M-CURL's features were below CURL's (a mean R²
    of 0.30 and 0.34), and above those of a third arm, since dropped, whose neighbors came from other windows (0.26).
    That was once judged, by a twentieth of the authors' steps of warmup, and now has no verdict at that size. The means
    without a Transformer came into the rule on context after the Transformer's numbers, and made it stricter. A run of
    2,500 steps had not converged in what is judged on context, and had no verdict; since then there are 4,000.

Stands in: at `small` frames of 40, cropped to 32, 16 filters, and 8 windows of 16 timesteps per step; the Transformer's
    learning rate warms up for 250 steps, and then both rates decay. The public code has 100 and 84, 32, 16 windows of
    32, and 6,000 steps of warmup. No agent is trained there: soft actor-critic learns nothing within minutes.

Sizes: `full` takes the public code's sizes and trains agents with M-CURL and with CURL for 100,000 steps; `smoke` does
    so for some steps of one task.

In several processes each reconstruction is compared with the keys of all of them. An agent is trained by one process.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from quaere.content.results import Figure, Finding, Lines, Pictures, Report, Table, spread
from quaere.running.experiments import Run
from reference_impl.curl import CURL, PixelEncoder, SoftActorCritic, center_crop, info_nce, random_crop, sample
from reference_impl.experiments.arms import measure_seeds, train_seeds
from reference_impl.experiments.control import (
    ALL_TASKS,
    NO_TASKS,
    SMOKE_TASK,
    AgentTraining,
    Suite,
    build_task_training,
)
from reference_impl.experiments.curl import PATIENCE, build_contrastive_training, paper_steps
from reference_impl.experiments.curves import Curve, final_values, has_plateaued, list_spreads, select
from reference_impl.experiments.judging import (
    all_runs_above,
    converged,
    differences,
    each_seed_above,
    enough_seeds,
    gate,
    judge,
    learned,
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
from reference_impl.layers.attention import dot_score
from reference_impl.m_curl import (
    MCURL,
    MCURLConfig,
    WindowTransformer,
    decay_schedule,
    mask_timesteps,
    sample_windows,
    warmup_schedule,
)


@dataclass(frozen=True)
class Size:
    """The settings: seeds, training, the windows, and the tasks of the control suite."""

    seeds: int
    pretraining: PretrainingConfig
    window_length: int
    warmup_steps: int
    groups: int
    suite: Suite


SIZES = {
    "smoke": Size(
        seeds=1,
        pretraining=PretrainingConfig(
            5, held_out=2, pre_transform_image_size=20, image_size=16, num_filters=4, steps=6, batch_size=16,
            eval_every=3
        ),
        window_length=8, warmup_steps=3, groups=2, suite=SMOKE_TASK,
    ),
    "small": Size(
        seeds=3,
        pretraining=PretrainingConfig(
            52, held_out=12, pre_transform_image_size=40, image_size=32, num_filters=16, steps=4000, batch_size=128,
            eval_every=125
        ),
        window_length=16, warmup_steps=250, groups=20, suite=NO_TASKS,
    ),
    "full": Size(
        seeds=3,
        pretraining=PretrainingConfig(
            100, held_out=20, pre_transform_image_size=100, image_size=84, num_filters=32, steps=20_000,
            batch_size=512, eval_every=1000
        ),
        window_length=32, warmup_steps=6000, groups=20, suite=ALL_TASKS,
    ),
}  # fmt: skip


# Arms

ARMS = ("CURL", "M-CURL")
AGENTS: dict[str, Callable[..., SoftActorCritic]] = {"CURL": CURL, "M-CURL": MCURL}


class MaskedModel(QueryKeyEncoder):
    """An encoder, its moving average for the keys, and the Transformer that reconstructs masked timesteps."""

    def __init__(self, encoder: PixelEncoder) -> None:
        super().__init__(encoder)
        self.transformer = WindowTransformer(encoder.feature_dim)


# Training


def masked_loss(model: MaskedModel, masked_obs: Tensor, mask: Tensor, obs: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the InfoNCE loss over masked timesteps, against the keys of all processes, and their number."""
    query = model.transformer(model.encoder(masked_obs.flatten(0, 1)).reshape(*mask.shape, -1))
    key = gather_detached(model.encoder_target(obs.flatten(0, 1)))
    labels = PartialState().process_index * mask.numel() + mask.flatten().nonzero().squeeze(1)
    return info_nce(dot_score(query[mask], key), labels) * len(labels), len(labels)


def build_training(size: Size, arm: str, train: Recording, probe: LinearProbe, ask: "ContextProbe") -> Training:
    """Return an arm's training."""

    def decay(done: int) -> float:
        return decay_schedule(done, size.warmup_steps)

    if arm == "CURL":
        return build_contrastive_training(size.pretraining, probe, train, decay)
    config, buffer = size.pretraining, fill_replay_buffer(train.frames)
    indices = buffer.observation_indices()

    def batch(generator: torch.Generator) -> Batch:
        with fork_rng(generator):
            obs = sample_windows(buffer, config.batch_size // size.window_length, size.window_length)
            replacements = buffer.stack_frames(sample(indices, config.batch_size)).reshape(obs.shape)
            masked_obs, mask = mask_timesteps(obs, replacements)
            return _random_crops(masked_obs, config.image_size), mask, _random_crops(obs, config.image_size)

    def optimizer(model: Any) -> torch.optim.Optimizer:
        groups = [
            {"params": model.encoder.parameters(), "lr": config.lr},
            {"params": model.transformer.parameters(), "lr": config.lr / 2},
        ]
        return torch.optim.Adam(groups)

    def schedule(made: torch.optim.Optimizer) -> LambdaLR:
        return LambdaLR(made, [decay, lambda step: warmup_schedule(step, size.warmup_steps)])

    return Training(
        model=lambda: MaskedModel(config.build_encoder()),
        loss=masked_loss,
        batch=batch,
        steps=config.steps,
        optimizer=optimizer,
        schedule=schedule,
        after=update_encoder_target,
        measure=lambda model: {**probe(model.encoder), **ask(model)},
        every=config.eval_every,
        stop=lambda curve: all(has_plateaued(curve, measure, PATIENCE) for measure in ("mean", JUDGED)),
    )


def _random_crops(obs: Tensor, size: int) -> Tensor:
    """Crop each observation by itself."""
    return random_crop(obs.flatten(0, 1), size).reshape(*obs.shape[:3], size, size)


def _build_task_training(run: Run, size: Size, name: str, arm: str, seed: int) -> AgentTraining:
    agent_class = AGENTS[arm]
    if arm == "M-CURL":
        batch = size.pretraining.batch_size // size.window_length
        # The short episodes of `smoke` hold no window of the usual length.
        window_length = min(size.window_length, size.suite.init_steps // 2)
        config = MCURLConfig(mtm_bsz=batch, mtm_length=window_length, adam_warmup_step=size.warmup_steps)
        agent_class = partial(MCURL, config=config)
    frame_size = size.suite.pre_transform_image_size
    return build_task_training(size.suite, name, agent_class, frame_size, seed, run.device)


# Measures: `probe` measures features

CONTEXTS = ("own neighbors", "in another order", "of another window")
"""What the Transformer sees around the masked timesteps."""
MEAN_BASELINES = ("mean of own neighbors, no Transformer", "mean of the nearest two, no Transformer")
NUM_MASKED = (1, 5)
"""How many timesteps are masked, around the middle of a window."""
JUDGED = f"{CONTEXTS[0]}, {NUM_MASKED[-1]} masked"
"""The accuracy that must have converged: where no frame of the middle is visible."""


class ContextProbe:
    """Identify a window by the reconstruction of its masked middle, among one window of each held-out episode.

    Each group has one window of each episode, in which the middle alone or five timesteps around it are masked.
    """

    def __init__(self, test: Recording, size: Size) -> None:
        observations, self.window_length = stack_frames(test.frames), size.window_length
        episodes, steps = observations.shape[:2]
        generator = torch.Generator().manual_seed(0)
        starts = torch.randint(steps - size.window_length + 1, (size.groups, episodes, 1), generator=generator)
        indices = starts + torch.arange(size.window_length)
        windows = observations[torch.arange(episodes)[:, None], indices]
        crop = size.pretraining.image_size
        self.windows = center_crop(windows.flatten(0, 2), crop).reshape(*windows.shape[:4], crop, crop)
        self.chance = 1 / episodes

    def __call__(self, model: MaskedModel) -> Measures:
        """Return the accuracy of the Transformer in each context, and of the means of visible features."""
        device = model.encoder.fc.weight.device
        found = [self._accuracy(model, group.to(device)) for group in self.windows]
        return {name: sum(each[name] for each in found) / len(found) for name in found[0]}

    def _accuracy(self, model: MaskedModel, group: Tensor) -> Measures:
        features, middle = model.encoder(group.flatten(0, 1)).reshape(*group.shape[:2], -1), self.window_length // 2
        black, key = model.encoder(torch.zeros_like(group[:1, 0])), model.encoder_target(group[:, middle])
        found = {}
        for masked in NUM_MASKED:
            guesses = {
                name: model.transformer(build_context(features, name, middle, masked, black))[:, middle]
                for name in CONTEXTS
            }
            guesses.update(zip(MEAN_BASELINES, neighbor_means(features, middle, masked), strict=True))
            for name, guess in guesses.items():
                right = dot_score(guess, key).argmax(dim=1).cpu() == torch.arange(len(key))
                found[f"{name}, {masked} masked"] = float(right.float().mean())
        return found


def neighbor_means(features: Tensor, middle: int, masked: int) -> tuple[Tensor, Tensor]:
    """Return the mean of all visible timesteps' features, and of the two next to the masked ones, for each window."""
    distance = (torch.arange(features.shape[1]) - middle).abs()
    return features[:, distance > masked // 2].mean(dim=1), features[:, distance == masked // 2 + 1].mean(dim=1)


def build_context(features: Tensor, context: str, middle: int, masked: int, black: Tensor) -> Tensor:
    """Return windows with a masked middle and the neighbors of a context, never the masked timesteps themselves."""
    places = torch.arange(features.shape[1])
    is_masked = (places - middle).abs() <= masked // 2
    source = places.clone()
    if context == CONTEXTS[1]:
        seen = places[~is_masked]
        source[~is_masked] = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(masked))]
    shown = features[:, source].roll(int(context == CONTEXTS[2]), 0)
    shown[:, is_masked] = black
    return shown


# Claims


def judge_features(start: Sequence[Measures], curves: Mapping[str, Sequence[Curve]], size: Size) -> Finding:
    """Judge whether a linear probe predicts the state better from M-CURL's features than from CURL's."""
    means, config = final_values(curves, "mean"), size.pretraining
    losses, chance = final_values(curves, "loss"), math.log(config.batch_size)
    ours, curl = means["M-CURL"], means["CURL"]
    return judge(
        "better-features",
        "Reproduced if R² on held-out episodes, as a mean over position, angle (two) and both velocities, is higher in "
        "each run of M-CURL than in each of CURL; partly if in every seed higher than CURL's from the same seed.",
        ran=described(curves, size),
        quantities=[
            quantity(
                "mean R² of five quantities", {**means, "before training": [each["mean"] for each in start]}, "higher"
            )
        ],
        reproduced=all_runs_above(ours, curl),
        partly=each_seed_above(ours, curl),
        gates=[
            gate(
                f"Windows of {MCURLConfig.mtm_length} timesteps and {MCURLConfig.adam_warmup_step:,} steps of warmup, "
                "as in the authors' code.",
                size.window_length >= MCURLConfig.mtm_length and size.warmup_steps >= MCURLConfig.adam_warmup_step,
                f"{size.window_length} timesteps, {size.warmup_steps:,} steps",
            ),
            gate(
                f"Both losses are learned: they end below log {config.batch_size}, that of equal logits.",
                max(map(max, losses.values())) < chance,
                f"{list_spreads(losses, '.2f')}; equal logits {chance:.2f}",
            ),
            converged(curves, "mean"),
            enough_seeds(means),
        ],
        needed="the authors' windows and schedule, hours without a GPU (size full)",
    )


def described(curves: Mapping[str, Sequence[Curve]], size: Size) -> str:
    """Describe how the encoders were trained."""
    config = size.pretraining
    steps = {arm: max(int(curve[-1]["step"]) for curve in runs) for arm, runs in curves.items()}
    return (
        f"frames of {config.episodes - config.held_out} episodes of cartpole, {config.image_size} × "
        f"{config.image_size} pixels; batches of {config.batch_size} observations; steps at most: "
        f"{', '.join(f'{arm} {most:,}' for arm, most in steps.items())}"
    )


def judge_context(curves: Sequence[Curve], chance: float, ran: str) -> Finding:
    """Judge whether the Transformer identifies masked timesteps from their neighbors better than their mean does."""
    last = [curve[-1] for curve in curves]
    order = CONTEXTS[1]
    accuracy = {
        masked: {name: [each[f"{name}, {masked} masked"] for each in last] for name in (*CONTEXTS, *MEAN_BASELINES)}
        for masked in NUM_MASKED
    }

    def above(*rivals: str) -> bool:
        return all(
            each_seed_above(
                found[CONTEXTS[0]],
                [max(2 * chance, *seed) for seed in zip(*(found[rival] for rival in rivals), strict=True)],
            )
            for found in accuracy.values()
        )

    return judge(
        "context",
        "Reproduced if in every seed, with one timestep masked and with five, the Transformer identifies the window "
        "more than twice as often as chance, more often than with the neighbors in another order, and more often than "
        "the mean of the neighbors' features does without it, of all that are visible or of the nearest two; partly if "
        "more than twice as often as chance, and more often than in another order or than the mean of all.",
        ran=ran,
        quantities=[
            quantity(f"windows identified, {masked} masked", found, "higher", levels={"chance": chance})
            for masked, found in accuracy.items()
        ],
        reproduced=above(order, *MEAN_BASELINES),
        partly=above(order) or above(MEAN_BASELINES[0]),
        gates=[
            learned({JUDGED: accuracy[NUM_MASKED[-1]][CONTEXTS[0]]}, chance, "chance"),
            converged({"M-CURL": curves}, JUDGED),
            enough_seeds({"M-CURL": accuracy[NUM_MASKED[-1]][CONTEXTS[0]]}),
        ],
    )


def judge_tasks(tasks: Mapping[str, Mapping[str, Sequence[float]]], steps: int) -> Finding:
    """Judge on how many tasks M-CURL scores higher than CURL, if trained for 100,000 steps."""
    won = sum(all_runs_above(arms["M-CURL"], arms["CURL"]) for arms in tasks.values())
    gains = {name: differences(arms["M-CURL"], arms["CURL"]) for name, arms in tasks.items()}
    return judge(
        "dmcontrol",
        "Reproduced if each run of M-CURL scores higher than each of CURL on at least 14 of 16 tasks, as a share of "
        "those tried; partly if on more than half.",
        ran=f"{len(tasks)} of the 16 tasks, {steps:,} steps",
        quantities=[quantity("score of M-CURL minus CURL's", gains, "higher", levels={"no gain": 0.0})]
        if tasks
        else [],
        reproduced=16 * won >= 14 * len(tasks) > 0,
        partly=2 * won > len(tasks),
        gates=[paper_steps(tasks, steps), *([enough_seeds(gains)] if tasks else [])],
        needed="tasks of 100,000 steps, hours each without a GPU (size full has six of the 16)",
    )


NO_EXPERIMENT = no_experiment(
    {"atari": "26 games, and Rainbow in place of soft actor-critic, which has no reference here"}
)


# Report


def experiment(run: Run) -> Report:
    """Train encoders in three ways, probe them, and have the Transformer reconstruct masked timesteps."""
    size, seeds = SIZES[run.size], run.seeds(SIZES[run.size].seeds)
    run.expect(len(seeds) * (1 + len(ARMS) + len(AGENTS) * len(size.suite.tasks)))
    probe, train, test = prepare_data(run, size.pretraining)
    ask = ContextProbe(test, size)
    start = measure_seeds(run, "untrained", partial(probe_untrained, size.pretraining, probe), seeds)
    trainings = {arm: build_training(size, arm, train, probe, ask) for arm in ARMS}
    curves = select({arm: train_seeds(run, arm, training, seeds) for arm, training in trainings.items()}, "curve")
    tasks = {
        name: select(
            {
                arm: train_seeds(run, f"{name} {arm}", partial(_build_task_training, run, size, name, arm), seeds)
                for arm in AGENTS
            },
            "score",
        )
        for name in size.suite.tasks
    }
    last = {arm: [curve[-1] for curve in runs] for arm, runs in curves.items()}
    return Report(
        findings=(
            judge_features(start, curves, size),
            judge_context(curves["M-CURL"], ask.chance, described({"M-CURL": curves["M-CURL"]}, size)),
            judge_tasks(tasks, size.suite.steps),
            *NO_EXPERIMENT,
        ),
        tables=(_features(start, last), *_scores(tasks)),
        figures=(_learning(start, curves), _asking(curves["M-CURL"], ask), _window(test, size)),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes="The sky is black, since it is not rendered. The linear probe does without the Transformer: R² is of the "
        "CNN's features. Neighbors of another window identify that window instead.",
    )


def _features(start: Sequence[Measures], last: Mapping[str, Sequence[Measures]]) -> Table:
    return Table(
        title="R² of a linear probe of the state, on held-out episodes",
        columns=("encoder", *QUANTITIES, "mean of all"),
        rows=table_rows({"before training": start, **last}),
        note="Each step has as many observations in both arms. Each column but the last is the mean of the seeds.",
    )


def _scores(tasks: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[Table, ...]:
    rows = tuple((name, *(spread(arms[arm], ".0f") for arm in AGENTS)) for name, arms in tasks.items())
    return (Table(title="Scores on the paper's tasks", columns=("task", *AGENTS), rows=rows),) if rows else ()


def _learning(start: Sequence[Measures], curves: Mapping[str, Sequence[Curve]]) -> Figure:
    before = [each["mean"] for each in start]
    after = list_spreads(final_values(curves, "mean"), ".2f", ", ")
    return Lines(
        id="features",
        title="What a linear probe predicts from the encoder's features",
        caption="Mean R² of five quantities. The encoders see as many observations at each step and start alike.",
        alt=f"Mean R² is {spread(before, '.2f')} before training; at the end: {after}.",
        x="steps",
        y="mean R² on held-out episodes",
        series=tuple(series(arm, runs, "mean", before) for arm, runs in curves.items()),
    )


def _asking(curves: Sequence[Curve], ask: ContextProbe) -> Figure:
    names = [f"{name}, 5 masked" for name in (*CONTEXTS, *MEAN_BASELINES)]
    after = list_spreads({name: [curve[-1][name] for curve in curves] for name in names}, ".2f")
    return Lines(
        id="context",
        title="Is a masked timestep identified from its neighbors?",
        caption="The middle of a window is reconstructed, and identified among windows of all held-out episodes. Five "
        "timesteps are masked, so that no frame of the middle is visible. Compare the Transformer with the mean of the "
        "features that it sees: what is above that mean is the Transformer's contribution.",
        alt=f"Accuracy at the end: {after}; chance {ask.chance:.2f}.",
        x="steps",
        y="accuracy",
        series=tuple(series(name, curves, name) for name in names),
        levels={"chance": ask.chance},
    )


def _window(test: Recording, size: Size) -> Figure:
    obs = stack_frames(test.frames[:1])[:, 20:26]
    with fork_rng(torch.Generator().manual_seed(1)):
        masked_obs, mask = mask_timesteps(obs, obs.flip(1))
    titles = ["to predict" if is_masked else "visible" for is_masked in mask[0].tolist()]
    return Pictures(
        id="window",
        title="A window as the encoder sees it",
        caption="Half of the timesteps are to be predicted. Of these most are black, some are replaced, and some are "
        "kept. Only the last of the three frames of each observation is shown.",
        alt=f"Six consecutive observations of a cart with a pole, {sum(mask[0].tolist())} of them to predict, and "
        f"{int((masked_obs[0] == 0).flatten(1).all(dim=1).sum())} black.",
        pictures=tuple(picture(title, each) for title, each in zip(titles, masked_obs[0], strict=True)),
    )
