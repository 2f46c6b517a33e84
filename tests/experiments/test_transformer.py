"""The models' parameters, the count of sequential operations, and the rules and gates by which claims are judged."""

import dataclasses
from functools import partial
from typing import cast

import pytest
import torch
from torch import Tensor

from quaere.content.results import Outcome
from reference_impl.experiments.arms import count_built
from reference_impl.experiments.judging import gate
from reference_impl.experiments.training import TrainingLoop, count_parameters
from reference_impl.experiments.transformer import (
    ATTENTION_LAYERS,
    LSTM,
    LSTM_LAYERS,
    MIXED,
    PEAKS,
    RNNSEARCH,
    SIZES,
    TRANSFORMER,
    TRIED,
    ChainOfOperations,
    LSTMWithAttention,
    Recall,
    build_arms,
    build_recall,
    count_operations,
    judge_long_range,
    judge_parallelism,
    judge_parameter_counts,
    judge_quality,
    judge_training_time,
    mean_cross_attention,
    time_steps,
)
from reference_impl.experiments.translation import BOS, EOS, Pair, collate
from reference_impl.transformer import DecoderLayer, PostNorm, PreNorm, Transformer

PAIRS = [
    Pair(("my", "cat", "hid", "my", "dog"), ("mon", "chat", "cachait", "mon", "chien"), (0, 1, 2, 3, 4)),
    Pair(("my", "cat"), ("mon", "chat"), (0, 1)),
]
BATCH = collate(PAIRS)
SMALL = SIZES["small"]


@pytest.mark.parametrize("size", ["smoke", "small", "full"])
def test_the_three_models_have_one_budget(size: str) -> None:
    with torch.device("meta"):
        counts = {name: count_parameters(arm.build_model()) for name, arm in build_arms(SIZES[size]).items()}
    assert set(counts) == {TRANSFORMER, RNNSEARCH, LSTM}
    assert max(counts.values()) < 1.05 * min(counts.values()), counts


def test_the_layers_that_recall_have_one_budget() -> None:
    attention, lstm = (count_built(partial(Recall, 8, SMALL.recall_width, kind)) for kind in (False, True))
    assert abs(attention / lstm - 1) < 0.05


def test_padding_changes_no_models_logits() -> None:
    source, lengths, target = BATCH
    torch.manual_seed(0)
    for name, arm in build_arms(SIZES["smoke"]).items():
        model = arm.build_model().eval()
        together = arm.score(model, source, lengths, target[:, :-1])[1]
        alone = arm.score(model, source[1:, : int(lengths[1])], lengths[1:], target[1:, :-1])[0]
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5, msg=name)


def test_the_lstms_translation_is_the_argmax_of_its_logits() -> None:
    torch.manual_seed(0)
    model = LSTMWithAttention(99, 8, 8).eval()
    source, lengths, _ = BATCH
    written = model.translate(source, lengths, BOS, EOS, 6)
    before = torch.cat([torch.full((2, 1), BOS), written[:, :-1]], dim=1)
    logits, weights = model(source, lengths, before)
    done = (before == EOS).cumsum(dim=1) > 0
    assert torch.equal(logits.argmax(dim=-1)[~done], written[~done])
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 6))
    assert not weights[1, :, 3:].any()  # the padding


def test_the_lstms_forget_gates_have_bias_one() -> None:
    lstm = Recall(5, 6, is_recurrent=True).lstm
    assert lstm is not None
    for layer in (0, 1):
        bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
        assert bias.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12


@pytest.mark.parametrize("is_recurrent", [False, True])
def test_what_is_recalled_depends_on_the_first_symbol(is_recurrent: bool) -> None:
    torch.manual_seed(0)
    model = Recall(5, 8, is_recurrent).eval()
    x = torch.randint(5, (1, 6))
    changed = torch.cat([(x[:, :1] + 1) % 5, x[:, 1:]], dim=1)
    assert not torch.equal(model(x), model(changed))


def test_recall_ends_when_it_is_learned() -> None:
    size = dataclasses.replace(SMALL, batch_size=64)
    loop = TrainingLoop(build_recall(size, ATTENTION_LAYERS, 3, 3), 0, "cpu")
    done = next(index + 1 for index in range(size.recall_steps) if loop.step(index) and loop.is_done)
    assert done < 500
    assert loop.result()["curve"][-1]["recalled"] >= 0.99


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_the_cross_attention_shown_is_the_one_the_decoder_uses(
    monkeypatch: pytest.MonkeyPatch, residual: type[PostNorm] | type[PreNorm]
) -> None:
    torch.manual_seed(0)
    model = Transformer(20, 16, 2, 32, layers=2, residual=residual).eval()
    source, target = torch.tensor([[3, 4, 5, EOS]]), torch.tensor([[BOS, 6, 7]])
    cross = mean_cross_attention(model, source, target)
    assert (len(cross), len(cross[0])) == (3, 4)
    # The keys and the query that the last layer's cross-attention is given in a forward pass.
    seen: list[Tensor] = []
    attention = cast(DecoderLayer, model.decoder[-1]).cross_attention

    def attend(query: Tensor, *rest: object) -> Tensor:
        seen.append(query)
        return query

    monkeypatch.setattr(attention, "attend", attend)
    model(source, target)
    told = attention.attention_weights(seen[0], model.encode(source))[0].mean(dim=0)
    torch.testing.assert_close(torch.tensor(cross), told)


# Sequential operations


def test_a_chain_is_the_longest_way_of_operations_to_a_tensor() -> None:
    x = torch.ones(3)
    with ChainOfOperations() as chain:
        near = x + 1
        far = (near * 2).exp()
        both = near + far
        aside = x.sin().cos().tan().abs().neg().exp()
    assert [chain.length(each) for each in (x, near, far, both)] == [0, 1, 3, 4]
    assert (chain.length(aside), chain.operations) == (6, 10)


def test_a_loop_makes_the_chain_longer_and_separate_products_do_not() -> None:
    def chains(length: int) -> tuple[int, int]:
        x = torch.ones(length, 3)
        with ChainOfOperations() as chain:
            rows, state = x.unbind(0), torch.zeros(3)
            for row in rows:
                state = (state + row).tanh()
            at_once = torch.stack([row.tanh() for row in rows])
        return chain.length(state), chain.length(at_once)

    (state, at_once), (longer, as_long) = chains(5), chains(9)
    assert (longer - state, as_long - at_once) == (2 * 4, 0)


def test_chains_grow_with_length_in_what_is_recurrent_alone() -> None:
    short, long = (count_operations(SIZES["smoke"], length) for length in (3, 7))
    growth = {name: (long[name][0] - short[name][0]) / 4 for name in short}
    assert growth["self-attention layer"] == growth[TRANSFORMER] == 0
    assert min(growth[name] for name in ("LSTM layer", "bidirectional GRU layer", RNNSEARCH)) >= 1
    # An LSTM's cell cannot be had in one operation, so its steps have been seen.
    assert long["LSTM layer"][1] - short["LSTM layer"][1] >= 4 * 5


COUNTS = {
    "self-attention layer": [(30, 46), (30, 46)],
    "LSTM layer": [(40, 60), (70, 100)],
    TRANSFORMER: [(160, 300), (160, 300)],
    RNNSEARCH: [(100, 200), (400, 700)],
}
SECONDS = {TRANSFORMER: [[1.0, 2.0], [1.0, 3.0]]}


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({}, Outcome.YES),
        ({TRANSFORMER: [(160, 300), (161, 300)]}, Outcome.PARTLY),
        ({"self-attention layer": [(30, 46), (31, 46)]}, Outcome.NO),
        ({RNNSEARCH: [(100, 200), (109, 700)]}, Outcome.NO),  # by less than one operation for each of ten positions
        ({"LSTM layer": [(40, 60), (40, 60)]}, Outcome.NO_VERDICT),  # one fused operation
    ],
)
def test_all_at_once_is_a_constant_chain_beside_growing_ones(
    changed: dict[str, list[tuple[int, int]]], outcome: Outcome
) -> None:
    finding = judge_parallelism((10, 20), COUNTS | changed, SECONDS, 4096, "cpu")
    assert finding.outcome == outcome
    assert len(finding.quantities) == 2


def test_seconds_are_shown_of_a_gpu_alone() -> None:
    finding = judge_parallelism((10, 20), COUNTS, SECONDS, 4096, "cuda")
    assert finding.quantities[2].arms == {TRANSFORMER: (2.0, 3.0)}
    assert "4096" in finding.quantities[2].name


# Claims

SCORES = {TRANSFORMER: [97.0, 98.0, 97.5], RNNSEARCH: [90.0, 91.0, 90.5], LSTM: [80.0, 81.0, 80.5]}


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({}, Outcome.YES),
        ({RNNSEARCH: [90.0, 97.2, 90.5]}, Outcome.PARTLY),
        ({TRANSFORMER: [70.0, 98.0, 97.5]}, Outcome.NO),
        ({RNNSEARCH: [99.5, 99.0, 99.1]}, Outcome.NO_VERDICT),  # no room
    ],
)
def test_better_is_every_seed_above_every_seed_of_both_where_there_is_room(
    changed: dict[str, list[float]], outcome: Outcome
) -> None:
    assert judge_quality("a run", SCORES | changed, []).outcome == outcome


UNMET = gate("All arms have converged.", False)


def curve(*scores: float) -> list[dict[str, float]]:
    return [{"step": 10.0 * index, "bleu": float(score)} for index, score in enumerate(scores, start=1)]


RIVAL = curve(1, 1, 1, 90, 90, 90, 90, 90, 90)
"""Reaches 99 % of its final BLEU, as a moving average, at step 60."""
FAST, LATE, NEVER = curve(90, 90, *[90] * 7), curve(1, 90, 90, 90, *[90] * 5), curve(*[80] * 9)


@pytest.mark.parametrize(
    ("pace", "ours", "outcome"),
    [
        (1.0, [FAST, FAST], Outcome.YES),
        (1.0, [FAST, LATE], Outcome.PARTLY),
        (2.0, [FAST, LATE], Outcome.NO),
        (0.01, [FAST, NEVER], Outcome.NO),
    ],
)
def test_less_time_is_the_rivals_quality_in_half_its_time_with_every_seed(
    pace: float, ours: list[list[dict[str, float]]], outcome: Outcome
) -> None:
    curves = {TRANSFORMER: ours, RNNSEARCH: [RIVAL, RIVAL], LSTM: [curve(*[1] * 9)] * 2}
    seconds = {TRANSFORMER: pace, RNNSEARCH: 1.0, LSTM: 1.0}
    finding = judge_training_time("a run", curves, seconds, "cuda", [])
    assert finding.outcome == outcome
    assert finding.quantities[0].arms[RNNSEARCH] == (60.0, 60.0)
    assert finding.quantities[0].arms[LSTM] == (180.0, 180.0)  # never


def test_less_time_is_judged_on_a_gpu_alone() -> None:
    curves = {TRANSFORMER: [FAST, FAST], RNNSEARCH: [RIVAL, RIVAL]}
    seconds = {TRANSFORMER: 1.0, RNNSEARCH: 1.0}
    assert judge_training_time("a run", curves, seconds, "cpu", []).outcome == Outcome.NO_VERDICT
    assert judge_training_time("a run", curves, seconds, "cuda", [UNMET]).outcome == Outcome.NO_VERDICT
    assert judge_quality("a run", SCORES, [UNMET]).outcome == Outcome.NO_VERDICT


def recalled(ours: list[float], theirs: list[float]) -> dict[str, list[float]]:
    return {ATTENTION_LAYERS: [*map(float, ours)], LSTM_LAYERS: [*map(float, theirs)]}


FEWER, MORE = recalled([50, 75, 75], [300, 400, 2000]), recalled([50, 75, 200], [75, 75, 75])
LEARNED = recalled([0.99, 1.0, 0.99], [0.99, 1.0, 0.99])


@pytest.mark.parametrize(
    ("single", "mixed", "outcome"),
    [
        (FEWER, FEWER, Outcome.YES),
        (FEWER, MORE, Outcome.PARTLY),
        (MORE, FEWER, Outcome.PARTLY),
        (MORE, MORE, Outcome.NO),
        (recalled([50, 75, 300], [2000] * 3), FEWER, Outcome.NO_VERDICT),  # the budget is less than ten times 300
        (recalled([50, 75], [2000] * 2), FEWER, Outcome.NO_VERDICT),  # two seeds
    ],
)
def test_far_places_are_learned_in_fewer_steps_with_every_seed(
    single: dict[str, list[float]], mixed: dict[str, list[float]], outcome: Outcome
) -> None:
    assert judge_long_range(SMALL, {"64": single, MIXED: mixed}, {"8": LEARNED, "64": LEARNED}).outcome == outcome


def test_far_places_are_judged_where_every_arm_learns_near_ones_with_a_tuned_rate() -> None:
    steps = {"64": FEWER, MIXED: FEWER}
    failed = {"8": LEARNED | {LSTM_LAYERS: [0.99, 0.5, 0.99]}, "64": LEARNED}
    assert judge_long_range(SMALL, steps, failed).outcome == Outcome.NO_VERDICT
    untuned = dataclasses.replace(SMALL, peaks=PEAKS | {LSTM_LAYERS: max(TRIED[LSTM_LAYERS])})
    assert judge_long_range(untuned, steps, {"8": LEARNED, "64": LEARNED}).outcome == Outcome.NO_VERDICT


def test_every_learning_rate_of_the_small_size_lies_inside_the_range_that_was_tried() -> None:
    assert all(min(TRIED[arm]) < rate < max(TRIED[arm]) for arm, rate in PEAKS.items())


def test_models_are_timed_in_turn_on_every_batch() -> None:
    chosen = build_arms(SIZES["smoke"])
    seconds = time_steps(chosen, [BATCH, BATCH, BATCH], torch.device("cpu"))
    assert {name: len(found) for name, found in seconds.items()} == dict.fromkeys(chosen, 3)


def test_sizes_are_judged_by_how_far_off_they_are() -> None:
    assert judge_parameter_counts({"base": 65_000_000, "big": 213_000_000}).outcome == Outcome.YES
    assert judge_parameter_counts({"base": 63_082_496, "big": 214_245_376}).outcome == Outcome.PARTLY
    assert judge_parameter_counts({"base": 50_000_000, "big": 213_000_000}).outcome == Outcome.NO
