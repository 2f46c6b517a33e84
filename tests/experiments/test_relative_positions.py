from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch

from quaere.content.results import Outcome
from reference_impl.experiments.prose import character_ids, split_validation
from reference_impl.experiments.relative_positions import (
    BIASES,
    BOTH,
    CLIPPING_ARMS,
    FILL_GAPS,
    IGNORE_INDEX,
    KEYS_ONLY,
    MAIN_ARMS,
    NONE,
    RELATIVE,
    ROTARY,
    SINUSOIDS,
    SIZES,
    UNCLIPPED,
    VOWELS,
    WITH,
    WITHOUT,
    Arm,
    Found,
    PositionalAttention,
    TokenClassifier,
    as_found,
    build_tasks,
    count_flops,
    gain_shares,
    judge_against_sinusoids,
    judge_both,
    judge_clipping,
    judge_lengths,
    judge_parts,
    judge_speed,
    lower_case,
    majority_baseline,
    pass_bar,
    sample_gaps,
    sample_look_back,
    sample_mirror,
    sample_test_set,
    windows_with_gaps,
)
from reference_impl.experiments.training import count_parameters
from reference_impl.relative_positions import RelativeMultiHeadAttention

YES, PARTLY, NO, NO_VERDICT = Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NO_VERDICT
SMALL = SIZES["small"]
BASELINE = 0.16
TEXT_ARMS = (*MAIN_ARMS, BOTH, KEYS_ONLY, *CLIPPING_ARMS)
FLAT = [{"step": step, "validation": min(step, 3) / 3} for step in range(10)]
RISING = [{"step": step, "validation": step / 9} for step in range(10)]


def found(
    of: Mapping[str, Sequence[float]],
    longer: Mapping[str, Sequence[float]] | None = None,
    rising: Sequence[str] = (),
    arms: Sequence[Arm] = TEXT_ARMS,
) -> Found:
    """Return made-up accuracies: at the training length, and at the longest one, where they differ.

    Arms that are not named reach 0.4, and no positions the baseline; those in `rising` have not converged.
    """
    here = {arm.name: [BASELINE if arm is NONE else 0.4] * 3 for arm in arms} | dict(of)
    there = here | dict(longer or {})
    right = {arm: [{"16": one, "128": other} for one, other in zip(here[arm], there[arm], strict=True)] for arm in here}
    curves = {arm: [RISING if arm in rising else FLAT] * len(of_arm) for arm, of_arm in here.items()}
    return Found(right, curves, BASELINE, "made up")


ONE_SEED = found({arm.name: [BASELINE if arm is NONE else 0.4] for arm in TEXT_ARMS})
GOOD_RATES = {RELATIVE.name: 0.003, SINUSOIDS.name: 0.003}


@pytest.mark.parametrize(
    ("ours", "outcome"),
    # In the second every seed is ahead, and the lowest with relative positions is below the highest with sinusoids.
    [([0.5, 0.6, 0.6], YES), ([0.4, 0.6, 0.6], PARTLY), ([0.25, 0.6, 0.6], NO), ([0.22, 0.23, 0.24], NO)],
)
def test_relative_positions_must_win_with_every_seed(ours: list[float], outcome: Outcome) -> None:
    text = found({RELATIVE.name: ours, SINUSOIDS.name: [0.3, 0.4, 0.45]})
    assert judge_against_sinusoids(text, GOOD_RATES, SMALL).outcome is outcome


def test_sinusoids_must_have_learned_converged_and_been_tuned() -> None:
    better = {RELATIVE.name: [0.5] * 3}
    assert judge_against_sinusoids(found(better), GOOD_RATES, SMALL).outcome is YES
    not_learned = found(better | {SINUSOIDS.name: [0.2, 0.4, 0.4]})
    still_learning = found(better, rising=[SINUSOIDS.name])
    two_seeds = found({arm.name: [0.5] * 2 for arm in TEXT_ARMS} | {SINUSOIDS.name: [0.4] * 2})
    for text in (not_learned, still_learning, two_seeds):
        assert judge_against_sinusoids(text, GOOD_RATES, SMALL).outcome is NO_VERDICT
    at_the_edge = GOOD_RATES | {SINUSOIDS.name: SMALL.learning_rates[0]}
    assert judge_against_sinusoids(found(better), at_the_edge, SMALL).outcome is NO_VERDICT


@pytest.mark.parametrize(
    ("both", "outcome"),
    # The second adds nothing on the mean, the third in most seeds.
    [
        ([0.3, 0.3, 0.4], YES),
        ([0.41, 0.3, 0.3], PARTLY),
        ([0.4, 0.4, 0.5], PARTLY),
        ([0.41, 0.41, 0.41], NO),
        ([0.2, 0.4, 0.4], NO_VERDICT),
    ],
)
def test_sinusoids_besides_must_add_nothing(both: list[float], outcome: Outcome) -> None:
    assert judge_both(found({BOTH.name: both})).outcome is outcome
    assert judge_both(found({BOTH.name: both}, rising=[BOTH.name])).outcome is NO_VERDICT


@pytest.mark.parametrize(
    ("margins", "whole", "part"),
    [
        ([0.0, 0.1, 0.1], True, True),
        ([-0.01, 0.1, 0.1], False, True),
        ([-0.5, 0.01, 0.01], False, True),
        ([-0.01, -0.01, 0.1], False, True),
        ([-0.1, -0.1, 0.1], False, False),
    ],
)
def test_a_bar_must_be_passed_in_every_seed(margins: list[float], whole: bool, part: bool) -> None:
    assert pass_bar(margins) == (whole, part)


@pytest.mark.parametrize(
    ("at_two", "at_sixteen", "outcome"), [(0.395, 0.4, YES), (0.3, 0.4, NO), (0.4, 0.3, NO), (0.2, 0.4, NO_VERDICT)]
)
def test_no_distance_from_two_on_may_fall_behind(at_two: float, at_sixteen: float, outcome: Outcome) -> None:
    _, two, sixteen = (arm.name for arm in CLIPPING_ARMS)
    text = {two: [at_two] * 3, sixteen: [at_sixteen] * 3}
    assert judge_clipping(found(text)).outcome is outcome
    assert judge_clipping(found(text, rising=[sixteen])).outcome is NO_VERDICT


def test_one_place_may_fall_behind() -> None:
    one, *_ = (arm.name for arm in CLIPPING_ARMS)
    assert judge_clipping(found({one: [0.2] * 3})).outcome is YES


def test_a_share_is_of_the_gain_over_the_better_of_none_and_the_baseline_seed_by_seed() -> None:
    assert gain_shares([0.3, 0.3], [0.4, 0.4], [0.1, 0.26], 0.2) == pytest.approx([0.5, 2 / 7])


@pytest.mark.parametrize(
    ("keys", "outcome"),
    # The second has 95% on the mean, and not in each seed.
    [([0.4, 0.4, 0.4], YES), ([0.37, 0.41, 0.41], PARTLY), ([0.35, 0.35, 0.35], NO), ([0.2, 0.4, 0.4], NO_VERDICT)],
)
def test_keys_must_have_nearly_all_that_both_have(keys: list[float], outcome: Outcome) -> None:
    assert judge_parts(found({KEYS_ONLY.name: keys})).outcome is outcome
    assert judge_parts(found({KEYS_ONLY.name: keys}, rising=[KEYS_ONLY.name])).outcome is NO_VERDICT


@pytest.mark.parametrize(
    ("task", "text", "outcome"), [(0.39, 0.39, YES), (0.39, 0.3, PARTLY), (0.3, 0.39, PARTLY), (0.3, 0.3, NO)]
)
def test_accuracy_must_hold_on_both_tasks(task: float, text: float, outcome: Outcome) -> None:
    held = [found({}, {RELATIVE.name: [0.4, 0.4, there]}) for there in (task, text)]
    judged = judge_lengths(*held)
    assert judged.outcome is outcome
    assert [each.arms[RELATIVE.name][2] for each in judged.quantities] == pytest.approx([task - 0.4, text - 0.4])
    assert UNCLIPPED.name in judged.quantities[1].arms


@pytest.mark.parametrize(
    "text",
    [
        found({RELATIVE.name: [0.4, 0.4, 0.2]}),
        found({}, rising=[RELATIVE.name]),
        ONE_SEED,
    ],
    ids=["one seed has not learned", "it has not converged", "it has one seed"],
)
def test_lengths_are_judged_by_what_was_learned_alone(text: Found) -> None:
    assert judge_lengths(found({}), text).outcome is NO_VERDICT
    assert judge_lengths(text, text).outcome is NO_VERDICT


def turns(share: float, device: str = "cuda", lasting: int = 3) -> Outcome:
    """Return the outcome where relative positions keep a share of the pace, which changes from turn to turn."""
    pace = [1.0, 100.0, 10.0][:lasting]
    # The ratio of the medians would be three times this share.
    ours = [share * each * factor for each, factor in zip(pace, (1, 1, 3), strict=False)]
    return judge_speed({"32": {WITH: ours, WITHOUT: pace}}, SMALL, device).outcome


@pytest.mark.parametrize(("share", "outcome"), [(0.93, YES), (0.8, PARTLY), (0.5, NO)])
def test_the_pace_is_compared_turn_by_turn_on_a_gpu(share: float, outcome: Outcome) -> None:
    assert turns(share) is outcome
    assert turns(share, "cpu") is NO_VERDICT
    assert turns(share, lasting=2) is NO_VERDICT


def test_the_pace_is_judged_where_it_loses_most_and_at_the_base_models_width() -> None:
    speeds = {places: {WITH: [kept] * 3, WITHOUT: [1.0] * 3} for places, kept in {"32": 0.97, "128": 0.85}.items()}
    assert judge_speed(speeds, SMALL, "cuda").outcome is PARTLY
    assert judge_speed(speeds, replace(SMALL, timed_d_model=64), "cuda").outcome is NO_VERDICT


def test_relative_positions_add_the_flops_of_two_products() -> None:
    n, d = 32, 64
    counted = count_flops(n, d)
    # Forward, on keys and on values, a query has 2 n d; backward has twice that.
    assert counted[WITH] - counted[WITHOUT] == 3 * 2 * (2 * n * n * d)


def test_what_rates_are_chosen_on_is_neither_trained_on_nor_tested_on() -> None:
    train, aside = (set(part.tolist()) for part in split_validation(torch.arange(20_000)))
    assert not train & aside
    assert len(aside) == len(train) / 9
    *_, text = build_tasks(SIZES["smoke"])
    chosen_on, _ = text.validation
    tested_on, _ = text.test_set(text.train_length)
    assert not torch.equal(chosen_on[:32], tested_on[:32])


def test_the_majority_baseline_is_the_share_of_the_most_frequent_vowel() -> None:
    *_, text = build_tasks(SIZES["smoke"])
    _, right = text.test_set(text.train_length)
    asked = right[right != IGNORE_INDEX]
    assert majority_baseline(text) == pytest.approx(float((asked == ord("e")).float().mean()))


def test_without_positions_all_gaps_of_a_window_get_one_answer() -> None:
    torch.manual_seed(0)
    symbols = torch.tensor([[84, 0, 101, 32, 0, 120, 0, 46]])
    scores = TokenClassifier(NONE, 16)(symbols)[symbols == 0]
    assert torch.allclose(scores, scores[:1].expand_as(scores), atol=1e-5)


def test_right_answers_stand_where_the_tasks_say() -> None:
    symbols, right = sample_look_back(3, 12, torch.Generator().manual_seed(0))
    assert (right[:, :5] == IGNORE_INDEX).all()
    assert (right[:, 5:] == symbols[:, :7]).all()
    symbols, right = sample_mirror(3, 12, torch.Generator().manual_seed(0))
    assert (right[:, 0] == symbols[:, -1]).all()
    assert (right[:, 2] == symbols[:, -3]).all()


def test_vowels_are_hidden_and_asked_for_and_nothing_else() -> None:
    text = lower_case(torch.tensor(list(b"An Example Of TEXT with 5 words. " * 4)))
    assert bytes(text.tolist()).decode().startswith("an example of text with 5 words.")
    symbols, right = sample_gaps(text, 20, 50, torch.Generator().manual_seed(0))
    hidden = symbols == 0
    assert hidden.any(dim=1).all()
    assert torch.equal(right == IGNORE_INDEX, ~hidden)
    assert set(right[hidden].tolist()) <= set(b"aeiou")
    assert not VOWELS[symbols].any()


def test_a_test_is_the_same_text_at_every_length() -> None:
    text = torch.arange(1024) % 90 + 33
    parts = [[part.flatten() for part in windows_with_gaps(text, length)] for length in (16, 512)]
    assert all(torch.equal(one, other) for one, other in zip(*parts, strict=True))


def test_no_held_out_sentence_is_in_the_training_text() -> None:
    train, test = (bytes(character_ids(10, held_out).tolist()).decode() for held_out in (False, True))
    pieces = [test[start : start + 60] for start in range(0, len(test) - 60, 60)]
    assert len(pieces) > 20
    assert not any(piece in train for piece in pieces)


def test_arms_have_the_same_numbers_to_learn_within_a_twentieth() -> None:
    counts = [count_parameters(TokenClassifier(arm, SMALL.d_model)) for arm in TEXT_ARMS]
    assert max(counts) / min(counts) < 1.05


def test_steps_and_lengths_are_told_of_a_task() -> None:
    *_, text = build_tasks(SIZES["smoke"])
    results = {RELATIVE.name: [{"curve": FLAT, "right": {"16": 0.4, "128": 0.3}}]}
    told = as_found(text, results, 1234)
    assert told.ran.startswith(f"{FILL_GAPS}: ")
    assert "16 positions, 1,234 parameters, 9 to 9 steps" in told.ran
    assert told.at(128) == {RELATIVE.name: [0.3]}
    assert told.here == {RELATIVE.name: [0.4]}


def test_with_both_tables_it_is_the_papers_attention_and_without_them_it_is_blind() -> None:
    torch.manual_seed(0)
    x, order = torch.randn(2, 6, 16), torch.tensor([3, 0, 5, 1, 4, 2])
    ours, whole = PositionalAttention(16, 2, RELATIVE), RelativeMultiHeadAttention(16, 2, RELATIVE.k)
    whole.load_state_dict(ours.state_dict())
    assert torch.allclose(ours(x, x, x), whole(x), atol=1e-6)
    blind = PositionalAttention(16, 2, NONE)
    shuffled = x[:, order]
    assert torch.allclose(blind(shuffled, shuffled, shuffled), blind(x, x, x)[:, order], atol=1e-5)


@pytest.mark.parametrize("arm", [KEYS_ONLY, Arm("on values only", values=True)], ids=lambda arm: arm.name)
def test_a_part_is_the_whole_with_the_other_table_at_zero(arm: Arm) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 16)
    partly, whole = PositionalAttention(16, 2, arm), RelativeMultiHeadAttention(16, 2, arm.k)
    whole.load_state_dict(partly.state_dict(), strict=False)
    torch.nn.init.zeros_((whole.value_positions if arm.keys else whole.key_positions).table)
    assert torch.allclose(partly(x, x, x), whole(x), atol=1e-6)


def test_rotary_positions_and_linear_biases_see_order_and_distance_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 16)
    rotary, biased, blind = (PositionalAttention(16, 2, arm) for arm in (ROTARY, BIASES, NONE))
    for attention in (biased, rotary):
        blind.load_state_dict(attention.state_dict())
        ours, without = attention.attention_weights(x), blind.attention_weights(x)
        assert not torch.allclose(ours, without, atol=1e-3)
        # The ratio of two weights of a query depends on the words and their distances, wherever they stand.
        later = attention.attention_weights(torch.cat([x, x], dim=1))[..., 8:, 8:]
        assert torch.allclose(ours[..., 1] / ours[..., 0], later[..., 1] / later[..., 0], rtol=1e-3)
    # The same bias belongs to the word before and to the word after.
    turned = biased.attention_weights(x.flip(1))
    assert torch.allclose(turned, biased.attention_weights(x).flip(2, 3), atol=1e-5)
    assert not torch.allclose(rotary.attention_weights(x.flip(1)), rotary.attention_weights(x).flip(2, 3), atol=1e-3)


def test_a_test_of_made_sequences_is_the_same_each_time() -> None:
    draw = partial(sample_test_set, sample_mirror, 640)
    assert torch.equal(draw(32)[0], draw(32)[0])
    assert draw(64)[0].shape == (10, 64)
