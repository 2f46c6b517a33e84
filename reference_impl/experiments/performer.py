r"""Linear attention by FAVOR+: its error, its cost, and a trained Transformer turned into a Performer.

Claims: Time and memory grow nearly linearly, close to a model whose attention is the identity (Section 4.1, Figure 3);
    positive features have a lower error than sines and cosines, and orthogonal directions than independent ones
    (Section 4.2, Figure 4); the number of features needed does not depend on the length (Theorem 4); a trained
    Transformer's weights, loaded into a Performer, need little fine-tuning (Section 4.3).

Arms: estimators with positive features or sines and cosines, and orthogonal or independent directions; a layer of the
    paper's shape (8 heads, MLP 2,048, width 512) with FAVOR+, exact and identity attention; a small character-level
    language model of English, trained with softmax attention, converted to FAVOR+, and fine-tuned.

Measures:
    - The error of outputs at the paper's length of 4,096 and width of 16, relative to the mean square of the exact
      outputs. Queries and keys are Gaussian, times a scale: the paper says "appropriately normalized", and the result
      depends on the scale, which is therefore varied. Errors have heavy tails, so that the median over draws of the
      projection is taken for each sample. The scale at which two curves cross is interpolated between logarithms.
    - The error of the kernel matrix for vectors of one length (the theorem asks for a bound) at several lengths of the
      sequence: the root mean square, and the largest entry, which is what the theorem bounds.
    - FLOPs, memory and seconds of a forward and a backward pass against the length (`cost`).
    - The language model's accuracy before and after the conversion, and after fine-tuning (`moved`).

Rules: that positive features have the lower error was once judged by those scales alone at which the better estimate
    errs less than 1. That rule, made after a first run, discarded the unit scale, and was dropped: an estimator is
    compared with the other one, as in Figure 4, and the error of answering zero is a line in the figure.

    An earlier rule on the cost asked for the seconds of a GPU. FLOPs and bytes took their place where there is none:
    they are counted exactly, and had been seen when the rule was changed.

Gates: the paper's length and width, a model that has converged and loses by the conversion, and three seeds.

Stands in: one layer for six, and characters of docstrings for LM1B. ImageNet64 and TrEMBL are not tried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from quaere.content.results import Finding, Lines, Report, Series, Table, spread
from quaere.running.experiments import Run
from reference_impl.experiments.arms import measure_seeds
from reference_impl.experiments.cost import Timing, cost_figure, cost_table, judge_cost, measure_costs
from reference_impl.experiments.judging import enough_seeds, gate, judge, no_experiment, quantity
from reference_impl.experiments.moved import (
    FEATURE_MAPS,
    TrainingSize,
    judge_transfer,
    train_and_transfer,
    transfer_figure,
    transfer_table,
)
from reference_impl.experiments.training import accelerator
from reference_impl.performer import (
    favor_attention,
    gaussian_orthogonal_random_matrix,
    gaussian_random_matrix,
    random_features,
)


@dataclass(frozen=True)
class Size:
    """The settings of a run.

    Attributes:
        samples: Draws of queries, keys and values, each measured with `draws` draws of the projection.
        nb_features: Numbers of random directions.
        compared_length: The length at which they are compared.
        growth_lengths: Lengths at which the kernel's error is measured.
        timing: The lengths and repeats of the timing.
        seeds: The number of language models that are trained and converted.
        training: The settings of their training.
    """

    samples: int
    draws: int
    nb_features: tuple[int, ...]
    compared_length: int
    growth_lengths: tuple[int, ...]
    timing: Timing
    seeds: int
    training: TrainingSize


SIZES = {
    "smoke": Size(
        samples=1, draws=2, nb_features=(16, 64), compared_length=256, growth_lengths=(64, 256),
        timing=Timing(lengths=(256, 512), max_timed_length=512, fit_from=64, repeats=2),
        seeds=1, training=TrainingSize(steps=6, every=3, d_model=32, batch_size=2, files=5),
    ),
    "small": Size(
        samples=15, draws=10, nb_features=(16, 64, 256), compared_length=4096, growth_lengths=(256, 1024, 4096),
        timing=Timing(
            lengths=tuple(2**i for i in range(10, 17)), max_timed_length=4096, fit_from=1024, repeats=3,
        ),
        seeds=3, training=TrainingSize(steps=3000, every=100, d_model=64, batch_size=16, files=60, keep_every=8),
    ),
    "gpu": Size(
        samples=15, draws=20, nb_features=(16, 32, 64, 128, 256, 512), compared_length=4096,
        growth_lengths=(256, 1024, 4096),
        timing=Timing(
            lengths=tuple(2**i for i in range(12, 17)), max_timed_length=2**16, fit_from=8192, repeats=7,
        ),
        seeds=3, training=TrainingSize(steps=6000, every=200, d_model=128, batch_size=64, files=60, keep_every=2),
    ),
    "full": Size(
        samples=15, draws=50, nb_features=(16, 32, 64, 128, 256, 512, 1024), compared_length=4096,
        growth_lengths=(256, 1024, 4096, 16_384),
        timing=Timing(
            lengths=tuple(2**i for i in range(12, 19)), max_timed_length=2**18, fit_from=8192, repeats=9,
        ),
        seeds=5, training=TrainingSize(steps=100_000, every=1000, d_model=512, batch_size=64, files=1000),
    ),
}  # fmt: skip


# Arms: estimators of attention, and the language models of `moved`

PROJECTIONS = {"orthogonal": gaussian_orthogonal_random_matrix, "independent": gaussian_random_matrix}
POSITIVE, SINES = FEATURE_MAPS
SCALES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""What Gaussian queries and keys are multiplied by; a scale of 1 is called unit scale."""
UNIT = SCALES.index(1.0)


def arm_name(kernel: str, draw: str) -> str:
    """Return the name of an estimator: a feature map and a projection."""
    return f"{kernel}, {draw}"


# Measures: `cost` measures seconds and memory

Errors = Mapping[str, Sequence[Sequence[float]]]
"""For each estimator, the errors by scale and number of features."""


def errors_by_scale(size: Size, seed: int) -> dict[str, list[list[float]]]:
    """Return the outputs' error by scale and number of features, for each feature map and projection.

    It is the mean square of the error over that of the exact outputs; the median over draws of directions.
    """
    torch.manual_seed(seed)
    queries, keys, values = torch.randn(3, 1, size.compared_length, 16)
    found: dict[str, list[list[float]]] = {
        arm_name(kernel, draw): [] for kernel in FEATURE_MAPS for draw in PROJECTIONS
    }
    for scale in SCALES:
        query, key = scale * queries, scale * keys
        exact = F.scaled_dot_product_attention(query, key, values)
        for kernel, of_kernel in FEATURE_MAPS.items():
            for draw, projection in PROJECTIONS.items():
                curve = []
                for m in size.nb_features:
                    torch.manual_seed(seed)
                    outputs = [
                        favor_attention(query, key, values, projection(m, 16), of_kernel) for _ in range(size.draws)
                    ]
                    curve.append(float(np.median([relative_error(output, exact) for output in outputs])))
                found[arm_name(kernel, draw)].append(curve)
    return found


def relative_error(output: Tensor, exact: Tensor) -> float:
    """Return the mean squared error, relative to the mean square of the exact outputs."""
    return float((output - exact).square().mean() / exact.square().mean())


GROWTH_NB_FEATURES = 128
"""The number of random directions where the length is varied."""


def errors_by_length(size: Size, seed: int) -> dict[str, list[list[float]]]:
    """Return, for each feature map, the mean and the largest error of the kernel matrix at each length.

    Queries and keys point anywhere and are as long as Gaussian ones are on the mean, 4 at width 16. Errors are over the
    root mean square of the exact matrix, and their root mean square and their largest are averaged over draws.
    """
    found: dict[str, list[list[float]]] = {kernel: [] for kernel in FEATURE_MAPS}
    for length in size.growth_lengths:
        torch.manual_seed(seed)
        # Times d^(-1/4), so that products are those under the exponential of softmax.
        query, key = (4 * 16**-0.25 * F.normalize(torch.randn(length, 16), dim=-1) for _ in range(2))
        exact = (query @ key.mT).exp()
        sums = {kernel: np.zeros(2) for kernel in FEATURE_MAPS}
        for draw in range(size.draws // 2):
            torch.manual_seed(1000 * seed + draw)
            projection = gaussian_orthogonal_random_matrix(GROWTH_NB_FEATURES, 16)
            for kernel, of_kernel in FEATURE_MAPS.items():
                gap = (
                    random_features(query, projection, of_kernel) @ random_features(key, projection, of_kernel).mT
                    - exact
                )
                errors = gap.square().mean().sqrt(), gap.abs().max()
                sums[kernel] += [float(error / exact.square().mean().sqrt()) for error in errors]
        for kernel in FEATURE_MAPS:
            found[kernel].append((sums[kernel] / (size.draws // 2)).tolist())
    return found


def crossing_scale(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the first scale at which our error falls to theirs, between logarithms; NaN if the curves do not cross."""
    ahead = np.log(np.array(theirs) / np.array(ours))
    for low in range(len(SCALES) - 1):
        if ahead[low] < 0 <= ahead[low + 1]:
            share = -ahead[low] / (ahead[low + 1] - ahead[low])
            return float(SCALES[low] * (SCALES[low + 1] / SCALES[low]) ** share)
    return float("nan")


# Claims


def judge_feature_maps(errors: Sequence[Errors], size: Size) -> Finding:
    """Judge whether positive features have the lower error, with orthogonal directions, in each sample."""
    ours, theirs = (
        np.array([sample[arm_name(kernel, "orthogonal")] for sample in errors]) for kernel in (POSITIVE, SINES)
    )  # (samples, scales, numbers of features)
    wins = (ours < theirs).all(axis=(0, 2))

    def error_at(scale: float) -> Any:
        place = SCALES.index(scale)
        return quantity(
            f"error at scale {scale:g} with {size.nb_features[-1]} directions",
            {POSITIVE: ours[:, place, -1].tolist(), SINES: theirs[:, place, -1].tolist()},
            "lower",
            unit="of the outputs' mean square",
            levels={"answering zero": 1.0},
            log=True,
        )

    crossings = {
        f"{m} directions": [
            crossing_scale(*curves) for curves in zip(ours[..., i].tolist(), theirs[..., i].tolist(), strict=True)
        ]
        for i, m in enumerate(size.nb_features)
    }
    return judge(
        "positive-lowers-error",
        "Reproduced if positive features err less in every sample, with every number of directions and at every scale "
        "of queries and keys; partly if at unit scale or at another, but not at all; not if at none. (An earlier rule, "
        "which discarded the unit scale because both estimates err more than an answer of zero there, was dropped.)",
        ran=described(size),
        quantities=[error_at(1.0), error_at(0.5), quantity("scale at which the curves cross", crossings)],
        reproduced=bool(wins.all()),
        partly=bool(wins.any()),
        gates=[paper_setting(size), enough_seeds({POSITIVE: ours[:, 0, 0].tolist()})],
    )


def judge_projections(errors: Sequence[Errors], size: Size) -> Finding:
    """Judge whether orthogonal directions have the lower error, by each sample's mean ratio of errors."""
    orthogonal, independent = (
        {kernel: np.array([sample[arm_name(kernel, draw)] for sample in errors]) for kernel in FEATURE_MAPS}
        for draw in PROJECTIONS
    )
    # (samples, scales), geometric means over the numbers of directions
    ratios = {kernel: np.exp(np.log(orthogonal[kernel] / independent[kernel]).mean(axis=-1)) for kernel in FEATURE_MAPS}
    wins = np.array([(of_kernel < 1).all(axis=0) for of_kernel in ratios.values()])
    return judge(
        "orthogonal-lowers-error",
        "Reproduced if in every sample the error with orthogonal directions is below that with independent ones, as a "
        "geometric mean over the numbers of directions, for both kinds of features and at every scale; partly if for "
        "some kind and scale. (An earlier rule looked at unit and at half scale alone.)",
        ran=described(size),
        quantities=[
            quantity(
                f"error with orthogonal over that with independent directions, {kernel}",
                {f"scale {scale:g}": of_kernel[:, i].tolist() for i, scale in enumerate(SCALES)},
                "lower",
                levels={"no difference": 1.0},
                log=True,
            )
            for kernel, of_kernel in ratios.items()
        ],
        reproduced=bool(wins.all()),
        partly=bool(wins.any()),
        gates=[paper_setting(size), enough_seeds({arm: ratio[:, 0].tolist() for arm, ratio in ratios.items()})],
    )


def described(size: Size) -> str:
    """Describe what was run to measure the error of outputs."""
    return (
        f"{size.samples} samples of Gaussian queries, keys and values, {size.compared_length:,} positions, width 16; "
        f"the median over {size.draws} draws of {', '.join(map(str, size.nb_features))} directions; scales "
        f"{SCALES[0]:g} to {SCALES[-1]:g}"
    )


def paper_setting(size: Size) -> Any:
    """Return the gate that outputs are compared at the paper's length."""
    return gate("The length is that of Figure 4, 4,096.", size.compared_length == 4096, f"{size.compared_length:,}")


def judge_growth(grown: Sequence[Mapping[str, Any]], size: Size) -> Finding:
    """Judge whether a given error needs more features at a greater length; it falls with their square root."""
    first, last = size.growth_lengths[0], size.growth_lengths[-1]
    times = {
        f"{kernel}, {kind}": [(sample[kernel][-1][i] / sample[kernel][0][i]) ** 2 for sample in grown]
        for kernel in (SINES, POSITIVE)
        for i, kind in enumerate(("mean error", "worst entry"))
    }
    mean, worst = (float(np.mean(times[f"{SINES}, {kind}"])) for kind in ("mean error", "worst entry"))
    return judge(
        "length-free-bound",
        f"Reproduced if sines and cosines, of which the theorem speaks, need at most {MAX_GROWTH:g} times the "
        f"directions at {last:,} positions for the error that they have at {first:,}, both for the mean error of the "
        "kernel's matrix and for its worst entry; partly if for the mean error alone. (More pairs have a worse worst "
        "one, up to a limit that the theorem bounds: growth of the worst entry doesn't refute it.)",
        ran=f"{size.samples} samples of queries and keys of length 4 at width 16; {size.draws // 2} draws of "
        f"{GROWTH_NB_FEATURES} orthogonal directions; {first:,} to {last:,} positions",
        quantities=[
            quantity(
                f"directions needed at {last:,} positions over those at {first:,}",
                times,
                "lower",
                levels={"no growth": 1.0, "allowed": MAX_GROWTH},
                log=True,
            )
        ],
        reproduced=max(mean, worst) <= MAX_GROWTH,
        partly=mean <= MAX_GROWTH,
        gates=[
            gate(
                "The length grows 16 times or more.",
                last >= 16 * first,
                f"{first:,} to {last:,}",
            ),
            enough_seeds(times),
        ],
    )


MAX_GROWTH = 1.25
"""By how much the number of directions may grow where it is said not to."""

NO_EXPERIMENT = no_experiment(
    {
        "imagenet64": "ImageNet64 and days of accelerators, on sequences of 12,288 pixels.",
        "long-proteins": "TrEMBL, sequences of 8,192 and accelerators whose memory the Transformer exceeds.",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Measure errors, cost, and the conversion of a trained model."""
    size = SIZES[run.size]
    run.expect(2 * size.samples + len(size.timing.lengths) + 4 * size.seeds)
    device = str(accelerator(run.device).device)
    samples = run.seeds(size.samples)
    errors = measure_seeds(run, "errors by scale", partial(errors_by_scale, size), samples)
    grown = measure_seeds(run, "errors by length", partial(errors_by_length, size), samples)
    cost = measure_costs(run, size.timing, device)
    models = [train_and_transfer(run, size.training, seed) for seed in run.seeds(size.seeds)]
    return Report(
        findings=(
            judge_cost(cost, size.timing, device),
            judge_growth(grown, size),
            judge_feature_maps(errors, size),
            judge_projections(errors, size),
            judge_transfer(models),
            *NO_EXPERIMENT,
        ),
        tables=(error_table(errors, size), cost_table(cost), transfer_table(models)),
        figures=(
            scale_figure(errors, size),
            growth_figure(grown, size),
            cost_figure(cost),
            transfer_figure(models),
        ),
        seeds=tuple(samples),
        settings=asdict(size) | {"threads": torch.get_num_threads()},
        notes=(
            "torch's fused kernel never makes the matrix of weights either: with it exact attention is linear in "
            f"*memory* too, not in time. The language models have the first {size.seeds} of the seeds."
        ),
    )


def scale_figure(errors: Sequence[Errors], size: Size) -> Lines:
    """Plot the error of outputs against the scale of queries and keys, with the fewest and the most directions."""
    curves = {
        f"{kernel}, {m} directions": [[at[i] for at in sample[arm_name(kernel, "orthogonal")]] for sample in errors]
        for i, m in ((0, size.nb_features[0]), (-1, size.nb_features[-1]))
        for kernel in FEATURE_MAPS
    }
    ends = "; ".join(
        f"{name} " + ", ".join(f"{np.median([run[i] for run in runs]):.2g}" for i in (0, UNIT, -1))
        for name, runs in curves.items()
    )
    return Lines(
        id="error-by-scale",
        title="Error of the estimated attention against the scale of queries and keys",
        caption=(
            "Which features are better depends on how long queries and keys are: where do the two curves with the same "
            "number of directions cross? At 1 the error is as large as what is estimated. Each sample is a median over "
            "draws of orthogonal directions; bands span the samples."
        ),
        alt=f"Median relative error at scales {SCALES[0]:g}, 1 and {SCALES[-1]:g}: {ends}.",
        x="scale of queries and keys",
        y="mean square error over that of outputs",
        log=("y",),
        series=tuple(Series(name=name, x=SCALES, runs=tuple(map(tuple, runs))) for name, runs in curves.items()),
        levels={"answering zero": 1.0},
    )


def growth_figure(grown: Sequence[Mapping[str, Any]], size: Size) -> Lines:
    """Plot the mean and the largest error of the kernel matrix against the length."""
    kinds = {
        f"{kernel}, {kind}": (kernel, i) for kernel in FEATURE_MAPS for i, kind in enumerate(("mean", "worst entry"))
    }
    runs = {
        name: tuple(tuple(point[i] for point in sample[kernel]) for sample in grown)
        for name, (kernel, i) in kinds.items()
    }
    ends = {name: np.mean(each, axis=0) for name, each in runs.items()}
    first, last = size.growth_lengths[0], size.growth_lengths[-1]
    return Lines(
        id="error-by-length",
        title="Error of the kernel against the length",
        caption=(
            f"{GROWTH_NB_FEATURES} orthogonal directions, vectors of length 4 at width 16. More pairs have a worse "
            "worst one: compare sines and cosines, which Theorem 4 bounds, with positive features, of which it says "
            "nothing."
        ),
        alt="; ".join(f"{name}: {mean[0]:.3g} at {first:,}, {mean[-1]:.3g} at {last:,}" for name, mean in ends.items()),
        x="length (positions)",
        y="error over the matrix's root mean square",
        log=("x", "y"),
        series=tuple(Series(name=name, x=size.growth_lengths, runs=each) for name, each in runs.items()),
    )


def error_table(errors: Sequence[Errors], size: Size) -> Table:
    """Return the errors at each scale with the smallest and the largest number of orthogonal directions."""
    shown = [(kernel, end) for end in (0, -1) for kernel in FEATURE_MAPS]
    return Table(
        title=f"Error of outputs at {size.compared_length:,} positions, over their mean square",
        columns=("scale", *(f"{kernel}, {size.nb_features[end]}" for kernel, end in shown)),
        rows=tuple(
            (
                scale,
                *(spread([sample[arm_name(kernel, "orthogonal")][i][end] for sample in errors], ".3g")
                  for kernel, end in shown),
            )
            for i, scale in enumerate(SCALES)
        ),
        note=f"Mean (lowest to highest) of {len(errors)} samples, each the median over {size.draws} draws of "
        "orthogonal directions.",
    )  # fmt: skip
