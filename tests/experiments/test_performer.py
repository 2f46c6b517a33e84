import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch

from quaere.content.results import Outcome
from reference_impl.experiments import cost
from reference_impl.experiments.cost import EXACT, FAVOR, IDENTITY, Cost, Timing, count_cost, fit_power, judge_cost
from reference_impl.experiments.moved import (
    FEATURE_MAPS,
    CharTransformer,
    TransferredModel,
    judge_transfer,
    sample_windows,
    to_performer,
)
from reference_impl.experiments.performer import (
    PROJECTIONS,
    SCALES,
    SIZES,
    arm_name,
    crossing_scale,
    judge_feature_maps,
    judge_growth,
    judge_projections,
    relative_error,
)
from reference_impl.experiments.training import count_parameters
from reference_impl.performer import FavorAttention

YES, PARTLY, NO, NO_VERDICT = Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NO_VERDICT
SMALL, SMOKE = SIZES["small"], SIZES["smoke"]


def errors(of: Mapping[tuple[str, str], Sequence[Sequence[float]]]) -> dict[str, Sequence[Sequence[float]]]:
    """Return made-up errors by scale and number of features: 1 for all arms but those named."""
    arms = [(kernel, draw) for kernel in FEATURE_MAPS for draw in PROJECTIONS]
    return {arm_name(*arm): of.get(arm, [[1.0] * len(SMALL.nb_features)] * len(SCALES)) for arm in arms}


def positive_errs(by_scale: Sequence[float], with_most: float | None = None) -> dict[str, Sequence[Sequence[float]]]:
    """Return errors of positive features by scale, maybe another with most directions; sines and cosines err 1."""
    return errors({("positive", "orthogonal"): [[each, each, with_most or each] for each in by_scale]})


LONG, SHORT, ALL = (2.0, 2.0, 2.0, 0.5, 0.5, 0.5), (0.5, 2.0, 2.0, 2.0, 2.0, 2.0), (0.5,) * 6


@pytest.mark.parametrize(("by_scale", "outcome"), [(ALL, YES), (LONG, PARTLY), (SHORT, PARTLY), ((2.0,) * 6, NO)])
def test_the_unit_scale_counts_and_so_does_every_other(by_scale: Sequence[float], outcome: Outcome) -> None:
    assert judge_feature_maps([positive_errs(by_scale)] * 3, SMALL).outcome is outcome


def test_positive_features_must_err_less_in_every_sample_and_with_every_number_of_directions() -> None:
    one_worse = [positive_errs(ALL), positive_errs(ALL), positive_errs((*ALL[:5], 1.5))]
    assert judge_feature_maps(one_worse, SMALL).outcome is PARTLY
    assert judge_feature_maps([positive_errs(ALL, with_most=1.5)] * 3, SMALL).outcome is NO


def test_outputs_are_judged_at_the_papers_length_and_by_three_samples_alone() -> None:
    samples = [positive_errs(ALL)] * 3
    for given, size in ((samples, SMOKE), (samples[:2], SMALL)):
        assert judge_feature_maps(given, size).outcome is NO_VERDICT
        assert judge_projections(given, size).outcome is NO_VERDICT


def test_curves_cross_between_two_scales() -> None:
    ours, theirs = (4.0, 2.0, 1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 2.0, 4.0, 8.0)
    assert crossing_scale(ours, theirs) == 0.75
    assert 0.5 < crossing_scale(ours, (1.0, 1.0, 1.5, 2.0, 4.0, 8.0)) < 0.75
    assert math.isnan(crossing_scale(theirs, ours))
    found = judge_feature_maps([positive_errs(LONG)] * 3, SMALL)
    crossings = found.quantities[-1].arms["16 directions"]
    assert crossings == pytest.approx([(0.75 * 1.0) ** 0.5] * 3)


def test_an_error_is_relative_to_what_is_estimated() -> None:
    exact = torch.tensor([3.0, 4.0])
    assert relative_error(torch.zeros(2), exact) == 1
    assert relative_error(exact * 1.5, exact) == pytest.approx(0.25)


def test_orthogonal_directions_must_win_in_every_sample_for_every_kind_and_scale() -> None:
    def with_ratio(ratio: float, kernels: Sequence[str] = tuple(FEATURE_MAPS)) -> dict[str, Sequence[Sequence[float]]]:
        return errors({(kernel, "orthogonal"): [[ratio, 1.0, 1.0]] * len(SCALES) for kernel in kernels})

    better, worse, mixed = with_ratio(0.5), with_ratio(2.0), with_ratio(0.5, ["positive"])
    outcomes = [
        judge_projections(samples, SMALL).outcome for samples in ([better] * 3, [better, better, worse], [mixed] * 3)
    ]
    assert outcomes == [YES, NO, PARTLY]


@pytest.mark.parametrize(("mean", "worst", "outcome"), [(1.1, 1.1, YES), (1.1, 1.3, PARTLY), (1.3, 1.1, NO)])
def test_features_grow_with_the_square_of_the_error(mean: float, worst: float, outcome: Outcome) -> None:
    grown = {"sines and cosines": [[2.0, 5.0], [2 * mean, 5 * worst]], "positive": [[1.0, 1.0], [9.0, 9.0]]}
    found = judge_growth([grown] * 3, SMALL)
    assert found.outcome is outcome
    assert found.quantities[0].arms["sines and cosines, mean error"] == pytest.approx([mean**2] * 3)
    assert judge_growth([grown] * 2, SMALL).outcome is NO_VERDICT
    assert judge_growth([grown] * 3, SMOKE).outcome is NO_VERDICT


TIMING = Timing(lengths=(4096, 8192), max_timed_length=8192, fit_from=4096, repeats=3)


def growing(powers: Mapping[str, float], memory: float = 1.0, exact: float = 2.0, scale: float = 1.0) -> Cost:
    """Return a cost whose arms' seconds grow with powers of the length, FAVOR+ taking `scale` times as long."""
    scales = {FAVOR: scale, EXACT: 1.0, IDENTITY: 1.0}
    seconds = {arm: {n: [scales[arm] * float(n) ** powers.get(arm, 1.0)] * 3 for n in (4096, 8192)} for arm in scales}
    grown = {FAVOR: memory, EXACT: 2.0, IDENTITY: 1.0}
    flops = {FAVOR: 1.0, EXACT: exact, IDENTITY: 1.0}
    by_power = [
        {arm: {n: float(n) ** power for n in (4096, 8192)} for arm, power in of.items()} for of in (flops, grown)
    ]
    return Cost(seconds, *by_power)


@pytest.mark.parametrize(
    ("power", "memory", "scale", "outcome"),
    [
        (1.01, 1.01, 1.0, YES),
        (1.2, 1.0, 0.1, PARTLY),
        (1.0, 1.05, 2.1, PARTLY),
        (1.0, 1.0, 2.1, PARTLY),
        (2.0, 1.0, 3.0, NO),
        (1.0, 1.2, 1.0, NO),
    ],
)
def test_cost_is_judged_in_time_and_memory(power: float, memory: float, scale: float, outcome: Outcome) -> None:
    assert judge_cost(growing({FAVOR: power}, memory, scale=scale), TIMING, "cuda").outcome is outcome


def test_seconds_are_judged_on_a_gpu_alone() -> None:
    slow = growing({FAVOR: 2.0}, scale=3.0)
    assert judge_cost(slow, TIMING, "cpu").outcome is YES
    assert judge_cost(slow, TIMING, "cuda").outcome is NO
    cost = growing({})
    for flops, outcome in ((lambda n: 3.0 * n, PARTLY), (lambda n: float(n) ** 1.5, NO)):
        measured = replace(cost, flops={**cost.flops, FAVOR: {n: flops(n) for n in cost.flops[FAVOR]}})
        assert judge_cost(measured, TIMING, "cpu").outcome is outcome


def test_cost_is_judged_at_long_sequences_by_three_repeats() -> None:
    linear = growing({})
    assert judge_cost(growing({}, exact=1.0), TIMING, "cuda").outcome is NO_VERDICT
    twice = Timing(TIMING.lengths, TIMING.max_timed_length, TIMING.fit_from, repeats=2)
    assert judge_cost(linear, twice, "cuda").outcome is NO_VERDICT


def test_a_slope_is_a_power_of_the_length_from_the_start_on() -> None:
    assert fit_power({256: 99.0, 4096: 1.0, 8192: 4.0, 16_384: 16.0}, 4096) == pytest.approx(2.0)


def test_flops_of_linear_attention_are_linear_and_those_of_exact_attention_are_not() -> None:
    (short, long) = (count_cost(length) for length in (2048, 4096))
    for what in (0, 1):
        times = {arm: long[arm][what] / short[arm][what] for arm in short}
        assert times[FAVOR] < 2.01
        assert times[IDENTITY] < 2.01
        assert times[EXACT] > 2.4
    # By hand: the value and output layers and the MLP; a backward pass has twice the products of a forward pass.
    forward = 2 * 2048 * (2 * 512**2 + 2 * 512 * 2048)
    assert short[IDENTITY][0] == pytest.approx(3 * forward, rel=0.05)


def transferred(after: float, before: float = 0.4, lost: float = 0.3, rising: bool = False) -> TransferredModel:
    """Return a made-up model with accuracies before, at and after its conversion."""
    reached = [0.1, *([before] * 9)] if not rising else [before * share / 10 for share in range(1, 11)]
    curve = [{"step": 100 * (place + 1), "accuracy": value} for place, value in enumerate(reached)]
    converted = {"positive, 256": lost}
    return TransferredModel(curve, curve[-2:], [{"step": 100, "accuracy": after}], converted, 1000, 5000, 0.15)


@pytest.mark.parametrize(("after", "outcome"), [(0.396, YES), (0.36, PARTLY), (0.34, NO)])
def test_fine_tuning_has_to_bring_back_what_the_conversion_lost(after: float, outcome: Outcome) -> None:
    assert judge_transfer([transferred(after)] * 3).outcome is outcome


def test_fine_tuning_has_to_bring_it_back_in_every_seed() -> None:
    assert judge_transfer([transferred(0.5), transferred(0.5), transferred(0.39)]).outcome is PARTLY


@pytest.mark.parametrize(
    "model",
    [
        transferred(0.4, rising=True),
        transferred(0.4, lost=0.395),
        transferred(0.4, before=0.14, lost=0.1),
    ],
    ids=["it was still learning", "it loses nothing", "it has learned nothing"],
)
def test_a_recovery_is_judged_of_a_model_that_has_converged_and_loses_something(model: TransferredModel) -> None:
    assert judge_transfer([model] * 3).outcome is NO_VERDICT
    assert judge_transfer([transferred(0.396)] * 2).outcome is NO_VERDICT


def test_arms_of_a_layer_share_its_weights() -> None:
    layers = {name: layer.eval() for name, layer in cost.build_layers("cpu").items()}
    torch.manual_seed(0)
    x = torch.randn(1, 8, 512)
    assert (layers[EXACT](x) - layers[FAVOR](x)).abs().max() < 1.0
    assert not torch.allclose(layers[EXACT](x), layers[IDENTITY](x), atol=1e-3)
    shifted = x.clone()
    shifted[0, 0] += 1
    changed = (layers[IDENTITY](shifted) != layers[IDENTITY](x)).any(dim=-1)[0]
    assert changed.tolist() == [True] + 7 * [False]


def test_a_switched_writer_has_the_same_weights_and_sees_no_later_character() -> None:
    torch.manual_seed(0)
    exact = CharTransformer(16)
    estimated = to_performer(exact, 32)
    assert any(isinstance(module, FavorAttention) for module in estimated.modules())
    assert count_parameters(estimated) == count_parameters(exact)
    text = torch.randint(1, 128, (1, 12))
    other = text.clone()
    other[0, 6:] = 1
    for model in (exact, estimated):
        same = (model(text) - model(other)).abs().amax(dim=-1)[0] < 1e-5
        assert same.tolist() == [True] * 6 + [False] * 6


def test_windows_have_one_character_more_than_is_read_and_stay_inside() -> None:
    drawn = sample_windows(torch.arange(40), 50, torch.Generator().manual_seed(0), length=38)
    assert drawn.shape == (50, 39)
    assert set(drawn[:, 0].tolist()) == {0, 1}
    assert (drawn.diff(dim=1) == 1).all()
