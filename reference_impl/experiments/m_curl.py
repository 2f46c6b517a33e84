r"""M-CURL: do windows of moments, some hidden, train a better encoder than single observations do?

Claimed: taking into account how alike consecutive frames are makes learning from pixels more efficient than CURL, and
the Transformer rebuilds a hidden moment from the frames around it (abstract).

Put to the test on frames of cartpole, without reward. *Features*: encoders learn by CURL's contrast, by M-CURL's, and
by M-CURL's where each moment of a window comes from another window, so that the neighbours say nothing; ridge
regression then reads the cart's and the pole's state off them, in held-out episodes. All see as many observations a
step, and begin with the same weights. The encoder learns at a rate of 0.002, which after some steps falls as M-CURL's
does, in all arms: M-CURL doubles the paper's 0.001, and so, in effect, does CURL's public code, whose rate stays as it
is. The Transformer's rate of 0.001 warms up, as in M-CURL. *Context*: the middle of a held-out window is hidden, and
the guess is held against the middles of windows from all held-out episodes; with its own neighbours, with these in
another order, and with those of another window. Since the windows are of different episodes, their neighbours' likeness
alone tells much: hence the same question to the neighbours' features themselves, to the mean of all and to that of the
nearest two, with the same encoder and no Transformer. Neighbouring stacks share frames: where five in a row are hidden,
no frame of the middle is left.

What stands in for what: at `small` frames of 48, of which 40 are read, 16 filters, 8 windows of 16 moments a step, and
750 steps, of which the Transformer's rate climbs for 250, and then the rates fall; the public code has 100 and 84, 32,
16 windows of 32, and 6,000 steps of climbing. No agent is trained there: soft actor-critic learns nothing in the
minutes that there are. `full` takes the public code's sizes and has agents with M-CURL and with CURL act for 100,000
steps; `smoke` walks the same way for some steps of one task.

In several processes a guess is told from the keys of all of them. Acting is one process's work.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from quaere.content.results import Figure, Finding, Lines, Outcome, Pictures, Report, Table, spread
from quaere.running.experiments import Run
from reference_impl.curl import CURL, PixelEncoder, SoftActorCritic, centre_crop, drawn, info_nce, random_crop
from reference_impl.experiments.control import ALL_TASKS, NO_TASKS, ONE_TASK_BRIEFLY, Suite, playing_task
from reference_impl.experiments.curl import contrastive
from reference_impl.experiments.judging import all_runs_above, each_seed_above, outcome
from reference_impl.experiments.probe import (
    QUANTITIES,
    Curve,
    Keyed,
    Measures,
    Probe,
    Recording,
    Sight,
    buffered,
    drawing,
    keys_follow,
    picture,
    prepared,
    readings,
    series,
    stacked,
    untrained,
)
from reference_impl.experiments.training import Batch, Training, gathered, parameters
from reference_impl.layers.attention import dot_score
from reference_impl.m_curl import MCURL, MomentTransformer, annealing, hide, warming, windows

FOREIGN = "M-CURL, foreign neighbours"
ARMS = ("CURL", "M-CURL", FOREIGN)
CONTEXTS = ("own neighbours", "in another order", "of another window")
"""What the Transformer sees beside what is hidden."""
AVERAGES = ("mean of own neighbours, no Transformer", "mean of the nearest two, no Transformer")
HIDDEN = (1, 5)
"""How many moments are hidden, from the middle of a window outwards."""


@dataclass(frozen=True)
class Size:
    """How much is run: seeds; frames and steps; moments of a window; steps of warming up; groups to find; the suite."""

    seeds: int
    sight: Sight
    length: int
    warmup: int
    groups: int
    suite: Suite


SIZES = {
    "smoke": Size(
        seeds=1,
        sight=Sight(5, held_out=2, side=20, crop=16, filters=4, steps=6, batch=16, every=3),
        length=8,
        warmup=3,
        groups=2,
        suite=ONE_TASK_BRIEFLY,
    ),
    "small": Size(
        seeds=3,
        sight=Sight(52, held_out=12, side=48, crop=40, filters=16, steps=750, batch=128, every=75),
        length=16,
        warmup=250,
        groups=10,
        suite=NO_TASKS,
    ),
    "full": Size(
        seeds=3,
        sight=Sight(100, held_out=20, side=100, crop=84, filters=32, steps=20_000, batch=512, every=1000),
        length=32,
        warmup=6000,
        groups=20,
        suite=ALL_TASKS,
    ),
}
AGENTS: dict[str, Callable[..., SoftActorCritic]] = {"CURL": CURL, "M-CURL": MCURL}


def experiment(run: Run) -> Report:
    """Train encoders in three ways, read them, and ask the Transformer for hidden moments."""
    size, seeds = SIZES[run.size], run.seeds(SIZES[run.size].seeds)
    run.expect(1 + len(seeds) * (1 + len(ARMS) + len(AGENTS) * len(size.suite.tasks)))
    probe, train, test = prepared(run, size.sight)
    ask = Question(test, size)
    start = [untrained(run, size.sight, probe, seed) for seed in seeds]
    makers = {arm: maker(run, size, arm, train, probe, ask) for arm in ARMS}
    seconds = run.piece("seconds a step", lambda: {arm: _timed(make(seeds[0], True)) for arm, make in makers.items()})
    curves = {
        arm: [run.loop(f"{arm} seed {seed}", partial(make, seed)) for seed in seeds] for arm, make in makers.items()
    }
    tasks = {
        name: {arm: [_task(run, size, name, arm, seed)["score"] for seed in seeds] for arm in AGENTS}
        for name in size.suite.tasks
    }
    last = {arm: [curve[-1] for curve in runs] for arm, runs in curves.items()}
    return Report(
        findings=(better(last), told(last["M-CURL"], ask.chance), wins(tasks, size.suite.steps), _not_tried()),
        tables=(_features(start, last), _costs(curves, seconds, size), _context(last["M-CURL"], ask), *_scores(tasks)),
        figures=(_learning(start, curves), _asking(curves["M-CURL"], ask), _window(test, size)),
        seeds=tuple(seeds),
        settings=asdict(size),
        notes="The sky is black, since it is not drawn. The Transformer takes part in no reading: R² is of the CNN's "
        "features. Seconds are those of the machine that the run began on. The means without a Transformer came into "
        "the rule after the Transformer's own numbers had been seen, and they only make it stricter.",
    )


class Masked(Keyed):
    """An encoder with its average, which makes the keys, and the Transformer that rebuilds what is hidden."""

    def __init__(self, encoder: PixelEncoder) -> None:
        super().__init__(encoder)
        self.transformer = MomentTransformer(encoder.d)


def masked(model: Masked, seen: Tensor, chosen: Tensor, whole: Tensor) -> tuple[Tensor, int]:
    """Return the sum of InfoNCE over the chosen moments, each against the keys of all processes, and their number."""
    rebuilt = model.transformer(model.encoder(seen.flatten(0, 1)).reshape(*chosen.shape, -1))
    key = gathered(model.average(whole.flatten(0, 1)))
    own = PartialState().process_index * chosen.numel() + chosen.flatten().nonzero().squeeze(1)
    return info_nce(dot_score(rebuilt[chosen], key), own) * len(own), len(own)


def estranged(moments: Tensor) -> Tensor:
    """Exchange moments between windows, so that each place of a window is any window's moment of that place."""
    order = torch.rand(moments.shape[:2]).argsort(dim=0)
    return moments[order, torch.arange(moments.shape[1])]


def maker(run: Run, size: Size, arm: str, train: Recording, probe: Probe, ask: "Question") -> Callable[..., Training]:
    """Return what makes an arm's loop from a seed, and without measuring if that is said."""

    def falling(done: int) -> float:
        return annealing(done, size.warmup)

    if arm == "CURL":
        return contrastive(run, size.sight, probe, train, falling)
    sight, buffer = size.sight, buffered(train.frames)
    slots = buffer.observations()

    def batch(generator: torch.Generator) -> Batch:
        with drawing(generator):
            moments = windows(buffer, sight.batch // size.length, size.length)
            moments = estranged(moments) if arm == FOREIGN else moments
            others = buffer.stacks(drawn(slots, sight.batch)).reshape(moments.shape)
            shown, chosen = hide(moments, others)
            return _cropped(shown, sight.crop), chosen, _cropped(moments, sight.crop)

    def optimiser(model: Any) -> torch.optim.Optimizer:
        groups = [
            {"params": model.encoder.parameters(), "lr": sight.rate},
            {"params": model.transformer.parameters(), "lr": sight.rate / 2},
        ]
        return torch.optim.Adam(groups)

    def schedule(made: torch.optim.Optimizer) -> LambdaLR:
        return LambdaLR(made, [falling, lambda done: warming(done, size.warmup)])

    def measure(model: Any) -> Measures:
        return {**probe(model.encoder), **ask(model)}

    def make(seed: int, bare: bool = False) -> Training:
        return Training(
            lambda: Masked(sight.encoder()),
            masked,
            batch,
            sight.steps,
            seed,
            optimiser=optimiser,
            schedule=schedule,
            measure=None if bare else measure,
            every=sight.every,
            after=keys_follow,
            device=run.device,
        )

    return make


def _cropped(moments: Tensor, size: int) -> Tensor:
    """Crop each moment by itself."""
    return random_crop(moments.flatten(0, 1), size).reshape(*moments.shape[:3], size, size)


class Question:
    """Hidden moments to be found: whose is this guess, of as many windows as there are held-out episodes?

    Each group has one window of each episode, whose middle is hidden, with one moment or five around it.
    """

    def __init__(self, test: Recording, size: Size) -> None:
        observations, self.length = stacked(test.frames), size.length
        episodes, moments = observations.shape[:2]
        generator = torch.Generator().manual_seed(0)
        starts = torch.randint(moments - size.length + 1, (size.groups, episodes, 1), generator=generator)
        places = starts + torch.arange(size.length)
        chosen = observations[torch.arange(episodes)[:, None], places]
        crop = size.sight.crop
        self.windows = centre_crop(chosen.flatten(0, 2), crop).reshape(*chosen.shape[:4], crop, crop)
        self.chance = 1 / episodes

    def __call__(self, model: Masked) -> Measures:
        """Return how often the right window is found: by the Transformer in each context, and by what is seen alone."""
        device = model.encoder.linear.weight.device
        found = [self._found(model, group.to(device)) for group in self.windows]
        return {name: sum(each[name] for each in found) / len(found) for name in found[0]}

    def _found(self, model: Masked, group: Tensor) -> Measures:
        features, middle = model.encoder(group.flatten(0, 1)).reshape(*group.shape[:2], -1), self.length // 2
        black, key = model.encoder(torch.zeros_like(group[:1, 0])), model.average(group[:, middle])
        found = {}
        for hidden in HIDDEN:
            guesses = {
                name: model.transformer(beside(features, name, middle, hidden, black))[:, middle] for name in CONTEXTS
            }
            guesses.update(zip(AVERAGES, averages(features, middle, hidden), strict=True))
            for name, guess in guesses.items():
                right = dot_score(guess, key).argmax(dim=1).cpu() == torch.arange(len(key))
                found[f"{name}, {hidden} hidden"] = float(right.float().mean())
        return found


def averages(features: Tensor, middle: int, hidden: int) -> tuple[Tensor, Tensor]:
    """Return for each window the mean of all moments' features but the hidden ones, and of the two next to these."""
    distance = (torch.arange(features.shape[1]) - middle).abs()
    return features[:, distance > hidden // 2].mean(dim=1), features[:, distance == hidden // 2 + 1].mean(dim=1)


def beside(features: Tensor, context: str, middle: int, hidden: int, black: Tensor) -> Tensor:
    """Return windows whose middle is black, with what a context puts beside it: never what is hidden."""
    places = torch.arange(features.shape[1])
    is_hidden = (places - middle).abs() <= hidden // 2
    source = places.clone()
    if context == CONTEXTS[1]:
        seen = places[~is_hidden]
        source[~is_hidden] = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(hidden))]
    shown = features[:, source].roll(int(context == CONTEXTS[2]), 0)
    shown[:, is_hidden] = black
    return shown


def _timed(training: Training) -> float:
    """Return the seconds that a step takes: the middle one of five, after two that warm up."""
    taken = []
    for index in range(7):
        began = time.perf_counter()
        training.step(index)
        taken.append(time.perf_counter() - began)
    return sorted(taken[2:])[2]


def _task(run: Run, size: Size, name: str, arm: str, seed: int) -> dict[str, Any]:
    kind = AGENTS[arm]
    if arm == "M-CURL":
        batch = size.sight.batch // size.length
        # So short an episode as smoke has holds no window of the usual length.
        kind = partial(MCURL, batch=batch, length=min(size.length, size.suite.first // 2), warmup=size.warmup)
    make = partial(playing_task, size.suite, name, kind, size.suite.side, seed, run.device)
    return run.loop(f"{name} {arm} seed {seed}", make)


def better(last: Mapping[str, Sequence[Measures]]) -> Finding:
    """Judge whether a linear map reads the state better off M-CURL's encoder than off those of the other arms."""
    means = {arm: [each["mean"] for each in found] for arm, found in last.items()}
    ours, curl = means["M-CURL"], means["CURL"]
    return Finding(
        claim="better-features",
        outcome=outcome(
            all_runs_above(ours, curl) and all_runs_above(ours, means[FOREIGN]), each_seed_above(ours, curl)
        ),
        measured="mean R² of five quantities: "
        + ", ".join(f"{arm} {spread(each, '.2f')}" for arm, each in means.items()),
        why="Reproduced if R² on held-out episodes, as a mean over position, angle (two) and both velocities, is after "
        "as many steps higher in each run of M-CURL than in each of CURL and in each with foreign neighbours; partly "
        "if only higher than CURL's from the same seed, in every seed.",
    )


def told(last: Sequence[Measures], chance: float) -> Finding:
    """Judge whether the Transformer tells hidden moments from their neighbours, better than their mean does."""

    def above(*rivals: str) -> bool:
        return all(
            each_seed_above(
                [each[f"{CONTEXTS[0]}, {hidden} hidden"] for each in last],
                [max(2 * chance, *(each[f"{rival}, {hidden} hidden"] for rival in rivals)) for each in last],
            )
            for hidden in HIDDEN
        )

    order = CONTEXTS[1]
    return Finding(
        claim="context",
        outcome=outcome(above(order, *AVERAGES), above(order) or above(AVERAGES[0])),
        measured="the right window is found: "
        + "; ".join(
            f"{name} {spread([each[name] for each in last], '.2f')}" for name in last[0] if name.endswith(" hidden")
        )
        + f"; chance {chance:.2f}",
        why="Reproduced if in every seed, with one moment hidden and with five, the Transformer finds the window more "
        "than twice as often as chance, more often than with the neighbours in another order, and more often than "
        "the mean of the neighbours' features does without it, of all that are seen or of the nearest two; partly if "
        "more than twice as often as chance, and more often than in another order or than the mean of all.",
    )


def wins(tasks: Mapping[str, Mapping[str, Sequence[float]]], steps: int) -> Finding:
    """Judge on how many tasks M-CURL scores higher than CURL; fewer steps than 100,000 say nothing."""
    if steps < 100_000 or not tasks:
        why = "It takes tasks of 100,000 steps, hours each without a GPU; size full runs six of the 16."
        return Finding(claim="dmcontrol", outcome=Outcome.NOT_TRIED, why=why)
    won = sum(all_runs_above(arms["M-CURL"], arms["CURL"]) for arms in tasks.values())
    share = won / len(tasks)
    return Finding(
        claim="dmcontrol",
        outcome=outcome(share >= 14 / 16, share > 1 / 2),
        measured=f"higher on {won} of {len(tasks)} tasks at {steps:,} steps: "
        + "; ".join(
            f"{name} {spread(arms['M-CURL'], '.0f')} and {spread(arms['CURL'], '.0f')}" for name, arms in tasks.items()
        ),
        why="Reproduced if each run of M-CURL scores higher than each of CURL on at least 14 of 16 tasks, as a share "
        "of those tried; partly if on more than half.",
    )


def _not_tried() -> Finding:
    why = "It takes 26 games, and Rainbow in place of soft actor-critic, which has no reference here."
    return Finding(claim="atari", outcome=Outcome.NOT_TRIED, why=why)


def _features(start: Sequence[Measures], last: Mapping[str, Sequence[Measures]]) -> Table:
    return Table(
        title="How well a linear map reads the state, R² on held-out episodes",
        columns=("encoder", *QUANTITIES, "mean of all"),
        rows=readings({"before training": start, **last}),
        note="After as many steps of as many observations. Each column but the last is the mean of the seeds.",
    )


def _costs(curves: Mapping[str, Sequence[Curve]], seconds: Mapping[str, float], size: Size) -> Table:
    encoder, thrown = size.sight.encoder(), parameters(MomentTransformer())
    rows = []
    for arm, runs in curves.items():
        step = min(1.0, seconds["CURL"] / seconds[arm]) * size.sight.steps
        after = spread([reached(curve, step) for curve in runs], ".2f")
        rows.append((arm, seconds[arm], after, parameters(encoder), 0 if arm == "CURL" else thrown))
    return Table(
        title="The same at equal seconds",
        columns=("arm", "seconds a step", "mean R² after CURL's time", "numbers in the encoder", "in the Transformer"),
        rows=tuple(rows),
        note="CURL's time is that of all its steps; between two measurements R² is read off a line. The Transformer is "
        "thrown away. CURL's similarity, 2,500 numbers, goes the same way.",
    )


def reached(curve: Curve, step: float, what: str = "mean") -> float:
    """Return what a curve measures at a step, by a line between two of its points."""
    after = next((row for row in curve if row["step"] >= step), curve[-1])
    before = max((row for row in curve if row["step"] < after["step"]), key=lambda row: row["step"], default=after)
    span = after["step"] - before["step"]
    share = min(1.0, max(0.0, (step - before["step"]) / span)) if span else 1.0
    return before[what] + share * (after[what] - before[what])


def _context(last: Sequence[Measures], ask: Question) -> Table:
    return Table(
        title=f"How often the right one of {round(1 / ask.chance)} windows is found by its hidden middle",
        columns=("found by", "1 moment hidden", "5 moments hidden"),
        rows=tuple(
            (name, *(spread([each[f"{name}, {hidden} hidden"] for each in last], ".2f") for hidden in HIDDEN))
            for name in (*CONTEXTS, *AVERAGES)
        ),
        note=f"Chance is {ask.chance:.2f}. The first three rows are of the Transformer, by what it sees. Another "
        "window's neighbours point to that one, so that it is found instead. The windows are of different episodes, so "
        "that the mean of what is seen tells much without a Transformer.",
    )


def _scores(tasks: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[Table, ...]:
    rows = tuple((name, *(spread(arms[arm], ".0f") for arm in AGENTS)) for name, arms in tasks.items())
    return (Table(title="Scores on the paper's tasks", columns=("task", *AGENTS), rows=rows),) if rows else ()


def _learning(start: Sequence[Measures], curves: Mapping[str, Sequence[Curve]]) -> Figure:
    before = [each["mean"] for each in start]
    after = ", ".join(f"{arm} {spread([curve[-1]['mean'] for curve in runs], '.2f')}" for arm, runs in curves.items())
    return Lines(
        id="features",
        title="What can be read off the encoder",
        caption="Mean R² of five quantities. The encoders see as many observations at each step and begin alike; where "
        "neighbours are foreign, the windows say nothing about the hidden moment.",
        alt=f"Mean R² is {spread(before, '.2f')} before training; at the end: {after}.",
        x="steps",
        y="mean R² on held-out episodes",
        series=tuple(series(arm, runs, "mean", before) for arm, runs in curves.items()),
    )


def _asking(curves: Sequence[Curve], ask: Question) -> Figure:
    names = [f"{name}, 5 hidden" for name in (*CONTEXTS, *AVERAGES)]
    after = "; ".join(f"{name} {spread([curve[-1][name] for curve in curves], '.2f')}" for name in names)
    return Lines(
        id="context",
        title="Is a hidden moment told from its neighbours?",
        caption="The middle of a window is rebuilt, and the windows of all held-out episodes compete for it. Five "
        "moments are hidden, so that no frame of the middle is to be seen. Compare the Transformer's guess with the "
        "mean of the features that it sees: what is above that mean is the Transformer's own.",
        alt=f"The share of right windows at the end: {after}; chance {ask.chance:.2f}.",
        x="steps",
        y="share of right windows",
        series=tuple(series(name, curves, name) for name in names),
        levels={"chance": ask.chance},
    )


def _window(test: Recording, size: Size) -> Figure:
    whole = stacked(test.frames[:1])[:, 20:26]
    with drawing(torch.Generator().manual_seed(1)):
        seen, chosen = hide(whole, whole.flip(1))
    titles = ["asked for" if is_chosen else "shown" for is_chosen in chosen[0].tolist()]
    return Pictures(
        id="window",
        title="A window as the encoder sees it",
        caption="Half of the moments are asked for. Of these most are black, some are strangers, and some stay as they "
        "are. Only the latest frame of each moment's three is shown.",
        alt=f"Six consecutive moments of a cart with a pole, {sum(chosen[0].tolist())} of them asked for, and "
        f"{int((seen[0] == 0).flatten(1).all(dim=1).sum())} black.",
        pictures=tuple(picture(title, moment) for title, moment in zip(titles, seen[0], strict=True)),
    )
