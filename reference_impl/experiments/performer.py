r"""Linear attention by FAVOR+: its time, memory and error, and a trained Transformer turned into a Performer.

Claims: Time and memory grow nearly linearly, close to a model whose attention is the identity (Section 4.1, Figure 3);
    positive features have a lower error than sines and cosines, and orthogonal directions than independent ones
    (Section 4.2, Figure 4); the number of features needed does not depend on the length (Theorem 4); a trained
    Transformer's weights, loaded into a Performer, need little fine-tuning (Section 4.3).

Arms: attention alone (one head of 64, 256 features), torch's fused kernel and the plain matrix; a whole layer of the
    paper's shape (8 heads, MLP 2,048, width 512) with FAVOR+, exact and identity attention; estimators with positive
    features or sines and cosines, and orthogonal or independent directions; a small character-level language model of
    English, trained with softmax attention, converted to FAVOR+, and fine-tuned.

Measures:
    - Seconds and peak memory of the forward pass against the length. All arms of a length are timed interleaved in one
      process. Memory is the resident set that the operating system reports: each arm runs at increasing lengths in a
      process of its own, and its peak is read after each length, so that the workspace of kernels counts too.
    - The error of outputs at the paper's length of 4,096 and width of 16, relative to the mean square of the exact
      outputs, with Gaussian queries and keys of unit scale and of half that: the paper says "appropriately normalized",
      and the result depends on the scale. Errors have heavy tails, so that the median over draws of the projection is
      taken for each sample.
    - The error of the kernel matrix for vectors of one length (the theorem asks for a bound) at several lengths of the
      sequence: the root mean square, and the largest entry, which is what the theorem bounds.
    - The language model's accuracy before and after the conversion, and after fine-tuning.

Stands in: one thread of a CPU for a V100, forward passes alone, docstrings for LM1B. ImageNet64 and TrEMBL are not
    tried.

Sizes: at `small`, the plain matrix stops at 8,192 positions, the layer at 16,384, and there are 5 samples, not 15.
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
from reference_impl.experiments.cost import Timing, judge_cost, measure_costs
from reference_impl.experiments.judging import each_seed_above, not_tried, outcome
from reference_impl.experiments.moved import (
    FEATURE_MAPS,
    TrainingSize,
    attention_heatmaps,
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
        timing=Timing(
            lengths=(256, 512), max_matrix_length=512, layer_lengths=(512, 1024), fit_from=64,
            repeats=2, long_repeats=2, long_from=512,
        ),
        seeds=1, training=TrainingSize(steps=6, finetuning_steps=4, d_model=32, batch_size=2, files=5),
    ),
    "small": Size(
        samples=5, draws=10, nb_features=(16, 32, 64, 128, 256, 512), compared_length=4096,
        growth_lengths=(256, 1024, 4096),
        timing=Timing(
            lengths=tuple(2**i for i in range(8, 17)), max_matrix_length=8192,
            layer_lengths=(1024, 2048, 4096, 8192, 16_384), fit_from=4096, repeats=5, long_repeats=3, long_from=8192,
        ),
        seeds=3, training=TrainingSize(steps=450, finetuning_steps=90, d_model=128, batch_size=16, files=60),
    ),
    "full": Size(
        samples=15, draws=50, nb_features=(16, 32, 64, 128, 256, 512, 1024), compared_length=4096,
        growth_lengths=(256, 1024, 4096, 16_384),
        timing=Timing(
            lengths=tuple(2**i for i in range(8, 19)), max_matrix_length=16_384,
            layer_lengths=tuple(2**i for i in range(10, 17)), fit_from=4096,
            repeats=9, long_repeats=5, long_from=65_536,
        ),
        seeds=5, training=TrainingSize(steps=20_000, finetuning_steps=2000, d_model=512, batch_size=64, files=1000),
    ),
}  # fmt: skip


# Arms: estimators of attention, and the language models of `moved`

PROJECTIONS = {"orthogonal": gaussian_orthogonal_random_matrix, "independent": gaussian_random_matrix}
SCALES = {"unit": 1.0, "half": 0.5}


def arm_name(scale: str, kernel: str, draw: str) -> str:
    """Return the name of an estimator: a feature map, a projection and a scale."""
    return f"{kernel}, {draw}, {scale} scale"


# Measures: `cost` measures seconds and memory

Errors = Mapping[str, Sequence[float]]


def errors_by_features(size: Size, seed: int) -> dict[str, list[float]]:
    """Return the outputs' error by number of features, for each scale, feature map and projection.

    It is the mean square of the error over that of the exact outputs; the median over draws of directions.
    """
    torch.manual_seed(seed)
    queries, keys, values = torch.randn(3, 1, size.compared_length, 16)
    found = {}
    for scale, factor in SCALES.items():
        query, key = factor * queries, factor * keys
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
                found[arm_name(scale, kernel, draw)] = curve
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


def mean_curve(errors: Sequence[Errors], arm: str) -> np.ndarray:
    """Return an estimator's errors by number of features, as geometric means over samples."""
    return np.exp(np.mean(np.log([sample[arm] for sample in errors]), axis=0))


# Claims


def judge_feature_maps(errors: Sequence[Errors], numbers: Sequence[int]) -> Finding:
    """Judge whether positive features have the lower error, with orthogonal directions, in each sample."""
    wins, said = {}, []
    for scale in SCALES:
        arms = {kernel: arm_name(scale, kernel, "orthogonal") for kernel in FEATURE_MAPS}
        curves = {kernel: mean_curve(errors, arm) for kernel, arm in arms.items()}
        ratios = curves["sines and cosines"] / curves["positive"]
        if min(curve[-1] for curve in curves.values()) < 1:
            of_sines, of_positive = (
                zip(*(sample[arms[kernel]] for sample in errors), strict=True)
                for kernel in ("sines and cosines", "positive")
            )
            wins[scale] = all(map(each_seed_above, of_sines, of_positive))
        said.append(
            f"at {scale} scale sines and cosines err {ratios[0]:.3g} times as much with {numbers[0]} directions, and "
            f"{ratios[-1]:.3g} times with {numbers[-1]} (positive: {curves['positive'][0]:.2g} and "
            f"{curves['positive'][-1]:.2g} of the outputs' mean square)"
        )
    counted = " and ".join(f"{scale} scale" for scale in wins) or "no scale"
    return Finding(
        claim="positive-lowers-error",
        outcome=outcome(bool(wins) and all(wins.values()), any(wins.values())),
        measured=f"{_sentence('; '.join(said))} These are geometric means over the samples. Counted: {counted}.",
        why=(
            "A scale of queries and keys, unit or half, counts only if the better of the two estimates errs less than "
            f"1, what answering zero errs, with {numbers[-1]} directions. Reproduced if positive features err less in "
            "every sample at every number of directions, at all scales that count; partly if at one of them; not if "
            "none counts. That scales must count was decided after a first run, whose one win was at unit scale."
        ),
    )


def judge_projections(errors: Sequence[Errors]) -> Finding:
    """Judge whether orthogonal directions have the lower error, by each sample's mean ratio of errors."""
    wins, said = [], []
    for scale in SCALES:
        for kernel in FEATURE_MAPS:
            pairs = [
                (sample[arm_name(scale, kernel, "orthogonal")], sample[arm_name(scale, kernel, "independent")])
                for sample in errors
            ]
            ratios = [float(np.exp(np.mean(np.log(ours) - np.log(theirs)))) for ours, theirs in pairs]
            wins.append(each_seed_above([1.0] * len(ratios), ratios))
            said.append(f"{spread(ratios, '.3g')} for {kernel} at {scale} scale")
    return Finding(
        claim="orthogonal-lowers-error",
        outcome=outcome(all(wins), any(wins)),
        measured=f"Error with orthogonal over that with independent directions: {'; '.join(said)}.",
        why=(
            "Reproduced if the ratio, averaged over the numbers of directions (as a geometric mean), is below 1 in "
            "every sample, for both kernels and both scales; partly if for some of these four."
        ),
    )


def judge_growth(grown: Sequence[Mapping[str, Any]], lengths: Sequence[int]) -> Finding:
    """Judge whether a given error needs more features at a greater length; it falls with their square root."""
    times: dict[str, np.ndarray] = {}
    for kernel in FEATURE_MAPS:
        shortest, longest = (np.mean([sample[kernel][end] for sample in grown], axis=0) for end in (0, -1))
        times[kernel] = (longest / shortest) ** 2
    ours, theirs = times["sines and cosines"], times["positive"]
    return Finding(
        claim="length-free-bound",
        outcome=outcome(bool(max(ours) <= 1.25), bool(ours[0] <= 1.25)),
        measured=(
            f"From {lengths[0]:,} to {lengths[-1]:,} positions, the theorem's sines and cosines need {ours[0]:.2f} "
            f"times the features for the same mean error and {ours[1]:.2f} times for the same worst entry; positive "
            f"features, of which the theorem says nothing, {theirs[0]:.2f} and {theirs[1]:.2f} times."
        ),
        why=(
            "Reproduced if sines and cosines need at most 1.25 times the features for both errors of the kernel's "
            "matrix, for vectors of one length; partly if for the mean error alone. More pairs have a worse worst one, "
            "up to a limit that the theorem bounds: growth of the worst entry doesn't refute it."
        ),
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


NOT_TRIED = not_tried(
    {
        "imagenet64": "It needs ImageNet64 and days of accelerators, on sequences of 12,288 pixels.",
        "long-proteins": "It needs TrEMBL, sequences of 8,192 and accelerators whose memory the Transformer exceeds.",
    }
)


# Report


def experiment(run: Run) -> Report:
    """Measure errors, seconds, memory, and the conversion of a trained model."""
    size = SIZES[run.size]
    run.expect(2 * size.samples + len(size.timing.lengths) + len(size.timing.layer_lengths) + 1 + 4 * size.seeds)
    device = str(accelerator(run.device).device)
    samples = run.seeds(size.samples)
    errors = measure_seeds(run, "errors by features", partial(errors_by_features, size), samples)
    grown = measure_seeds(run, "errors by length", partial(errors_by_length, size), samples)
    attention, layer = measure_costs(run, size.timing, device)
    models = [train_and_transfer(run, size.training, seed) for seed in run.seeds(size.seeds)]
    return Report(
        findings=(
            judge_cost(attention, layer),
            judge_growth(grown, size.growth_lengths),
            judge_feature_maps(errors, size.nb_features),
            judge_projections(errors),
            judge_transfer(
                [model.softmax_curve for model in models], [model.performer for model in models], size.training
            ),
            *NOT_TRIED,
        ),
        tables=(attention.table(), layer.table(), error_table(errors, size), transfer_table(models, size.training)),
        figures=(
            error_figure(errors, size),
            growth_figure(grown, size),
            *attention.figures(),
            *layer.figures(),
            transfer_figure(models, size.training),
            *attention_heatmaps(models[0]),
        ),
        seeds=tuple(samples),
        settings=asdict(size) | {"threads": torch.get_num_threads()},
        notes=(
            "Seconds are of forward passes, and depend on the machine; slopes and ratios less so. torch's fused kernel "
            "never makes the matrix of weights either: exact attention is linear in *memory* with it, not in time. The "
            f"language models have the first {size.seeds} of the seeds."
        ),
    )


def error_figure(errors: Sequence[Errors], size: Size) -> Lines:
    """Plot the error of outputs against the number of features; at half scale with orthogonal directions alone."""
    names = [arm_name("unit", kernel, draw) for kernel in FEATURE_MAPS for draw in PROJECTIONS]
    names += [arm_name("half", kernel, "orthogonal") for kernel in FEATURE_MAPS]
    told = "; ".join(
        f"{name} {mean_curve(errors, name)[0]:.2g} to {mean_curve(errors, name)[-1]:.2g}" for name in names
    )
    return Lines(
        id="error-by-features",
        title="Error of the estimated attention",
        caption=(
            "Which features are better depends on how long queries and keys are: compare unit with half scale. At 1 "
            "the error is as large as what is estimated. Each sample is a median over draws of directions; bands span "
            "the samples."
        ),
        alt=f"Relative error from {size.nb_features[0]} to {size.nb_features[-1]} directions: {told}.",
        x="random directions",
        y="mean square error over that of outputs",
        log=("x", "y"),
        series=tuple(
            Series(name=name, x=size.nb_features, runs=tuple(tuple(sample[name]) for sample in errors))
            for name in names
        ),
        levels={"nothing known": 1.0},
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
    )  # fmt: skip


def error_table(errors: Sequence[Errors], size: Size) -> Table:
    """Return the table of all estimators' errors at the smallest and the largest number of directions."""
    rows = []
    for scale in SCALES:
        for kernel in FEATURE_MAPS:
            for draw in PROJECTIONS:
                ends = [[sample[arm_name(scale, kernel, draw)][end] for sample in errors] for end in (0, -1)]
                rows.append((kernel, draw, scale, *map(spread, ends)))
    columns = ("features", "directions", "scale", f"with {size.nb_features[0]}", f"with {size.nb_features[-1]}")
    return Table(
        title=f"Error of outputs at {size.compared_length:,} positions, over their mean square",
        columns=columns,
        rows=tuple(rows),
        note=(
            f"Mean (lowest to highest) of {len(errors)} samples, each of which is the median over {size.draws} draws "
            "of directions. What is said of them elsewhere are geometric means."
        ),
    )
