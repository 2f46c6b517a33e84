"""M-CURL's experiment: the rules by which it judges, its loss, and the questions that it asks."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from quaere.content.results import Finding, Outcome
from reference_impl.curl import ConvEncoder, PixelEncoder
from reference_impl.experiments.m_curl import (
    CONTEXTS,
    JUDGED,
    MEAN_BASELINES,
    NUM_MASKED,
    SIZES,
    ContextProbe,
    MaskedModel,
    Size,
    build_context,
    judge_context,
    judge_features,
    judge_tasks,
    masked_loss,
    neighbor_means,
)
from reference_impl.experiments.probe import Recording

FULL = SIZES["full"]
START = [{"mean": 0.1}] * 3


def unmet(finding: Finding) -> list[str]:
    return [gate.needs for gate in finding.gates if not gate.is_met]


def curve(loss: float = 1.0, late: float = 0.0, **last: float) -> list[dict[str, float]]:
    """A curve that ends in these values, of which it has gained `late` in its last third and 0.5 before it."""
    gains = (0.5 + late, *[late] * 5, 0.0, 0.0, 0.0)
    return [
        {"step": 100.0 * index, "loss": loss, **{name: value - gain for name, value in last.items()}}
        for index, gain in enumerate(gains, 1)
    ]


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ((0.45, 0.5, 0.5), Outcome.YES),
        ((0.35, 0.5, 0.5), Outcome.PARTLY),  # above CURL's of the same seed, not above all of CURL's
        ((0.2, 0.9, 0.9), Outcome.NO),  # above CURL's in the mean
    ],
)
def test_features_must_beat_those_of_curl_run_by_run(found: tuple[float, ...], outcome: Outcome) -> None:
    curves = {"CURL": [curve(mean=mean) for mean in (0.3, 0.4, 0.4)], "M-CURL": [curve(mean=mean) for mean in found]}
    finding = judge_features(START, curves, FULL)
    assert finding.outcome is outcome
    assert finding.quantities[0].arms == {"CURL": (0.3, 0.4, 0.4), "M-CURL": found, "before training": (0.1,) * 3}


@pytest.mark.parametrize(
    ("size", "ours", "seeds", "needs"),
    [
        (SIZES["small"], curve(mean=0.5), 3, "Windows of 32 timesteps"),
        (replace(FULL, warmup_steps=5999), curve(mean=0.5), 3, "Windows of 32 timesteps"),
        (FULL, curve(loss=6.3, mean=0.5), 3, "Both losses are learned"),  # the log of 512 is 6.24
        (FULL, curve(late=0.1, mean=0.5), 3, "All arms have converged"),
        (FULL, curve(mean=0.5), 2, "Every arm has 3 seeds"),
    ],
)
def test_features_have_no_verdict_without_the_authors_schedule_and_encoders_that_have_learned(
    size: Size, ours: list[dict[str, float]], seeds: int, needs: str
) -> None:
    finding = judge_features(START[:seeds], {"CURL": [curve(mean=0.3)] * seeds, "M-CURL": [ours] * seeds}, size)
    assert finding.outcome is Outcome.NO_VERDICT
    assert [gate[: len(needs)] for gate in unmet(finding)] == [needs]


RATES = {f"{name}, {masked} masked": 0.1 for name in (*CONTEXTS[1:], *MEAN_BASELINES) for masked in NUM_MASKED}
RATES |= {f"{CONTEXTS[0]}, {masked} masked": 0.6 for masked in NUM_MASKED}


@pytest.mark.parametrize(
    ("rivals", "outcome"),
    [
        ({}, Outcome.YES),
        ({MEAN_BASELINES[0]: 0.7}, Outcome.PARTLY),
        ({MEAN_BASELINES[1]: 0.7}, Outcome.PARTLY),
        ({CONTEXTS[1]: 0.7}, Outcome.PARTLY),
        ({CONTEXTS[1]: 0.7, MEAN_BASELINES[0]: 0.7}, Outcome.NO),
        ({CONTEXTS[2]: 0.7}, Outcome.YES),  # what misleads is shown, and decides nothing
    ],
)
@pytest.mark.parametrize("masked", NUM_MASKED)
def test_context_must_count_for_more_than_the_neighbors_mean_and_their_order(
    rivals: dict[str, float], outcome: Outcome, masked: int
) -> None:
    one_seed = RATES | {f"{name}, {masked} masked": rate for name, rate in rivals.items()}
    curves = [curve(**RATES), curve(**RATES), curve(**one_seed)]
    finding = judge_context(curves, 0.1, "ran")
    assert finding.outcome is outcome
    shown = finding.quantities[NUM_MASKED.index(masked)].arms
    assert all(shown[name] == (0.1, 0.1, rate) for name, rate in rivals.items())
    assert judge_context(curves, 0.3, "ran").outcome is Outcome.NO


@pytest.mark.parametrize(
    ("curves", "chance", "needs"),
    [
        ([curve(**RATES)] * 3, 0.6, "The task is learned"),
        ([curve(**RATES), curve(**RATES), curve(**{**RATES, JUDGED: 0.1})], 0.1, "The task is learned"),
        ([curve(late=0.1, **RATES)] * 3, 0.1, "All arms have converged"),
        ([curve(**RATES)] * 2, 0.1, "Every arm has 3 seeds"),
    ],
)
def test_context_has_no_verdict_unless_it_is_learned_and_settled(
    curves: list[list[dict[str, float]]], chance: float, needs: str
) -> None:
    finding = judge_context(curves, chance, "ran")
    assert finding.outcome is Outcome.NO_VERDICT
    assert [gate[: len(needs)] for gate in unmet(finding)] == [needs]


def test_averages_take_what_is_seen_and_nothing_masked() -> None:
    features = torch.arange(9.0).square().reshape(1, 9, 1)
    whole, nearest = neighbor_means(features, middle=4, masked=5)
    assert whole.item() == sum(i * i for i in (0, 1, 7, 8)) / 4
    assert nearest.item() == (1 + 49) / 2
    assert neighbor_means(features, middle=4, masked=1)[1].item() == (9 + 25) / 2


def test_tasks_are_counted_at_as_many_steps_only() -> None:
    one = {"M-CURL": [3.0, 3.0, 4.0], "CURL": [1.0, 1.5, 2.0]}
    other = {"M-CURL": [2.0, 9.0, 9.0], "CURL": [1.0, 3.0, 3.0]}
    early = judge_tasks({"cup": one}, 96)
    assert early.outcome is Outcome.NO_VERDICT
    assert early.quantities[0].arms == {"cup": (2.0, 1.5, 2.0)}
    assert judge_tasks({}, 0).outcome is Outcome.NO_VERDICT
    assert judge_tasks({"cup": {arm: runs[:2] for arm, runs in one.items()}}, 100_000).outcome is Outcome.NO_VERDICT
    assert judge_tasks({"cup": one}, 100_000).outcome is Outcome.YES
    assert judge_tasks({"cup": one, "walker": one, "finger": other}, 100_000).outcome is Outcome.PARTLY
    assert judge_tasks({"cup": one, "walker": other}, 100_000).outcome is Outcome.NO


@pytest.fixture
def model() -> MaskedModel:
    torch.manual_seed(0)
    model = MaskedModel(PixelEncoder(9, 50, ConvEncoder(9, 4, 2))).eval()
    for parameter in model.encoder_target.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_the_loss_is_a_sum_over_chosen_moments_against_all_keys(model: MaskedModel) -> None:
    seen, whole = torch.randint(256, (2, 3, 4, 9, 9, 9), dtype=torch.uint8)
    chosen = torch.tensor([[True, False, False, True], [False] * 4, [True, True, False, False]])
    total, count = masked_loss(model, seen, chosen, whole)
    rebuilt = model.transformer(model.encoder(seen.flatten(0, 1)).reshape(3, 4, 50))[chosen]
    logits = rebuilt @ model.encoder_target(whole.flatten(0, 1)).T
    assert count == 4
    assert total.item() == pytest.approx(4 * F.cross_entropy(logits, torch.tensor([0, 3, 8, 9])).item(), rel=1e-4)


@pytest.mark.parametrize("masked", [1, 5])
@pytest.mark.parametrize("context", CONTEXTS)
def test_no_context_shows_what_is_masked(context: str, masked: int) -> None:
    features = torch.arange(3 * 9.0).reshape(3, 9, 1)
    shown = build_context(features, context, 4, masked, torch.full((1, 1), -1.0))
    half = masked // 2
    assert (shown[:, 4 - half : 5 + half] == -1).all()
    secret = set(features[:, 4 - half : 5 + half].flatten().tolist())
    assert secret.isdisjoint(shown.flatten().tolist())
    whose = {"own neighbors": [0, 1, 2], "in another order": [0, 1, 2], "of another window": [2, 0, 1]}[context]
    assert [set((window[window >= 0] // 9).tolist()) for window in shown] == [{float(i)} for i in whose]
    seen = shown[0][shown[0] >= 0]
    assert torch.equal(seen, seen.sort().values) == (context != "in another order")


def test_each_question_has_a_window_of_every_held_out_episode() -> None:
    frames = torch.arange(2)[:, None, None, None, None].expand(2, 30, 3, 20, 20).to(torch.uint8)
    question = ContextProbe(Recording(frames, torch.zeros(2, 30, 5)), SIZES["smoke"])
    assert question.windows.shape == (2, 2, 8, 9, 16, 16)
    assert question.windows[:, 0].eq(0).all()
    assert question.windows[:, 1].eq(1).all()
    assert question.chance == 0.5
