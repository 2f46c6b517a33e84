"""CURL's experiment: the rules by which it judges, its loss, and what its players share."""

import copy

import pytest
import torch
from torch.nn import functional as F

from quaere.results import Reproduced
from reference_impl.curl import Convolutions, PixelEncoder, ReplayBuffer
from reference_impl.experiments.curl import (
    ARMS,
    SIZES,
    TASKS,
    Cells,
    Contrast,
    Player,
    contrast,
    helps,
    readable,
    scored,
)


def means(*values: float) -> list[dict[str, float]]:
    return [{"mean": value} for value in values]


@pytest.mark.parametrize(
    ("after", "verdict"),
    [((0.3, 0.4), Reproduced.YES), ((0.15, 0.4), Reproduced.PARTLY), ((0.05, 0.1), Reproduced.NO)],
)
def test_features_must_beat_both_the_untrained_and_the_pixels(after: tuple[float, ...], verdict: Reproduced) -> None:
    finding = readable(means(0.1, 0.05), {"mean": 0.2}, means(*after))
    assert finding.verdict == verdict
    assert f"({min(after):.2f} to {max(after):.2f})" in finding.measured


@pytest.mark.parametrize(
    ("with_crops", "without", "verdict"),
    [(20.0, 20.0, Reproduced.YES), (20.0, 10.0, Reproduced.PARTLY), (10.0, 5.0, Reproduced.NO)],
)
def test_contrast_must_help_with_crops_and_without(with_crops: float, without: float, verdict: Reproduced) -> None:
    noise = torch.tensor([-1.0, 0.0, 1.0])
    heights = dict(zip(ARMS, (10.0, without, 10.0, with_crops), strict=True))
    finding = helps({arm: (noise + height).tolist() for arm, height in heights.items()}, "space_invaders")
    assert finding.verdict == verdict
    assert f"crops and contrast {with_crops:.1f}" in finding.measured


def test_a_gain_within_the_seeds_spread_is_none() -> None:
    earned = {arm: [5.0, 10.0, 15.0] if has_contrast else [4.0, 9.0, 14.0] for arm, (_, has_contrast) in ARMS.items()}
    assert helps(earned, "breakout").verdict == Reproduced.NO
    assert helps({arm: each[:1] for arm, each in earned.items()}, "breakout").verdict == Reproduced.NO


def test_scores_are_judged_against_the_reported_ones_at_as_many_steps_only() -> None:
    scores = {"cartpole": [500.0, 400.0], "cheetah": [100.0, 120.0]}
    assert scored(scores, 96).verdict == Reproduced.NOT_TRIED
    assert scored(scores, 100_000).verdict == Reproduced.PARTLY
    assert scored({"cartpole": [500.0]}, 100_000).verdict == Reproduced.YES
    assert scored({"cheetah": [100.0]}, 100_000).verdict == Reproduced.NO


@pytest.fixture(scope="module")
def model() -> Contrast:
    torch.manual_seed(0)
    model = Contrast(PixelEncoder(9, 4, Convolutions(3, 4, 2)))
    for parameter in model.average.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_the_loss_is_a_sum_over_queries_against_keys_of_the_average(model: Contrast) -> None:
    one, other = torch.randint(256, (2, 5, 3, 9, 9), dtype=torch.uint8)
    total, count = contrast(model, one, other)
    logits = model.encoder(one) @ model.similarity.key.weight @ model.average(other).T
    assert count == 5
    assert total.item() == pytest.approx(5 * F.cross_entropy(logits, torch.arange(5)).item(), rel=1e-5)
    gradients = torch.autograd.grad(total, list(model.parameters())[:2], allow_unused=True)
    assert all(gradient is not None for gradient in gradients)
    assert not any(parameter.requires_grad for parameter in model.average.parameters())


def player(arm: str) -> Player:
    torch.manual_seed(0)
    return Player(4, actions=3, size=10, crops=ARMS[arm][0], has_contrast=ARMS[arm][1], waning=10)


def filled(reward: float = 0.0, terminal: bool = False) -> ReplayBuffer:
    torch.manual_seed(1)
    buffer = ReplayBuffer(40, 3, (4, 12, 12), stack=1)
    for _ in range(15):
        buffer.begin(torch.randint(256, (4, 12, 12), dtype=torch.uint8))
        buffer.add(torch.eye(3)[1], reward, torch.randint(256, (4, 12, 12), dtype=torch.uint8), terminal)
    return buffer


def test_all_players_begin_with_the_same_numbers_and_only_the_contrast_moves_the_similarity() -> None:
    begun = {arm: player(arm) for arm in ARMS}
    first = copy.deepcopy(begun["neither"].state_dict())
    for arm, each in begun.items():
        assert all(torch.equal(value, first[name]) for name, value in each.state_dict().items())
        each.update(filled(), step=0, batch=8)
        moved = not torch.equal(each.similarity.key.weight, first["similarity.key.weight"])
        assert moved == ARMS[arm][1]
        assert not torch.equal(each.encoder.linear.weight, first["encoder.linear.weight"])


def test_a_player_learns_what_its_actions_earn_and_what_may_follow() -> None:
    each, last, going = player("neither"), filled(1.0, terminal=True), filled(1.0)
    each.optimiser.param_groups[0]["lr"] = 0.005
    for _ in range(50):
        each.update(last, step=0, batch=16)
    screens = last.frames[:30:2, :, 1:-1, 1:-1]
    assert (each.trunk(each.encoder(screens))[:, 1].mean() - 1).abs() < 0.2
    for _ in range(100):
        each.update(going, step=0, batch=16)
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
    cells = Cells(4, filters=3, layers=2)
    assert cells(torch.zeros(1, 4, 10, 10)).shape == (1, 3, cells.side(10), cells.side(10))
    assert cells.side(10) == 6


def test_the_full_size_is_the_paper_s() -> None:
    full = SIZES["full"].acting
    assert set(full.tasks) == set(TASKS)
    assert (full.steps, full.batch, full.side, full.crop, full.filters, full.hidden) == (
        100_000, 512, 100, 84, 32, 1024,
    )  # fmt: skip
