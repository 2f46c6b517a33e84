import math
from collections.abc import Mapping, Sequence

import pytest
import torch

from quaere.content.results import Outcome
from reference_impl.experiments import cost
from reference_impl.experiments.cost import (
    FUSED,
    IDENTITY,
    MATRIX,
    NB_FEATURES,
    crossover_length,
    fit_power,
    judge_cost,
    judge_linear,
    steepest_power,
)
from reference_impl.experiments.moved import FEATURE_MAPS, CharTransformer, judge_transfer, sample_windows, to_performer
from reference_impl.experiments.performer import (
    PROJECTIONS,
    SCALES,
    SIZES,
    arm_name,
    judge_feature_maps,
    judge_growth,
    judge_projections,
)
from reference_impl.experiments.training import count_parameters
from reference_impl.performer import FavorAttention

YES, PARTLY, NO = Outcome.YES, Outcome.PARTLY, Outcome.NO


def errors(of: Mapping[tuple[str, str, str], Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return made-up errors: 1 for every arm that isn't named by its scale, kernel and draw."""
    arms = [(scale, kernel, draw) for scale in SCALES for kernel in FEATURE_MAPS for draw in PROJECTIONS]
    return {arm_name(*arm): of.get(arm, (1.0, 1.0)) for arm in arms}


def positive_errs(at_unit: float, at_half: float, sines: float = 0.9) -> dict[str, Sequence[float]]:
    """Return errors of positive features with many directions; with few they err less than sines and cosines."""
    of = {(s, "positive", "orthogonal"): (0.5, e) for s, e in (("unit", at_unit), ("half", at_half))}
    return errors(of | {(s, "sines and cosines", "orthogonal"): (1.0, sines) for s in SCALES})


@pytest.mark.parametrize(("at_unit", "at_half", "outcome"), [(0.5, 0.5, YES), (0.5, 2.0, PARTLY), (2.0, 2.0, NO)])
def test_positive_features_must_err_less_at_every_number_of_directions(
    at_unit: float, at_half: float, outcome: Outcome
) -> None:
    assert judge_feature_maps([positive_errs(at_unit, at_half)], (16, 64)).outcome is outcome


@pytest.mark.parametrize(("at_half", "outcome", "counted"), [(0.5, YES, "half scale"), (2.0, NO, "no scale")])
def test_a_win_between_estimates_that_err_more_than_nothing_does_not_count(
    at_half: float, outcome: Outcome, counted: str
) -> None:
    """At unit scale positive features win throughout, but err more than an answer of zero."""
    found = judge_feature_maps([positive_errs(2.0, at_half, sines=9.0)], (16, 64))
    assert found.outcome is outcome
    assert f"Counted: {counted}." in found.measured


def test_positive_features_must_err_less_in_every_sample() -> None:
    samples = [positive_errs(0.1, 0.1), positive_errs(0.95, 0.1)]
    assert judge_feature_maps(samples, (16, 64)).outcome is PARTLY


def test_orthogonal_directions_must_win_in_every_sample() -> None:
    better = errors({(s, k, "orthogonal"): (0.5, 1.0) for s in SCALES for k in FEATURE_MAPS})
    worse = errors({(s, k, "orthogonal"): (2.0, 1.0) for s in SCALES for k in FEATURE_MAPS})
    mixed = errors({("half", "positive", "orthogonal"): (0.5, 1.0)})
    outcomes = [judge_projections(samples).outcome for samples in ([better], [better, worse], [mixed])]
    assert outcomes == [YES, NO, PARTLY]


@pytest.mark.parametrize(("mean", "worst", "outcome"), [(1.1, 1.1, YES), (1.1, 1.3, PARTLY), (1.3, 1.1, NO)])
def test_features_grow_with_the_square_of_the_error(mean: float, worst: float, outcome: Outcome) -> None:
    grown = {"sines and cosines": [[2.0, 5.0], [2 * mean, 5 * worst]], "positive": [[1.0, 1.0], [9.0, 9.0]]}
    found = judge_growth([grown], (256, 4096))
    assert found.outcome is outcome
    assert f"{mean**2:.2f} times the features" in found.measured


@pytest.mark.parametrize(
    ("powers", "ratios", "outcome"),
    [
        ((1.1, 1.0), (1.5, 2.0), YES),
        ((1.1, 1.3), (1.5, 2.0), PARTLY),
        ((1.1, 1.0), (1.5, 2.1), PARTLY),
        ((2.0, 1.0), (3.0, 1.0), NO),
    ],
)
def test_cost_is_judged_in_time_and_memory(
    powers: tuple[float, float], ratios: tuple[float, float], outcome: Outcome
) -> None:
    assert judge_linear(powers, ratios, "", 16_384).outcome is outcome


@pytest.mark.parametrize(("after", "outcome"), [(0.41, YES), (0.36, PARTLY), (0.32, NO)])
def test_fine_tuning_has_to_bring_back_what_the_switch_lost(after: float, outcome: Outcome) -> None:
    exact = [{"step": SIZES["small"].training.steps, "accuracy": 0.4}, {"step": 10**6, "accuracy": 0.5}]
    swapped = {f"positive, {NB_FEATURES}": 0.3, "curve": [{"accuracy": after}]}
    assert judge_transfer([exact], [swapped], SIZES["small"].training).outcome is outcome


def test_fine_tuning_has_to_bring_it_back_in_every_seed() -> None:
    exact = [[{"step": SIZES["small"].training.steps, "accuracy": 0.4}, {"step": 10**6, "accuracy": 0.5}]] * 2
    swapped = [{f"positive, {NB_FEATURES}": 0.3, "curve": [{"accuracy": after}]} for after in (0.5, 0.39)]
    assert judge_transfer(exact, swapped, SIZES["small"].training).outcome is PARTLY


def test_a_switch_that_loses_nothing_shows_no_recovery() -> None:
    exact = [{"step": SIZES["small"].training.steps, "accuracy": 0.07}]
    swapped = {f"positive, {NB_FEATURES}": 0.07, "curve": [{"accuracy": 0.12}]}
    assert judge_transfer([exact], [swapped], SIZES["small"].training).outcome is NO


def test_a_slope_is_a_power_of_the_length_from_the_start_on() -> None:
    assert fit_power({256: 99.0, 4096: 1.0, 8192: 4.0, 16_384: 16.0}, 4096) == pytest.approx(2.0)
    assert math.isnan(fit_power({4096: 1.0}, 4096))


def test_growth_is_steepest_where_it_jumps() -> None:
    power, *between = steepest_power({256: 0.01, 4096: 1.0, 8192: 2.0, 16_384: 8.0, 32_768: 16.0}, 4096)
    assert (round(power, 6), *between) == (2.0, 8192, 16_384)


def growing(powers: dict[str, float]) -> cost.Cost:
    """Return a cost whose arms' seconds grow with these powers of the length, and whose memory is linear."""
    times = {arm: {n: [float(n) ** power] for n in (4096, 8192)} for arm, power in powers.items()}
    return cost.Cost("layer", 4096, times, {arm: {n: float(n) for n in (4096, 8192)} for arm in powers})


def test_a_layer_is_judged_and_not_attention_alone() -> None:
    layer, alone = growing({cost.FAVOR: 1.0, FUSED: 2.0, IDENTITY: 1.0}), growing({cost.FAVOR: 1.4, FUSED: 2.0})
    found = judge_cost(alone, layer)
    assert found.outcome is YES
    assert "FAVOR+ alone grows with power 1.40 in time" in found.measured
    assert judge_cost(layer, growing({cost.FAVOR: 1.4, FUSED: 2.0, IDENTITY: 1.4})).outcome is PARTLY


def test_it_pays_where_the_curves_cross() -> None:
    linear, quadratic = {100: 1.0, 400: 4.0}, {100: 0.5, 400: 8.0}
    assert crossover_length(linear, quadratic) == 200
    assert crossover_length({100: 1.0}, {100: 2.0}) == 100
    assert crossover_length({100: 1.0}, {100: 0.5}) is None


def test_arms_of_a_layer_share_its_weights_and_the_exact_ones_agree() -> None:
    torch.manual_seed(0)
    layers = cost.build_arms("layer", "cpu")
    (x,) = cost.build_inputs("layer", 8, "cpu")
    assert (layers[FUSED](x) - layers[cost.FAVOR](x)).abs().max() < 1.0
    assert not torch.allclose(layers[FUSED](x), layers[IDENTITY](x), atol=1e-3)
    shifted = x.clone()
    shifted[0, 0] += 1
    changed = (layers[IDENTITY](shifted) != layers[IDENTITY](x)).any(dim=-1)[0]
    assert changed.tolist() == [True] + 7 * [False]
    alone, given = cost.build_arms("attention", "cpu"), cost.build_inputs("attention", 32, "cpu")
    assert torch.allclose(alone[MATRIX](*given), alone[FUSED](*given), atol=1e-5)


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


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has neither fork nor a high-water mark of memory")
def test_memory_that_is_measured_is_that_of_the_matrix() -> None:
    """At 2,048 places a matrix of weights has 16 MiB, and softmax needs two; linear attention has less."""
    held = cost.measure_memory({"attention": {MATRIX: [2048], cost.FAVOR: [2048]}}, "cpu")["attention"]
    assert 30 < held[MATRIX][0] < 60
    assert held[cost.FAVOR][0] < 20
