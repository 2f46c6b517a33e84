"""M-CURL's experiment: the rules by which it judges, its loss, and the questions that it asks."""

import pytest
import torch
from torch.nn import functional as F

from quaere.content.results import Outcome
from reference_impl.curl import ConvEncoder, PixelEncoder
from reference_impl.experiments.m_curl import (
    CONTEXTS,
    MEAN_BASELINES,
    NUM_MASKED,
    OTHER_WINDOWS,
    SIZES,
    ContextProbe,
    MaskedModel,
    build_context,
    interpolate_curve,
    judge_context,
    judge_features,
    judge_tasks,
    masked_loss,
    neighbor_means,
    shuffle_windows,
)
from reference_impl.experiments.probe import Recording


def means(*values: float) -> list[dict[str, float]]:
    return [{"mean": value} for value in values]


@pytest.mark.parametrize(
    ("found", "foreign", "outcome"),
    [
        ((0.45, 0.5), 0.1, Outcome.YES),
        ((0.35, 0.5), 0.1, Outcome.PARTLY),  # above CURL's of the same seed, not above all of CURL's
        ((0.45, 0.5), 0.47, Outcome.PARTLY),  # the neighbors are of no use
        ((0.2, 0.9), 0.1, Outcome.NO),  # above CURL's in the mean
    ],
)
def test_features_must_beat_those_of_curl_run_by_run(
    found: tuple[float, ...], foreign: float, outcome: Outcome
) -> None:
    finding = judge_features({"CURL": means(0.3, 0.4), "M-CURL": means(*found), OTHER_WINDOWS: means(foreign, 0.0)})
    assert finding.outcome == outcome
    assert f"{min(found):.2f} to {max(found):.2f}" in finding.measured


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
    last = {f"{name}, {some} masked": 0.1 for name in (*CONTEXTS[1:], *MEAN_BASELINES) for some in NUM_MASKED}
    last |= {f"{CONTEXTS[0]}, {some} masked": 0.6 for some in NUM_MASKED}
    one_seed = last | {f"{name}, {masked} masked": rate for name, rate in rivals.items()}
    assert judge_context([last, one_seed], chance=0.1).outcome == outcome
    assert judge_context([last, one_seed], chance=0.3).outcome == Outcome.NO


def test_averages_take_what_is_seen_and_nothing_masked() -> None:
    features = torch.arange(9.0).square().reshape(1, 9, 1)
    whole, nearest = neighbor_means(features, middle=4, masked=5)
    assert whole.item() == sum(i * i for i in (0, 1, 7, 8)) / 4
    assert nearest.item() == (1 + 49) / 2
    assert neighbor_means(features, middle=4, masked=1)[1].item() == (9 + 25) / 2


def test_tasks_are_counted_at_as_many_steps_only() -> None:
    one, other = {"M-CURL": [2.0, 3.0], "CURL": [0.0, 1.0]}, {"M-CURL": [2.0, 9.0], "CURL": [1.0, 3.0]}
    assert judge_tasks({"cup": one}, 96).outcome == Outcome.NOT_TRIED
    assert judge_tasks({"cup": one}, 100_000).outcome == Outcome.YES
    assert judge_tasks({"cup": one, "walker": one, "finger": other}, 100_000).outcome == Outcome.PARTLY
    assert judge_tasks({"cup": one, "walker": other}, 100_000).outcome == Outcome.NO


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


def test_estranged_windows_keep_every_moment_at_its_place() -> None:
    torch.manual_seed(0)
    moments = torch.arange(8 * 5).reshape(8, 5, 1, 1, 1)
    mixed = shuffle_windows(moments).squeeze()
    assert torch.equal(mixed.sort(dim=0).values, moments.squeeze())
    assert all(len(set((window // 5).tolist())) > 1 for window in mixed)


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


def test_a_curve_is_read_between_its_points() -> None:
    curve = [{"step": 10.0, "mean": 1.0}, {"step": 20.0, "mean": 3.0}]
    assert [interpolate_curve(curve, step) for step in (10.0, 15.0, 20.0, 25.0)] == [1.0, 2.0, 3.0, 3.0]
