"""CURL's experiment: the rules by which it judges, its loss, and what its players share."""

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from quaere.content.results import Outcome
from reference_impl.curl import ConvEncoder, PixelEncoder, ReplayBuffer
from reference_impl.experiments.control import TASKS
from reference_impl.experiments.curl import (
    ARMS,
    SIZES,
    ContrastiveModel,
    DoubleDQN,
    MinAtarConvEncoder,
    contrastive_loss,
    judge_contrast,
    judge_features,
    judge_scores,
)
from reference_impl.experiments.probe import QUANTITIES


def read(mean: float, **others: float) -> dict[str, float]:
    return {**dict.fromkeys((*QUANTITIES, "mean"), mean), **others}


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ([read(0.3), read(0.4)], Outcome.YES),
        ([read(0.3), read(0.4, velocity=0.08)], Outcome.PARTLY),  # above both, and hardly read
        ([read(0.3), read(0.4, sine=0.15)], Outcome.PARTLY),  # below the pixels
        ([read(0.3, position=0.25), read(0.4)], Outcome.PARTLY),  # below the untrained encoder
        ([read(0.15), read(0.4)], Outcome.NO),  # above the untrained encoder in every seed, and not the pixels
    ],
)
def test_each_quantity_must_be_read_better_than_off_the_untrained_and_the_pixels(
    after: list[dict[str, float]], outcome: Outcome
) -> None:
    start, pixels = [read(0.1, position=0.28), read(0.05)], read(0.2, velocity=0.0)
    finding = judge_features(start, pixels, after)
    assert finding.outcome == outcome
    lows, highs = ([pick(each[what] for each in after) for what in QUANTITIES] for pick in (min, max))
    assert all(
        f"{what} R²" in finding.measured and f"({low:.2f} to {high:.2f})" in finding.measured
        for what, low, high in zip(QUANTITIES, lows, highs, strict=True)
    )


def played(late: float, trials: float) -> list[dict[str, Any]]:
    """Three runs about these returns; what is earned in the first half of learning counts for nothing."""
    return [{"returns": [99.0, None, late + noise, None], "score": trials + noise} for noise in (-1.0, 0.0, 1.0)]


BOTH, NONE, LEARNING, TRIALS = (20.0, 20.0), (10.0, 10.0), (20.0, 10.0), (10.0, 20.0)


@pytest.mark.parametrize(
    ("with_crops", "without", "outcome"),
    [
        (BOTH, BOTH, Outcome.YES),
        (BOTH, LEARNING, Outcome.PARTLY),
        (NONE, BOTH, Outcome.PARTLY),
        (LEARNING, TRIALS, Outcome.NO),  # the measures disagree
        (LEARNING, LEARNING, Outcome.NO),
        ((5.0, 5.0), NONE, Outcome.NO),
    ],
)
def test_contrast_must_help_by_both_measures_with_crops_and_without(
    with_crops: tuple[float, float], without: tuple[float, float], outcome: Outcome
) -> None:
    returns = dict(zip(ARMS, (NONE, without, NONE, with_crops), strict=True))
    arms = {arm: played(*each) for arm, each in returns.items()}
    finding = judge_contrast({"breakout": arms, "space_invaders": arms})
    assert finding.outcome == outcome
    assert f"space invaders, final evaluation: neither 10.0 (9.0 to 11.0), contrast alone {without[1]:.1f}" in (
        finding.measured
    )


def test_contrast_must_help_on_every_game() -> None:
    helped = {arm: played(*(BOTH if has_contrast else NONE)) for arm, (_, has_contrast) in ARMS.items()}
    unhelped = {arm: played(*NONE) for arm in ARMS}
    assert judge_contrast({"breakout": helped, "space_invaders": unhelped}).outcome == Outcome.PARTLY


def test_runs_that_overlap_and_single_ones_show_no_gain() -> None:
    arms = {arm: played(*((11.5, 11.5) if has_contrast else NONE)) for arm, (_, has_contrast) in ARMS.items()}
    assert judge_contrast({"breakout": arms}).outcome == Outcome.NO
    assert judge_contrast({"breakout": {arm: each[:1] for arm, each in arms.items()}}).outcome == Outcome.NO


def test_scores_are_judged_against_the_reported_ones_at_as_many_steps_only() -> None:
    scores = {"cartpole": [500.0, 400.0], "cheetah": [100.0, 120.0]}
    assert judge_scores(scores, 96).outcome == Outcome.NOT_TRIED
    assert judge_scores(scores, 100_000).outcome == Outcome.PARTLY
    assert judge_scores({"cartpole": [500.0]}, 100_000).outcome == Outcome.YES
    assert judge_scores({"cheetah": [100.0]}, 100_000).outcome == Outcome.NO


@pytest.fixture(scope="module")
def model() -> ContrastiveModel:
    torch.manual_seed(0)
    model = ContrastiveModel(PixelEncoder(9, 4, ConvEncoder(3, 4, 2)))
    for parameter in model.encoder_target.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_the_loss_is_a_sum_over_queries_against_keys_of_the_average(model: ContrastiveModel) -> None:
    one, other = torch.randint(256, (2, 5, 3, 9, 9), dtype=torch.uint8)
    total, count = contrastive_loss(model, one, other)
    logits = model.encoder(one) @ model.similarity.key.weight @ model.encoder_target(other).T
    assert count == 5
    assert total.item() == pytest.approx(5 * F.cross_entropy(logits, torch.arange(5)).item(), rel=1e-5)
    gradients = torch.autograd.grad(total, list(model.parameters())[:2], allow_unused=True)
    assert all(gradient is not None for gradient in gradients)
    assert not any(parameter.requires_grad for parameter in model.encoder_target.parameters())


def player(arm: str) -> DoubleDQN:
    torch.manual_seed(0)
    return DoubleDQN(
        4, num_actions=3, image_size=10, crops=ARMS[arm][0], has_contrast=ARMS[arm][1], epsilon_decay_steps=10
    )


def filled(reward: float = 0.0, terminal: bool = False) -> ReplayBuffer:
    torch.manual_seed(1)
    buffer = ReplayBuffer(40, 3, (4, 12, 12), frame_stack=1)
    for _ in range(15):
        buffer.add_first(torch.randint(256, (4, 12, 12), dtype=torch.uint8))
        buffer.add(torch.eye(3)[1], reward, torch.randint(256, (4, 12, 12), dtype=torch.uint8), terminal)
    return buffer


def test_all_players_begin_with_the_same_numbers_and_only_the_contrast_moves_the_similarity() -> None:
    begun = {arm: player(arm) for arm in ARMS}
    first = copy.deepcopy(begun["neither"].state_dict())
    for arm, each in begun.items():
        assert all(torch.equal(value, first[name]) for name, value in each.state_dict().items())
        each.update(filled(), step=0, batch_size=8)
        moved = not torch.equal(each.similarity.key.weight, first["similarity.key.weight"])
        assert moved == ARMS[arm][1]
        assert not torch.equal(each.encoder.fc.weight, first["encoder.fc.weight"])


def test_a_player_learns_what_its_actions_earn_and_what_may_follow() -> None:
    each, last, going = player("neither"), filled(1.0, terminal=True), filled(1.0)
    each.optimizer.param_groups[0]["lr"] = 0.005
    for _ in range(50):
        each.update(last, step=0, batch_size=16)
    screens = last.frames[:30:2, :, 1:-1, 1:-1]
    assert (each.trunk(each.encoder(screens))[:, 1].mean() - 1).abs() < 0.2
    for _ in range(100):
        each.update(going, step=0, batch_size=16)
    assert each.trunk(each.encoder(screens))[:, 1].mean() > 1.3  # the next moment is worth something too


def test_exploring_wanes_and_stops_when_it_is_off() -> None:
    each, pixels = player("neither"), filled().frames[:1].expand(400, 4, 12, 12)
    best = each.act(pixels)
    assert best.shape == (400, 3)
    assert torch.equal(best, best[:1].expand_as(best))
    assert (each.act(pixels, explore=True) != best).any(dim=1).float().mean() > 0.5
    each.updates.data += 1000
    assert (each.act(pixels, explore=True) != best).any(dim=1).float().mean() < 0.1


def test_cells_are_read_at_a_stride_of_one() -> None:
    cells = MinAtarConvEncoder(4, num_filters=3, layers=2)
    assert cells(torch.zeros(1, 4, 10, 10)).shape == (1, 3, cells.output_size(10), cells.output_size(10))
    assert cells.output_size(10) == 6


def test_the_full_size_is_the_paper_s() -> None:
    full = SIZES["full"].suite
    assert set(full.tasks) == set(TASKS)
    assert (full.steps, full.batch_size, full.hidden_dim) == (100_000, 512, 1024)
    assert (full.pre_transform_image_size, full.image_size, full.num_filters) == (100, 84, 32)
