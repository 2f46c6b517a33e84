"""The baseline's effective parameters, the accuracy of alignments, and the rules and gates of claims."""

import pytest
import torch
from torch import nn

from quaere.content.results import Outcome
from reference_impl.bahdanau import RNNencdec, RNNsearch
from reference_impl.experiments.bahdanau import (
    LEARNING_RATES,
    SIZES,
    TEST_SEED,
    TRIED,
    VALIDATION_SEED,
    alignment_accuracy,
    build_arm_training,
    count_effective_parameters,
    judge_alignments,
    judge_better,
    judge_claims,
    judge_long_sentences,
    judge_robustness,
    model_factories,
)
from reference_impl.experiments.curves import Curve
from reference_impl.experiments.training import count_parameters
from reference_impl.experiments.translation import Pair, held_out_pairs

SIZE = SIZES["small"]


@pytest.mark.parametrize("kind", [RNNsearch, RNNencdec])
def test_effective_parameters_are_those_that_the_loss_reaches(kind: type[RNNsearch]) -> None:
    torch.manual_seed(0)
    model = kind(6, 6, embedding_dim=3, hidden_size=4, alignment_size=5, maxout_size=7)
    reached = torch.zeros(count_parameters(model), dtype=torch.bool)
    for _ in range(20):  # a maxout unit passes a gradient to one of its two halves, mostly the same one
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        source, target = torch.randint(6, (64, 5)), torch.randint(6, (64, 4))
        model.zero_grad()
        model(source, torch.full((64,), 5), target)[0].square().sum().backward()
        reached |= (
            torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in model.parameters()]) != 0
        )
    assert int(reached.sum()) == count_effective_parameters(model)


@pytest.mark.parametrize("size", ["smoke", "small", "full"])
def test_both_models_have_one_budget_of_effective_parameters(size: str) -> None:
    with torch.device("meta"):
        counts = {kind: count_effective_parameters(make()) for kind, make in model_factories(SIZES[size]).items()}
    assert max(counts.values()) < 1.05 * min(counts.values()), counts


def test_an_alignment_is_right_where_the_largest_weight_is_on_the_word_translated() -> None:
    pair = Pair(("my", "blue", "doors", "loved"), ("mes", "portes", "bleues", "aimaient"), (0, 2, 1, 3))

    def accuracy(*looked: int) -> tuple[float, float]:
        weights = nn.functional.one_hot(torch.tensor([looked]), 5).float()
        found = alignment_accuracy(weights, [pair])
        return found["aligned"], found["aligned, out of place"]

    # The last row is that of the end, which translates no word.
    assert accuracy(0, 2, 1, 3, 0) == (1.0, 1.0)
    assert accuracy(0, 1, 2, 3, 4) == (0.5, 0.0)
    assert accuracy(1, 2, 0, 3, 4) == (0.5, 0.5)


def test_the_lengths_tested_are_those_of_training() -> None:
    assert (SIZE.lengths[0], SIZE.lengths[-1]) == ((5, 6), (13, 14))
    assert SIZE.max_words == 14


def test_trainings_end_by_sentences_that_they_are_not_tested_on() -> None:
    words = (5, SIZE.max_words)
    validation, test = (held_out_pairs(SIZE.test_pairs, words, seed) for seed in (VALIDATION_SEED, TEST_SEED))
    assert not set(validation) & {pair for pair in test if len(pair.source) > 8}
    training = build_arm_training(SIZE, "RNNencdec", 14)
    assert training.steps == 8000
    assert training.stop is not None
    flat = [{"bleu": 50.0}] * SIZE.patience
    assert not training.stop(flat)
    assert training.stop([*flat, {"bleu": 50.0}])


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [
        ([97.0, 98.0, 99.0], Outcome.YES),
        ([91.0, 96.0, 97.0], Outcome.PARTLY),  # each above the same seed of the other
        ([89.0, 99.0, 99.0], Outcome.NO),
    ],
)
def test_better_is_every_seed_above_every_seed(ours: list[float], outcome: Outcome) -> None:
    scores = {"a": ours, "b": [90.0, 95.0, 96.0], "c": [100.0]}
    finding = judge_better("better-than-fixed", "a run", scores, "a", "b", [])
    assert finding.outcome == outcome
    assert set(finding.quantities[0].arms) == {"a", "b"}


@pytest.mark.parametrize(
    ("scores", "outcome"),
    [
        ([(99.0, 95.0, 98.0)] * 3, Outcome.YES),
        ([(99.0, 99.0, 98.0), (99.0, 99.0, 96.9)], Outcome.NO),  # on average it holds
        ([(49.0, 49.0, 49.0), (99.0, 99.0, 99.0)], Outcome.NO_VERDICT),  # not learned
    ],
)
def test_length_does_not_hurt_where_the_longest_sentences_are_as_good_as_the_shortest(
    scores: list[tuple[float, ...]], outcome: Outcome
) -> None:
    assert judge_long_sentences("a run", scores, "a", []).outcome == outcome


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [
        ([(99.0, 20.0, 98.0)] * 2, Outcome.YES),
        ([(99.0, 99.0, 98.0), (99.0, 99.0, 94.0)], Outcome.NO),  # by less on average, but not with every seed
        ([(40.0, 40.0, 40.0)] * 2, Outcome.NO_VERDICT),  # what was never learned can't fall
    ],
)
def test_robust_is_to_fall_less_with_every_seed(ours: list[tuple[float, ...]], outcome: Outcome) -> None:
    scores: dict[str, list[tuple[float, ...]]] = {"a": ours, "b": [(98.0, 95.0, 94.0), (98.0, 94.0, 90.0)]}
    finding = judge_robustness("a run", scores, "a", "b", [])
    assert finding.outcome == outcome
    assert finding.quantities[0].arms["b"] == (4.0, 8.0)


@pytest.mark.parametrize(
    ("all_words", "moved", "outcome"),
    [
        ([0.95, 0.96], [0.91, 0.92], Outcome.YES),
        ([0.95, 0.96], [0.89, 0.99], Outcome.PARTLY),
        ([0.95, 0.96], [0.5, 0.99], Outcome.NO),
    ],
)
def test_alignments_make_sense_where_swapped_words_are_found_too(
    all_words: list[float], moved: list[float], outcome: Outcome
) -> None:
    assert judge_alignments("a run", {"all": all_words, "moved": moved}, []).outcome == outcome


# Gates


def curve(*scores: float) -> Curve:
    return [{"step": step, "bleu": float(score)} for step, score in enumerate(scores, start=1)]


GOOD = curve(0, 60, 99, 99, 99, 99, 99, 99, 99)
WORSE = curve(0, 60, 80, 80, 80, 80, 80, 80, 80)
STILL_LEARNING = curve(0, 10, 20, 30, 40, 50, 60, 70, 80)
NOT_LEARNED = curve(0, 40, 40, 40, 40, 40, 40, 40, 40)


def outcomes(
    searched: Curve = GOOD, fixed: Curve = WORSE, short: Curve = GOOD, *, seeds: int = 3, size: object = SIZE
) -> dict[str, Outcome]:
    assert isinstance(size, type(SIZE))
    curves = {arm: [one] * seeds for arm, one in zip(size.arms, (searched, fixed, short), strict=True)}
    lengths = {arm: [[99.0, runs[0][-1]["bleu"]]] * seeds for arm, runs in curves.items()}
    scores = {arm: [one[-1]["bleu"] for one in runs] for arm, runs in curves.items()}
    findings = judge_claims(size, curves, scores, lengths, {"all words": [0.95] * seeds})
    return {finding.claim: finding.outcome for finding in findings}


def test_every_claim_has_an_outcome_where_the_gates_are_met() -> None:
    assert outcomes() == {
        "better-than-fixed": Outcome.YES,
        "shorter-training-suffices": Outcome.YES,
        "length-does-not-hurt": Outcome.YES,
        "robust-to-length": Outcome.YES,
        "alignments-make-sense": Outcome.YES,
        "as-good-as-phrases": Outcome.NO_EXPERIMENT,
    }
    assert outcomes(GOOD, GOOD)["better-than-fixed"] == Outcome.NO


COMPARED = {"better-than-fixed", "robust-to-length", "shorter-training-suffices"}
ALONE = {"length-does-not-hurt", "alignments-make-sense"}


def without_verdict(found: dict[str, Outcome]) -> set[str]:
    return {claim for claim, outcome in found.items() if outcome is Outcome.NO_VERDICT}


def test_there_is_no_verdict_where_an_arm_still_learns() -> None:
    assert without_verdict(outcomes(fixed=STILL_LEARNING)) == COMPARED
    assert without_verdict(outcomes(short=STILL_LEARNING)) == {"shorter-training-suffices"}
    assert without_verdict(outcomes(searched=STILL_LEARNING)) == (COMPARED | ALONE) - {"shorter-training-suffices"}


def test_there_is_no_verdict_where_the_task_was_not_learned() -> None:
    assert without_verdict(outcomes(NOT_LEARNED, NOT_LEARNED, NOT_LEARNED)) == COMPARED | ALONE


def test_there_is_no_verdict_with_two_seeds() -> None:
    assert without_verdict(outcomes(seeds=2)) == COMPARED | ALONE


def test_there_is_no_verdict_without_tuning() -> None:
    assert without_verdict(outcomes(size=SIZES["full"])) == COMPARED | ALONE
    assert all(min(TRIED[kind]) < rate < max(TRIED[kind]) for kind, rate in LEARNING_RATES.items())
