"""CURL's experiment: the rules by which it judges, its loss, and what its players share."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from quaere.content.results import Finding, Outcome
from reference_impl.curl import ConvEncoder, PixelEncoder, ReplayBuffer
from reference_impl.experiments.control import NO_TASKS, TASKS
from reference_impl.experiments.curl import (
    ARMS,
    CONTRAST,
    NO_CONTRAST,
    NO_CURL,
    RANDOM,
    SIZES,
    ContrastiveModel,
    DoubleDQN,
    LabeledModel,
    MinAtarConvEncoder,
    contrastive_loss,
    judge_contrast,
    judge_features,
    judge_scores,
    labeled_loss,
)
from reference_impl.experiments.probe import QUANTITIES

CONFIG = SIZES["small"].pretraining


def unmet(finding: Finding) -> list[str]:
    return [gate.needs for gate in finding.gates if not gate.is_met]


def read(mean: float, **others: float) -> dict[str, float]:
    return {**dict.fromkeys((*QUANTITIES, "mean"), mean), **others}


def training(last: dict[str, float], late: float = 0.0, loss: float = 1.0) -> list[dict[str, float]]:
    """A curve that ends in `last`, and whose mean rises by `late` in its last third."""
    points = [{**last, "mean": last["mean"] - late - 0.2 * (place < 3)} for place in range(6)]
    return [{"step": 100.0 * i, "loss": loss, **point} for i, point in enumerate((*points, last, last, last), 1)]


START = [read(0.1, position=0.28), read(0.05), read(0.05)]
PIXELS_READ = read(0.2, velocity=0.0)
LABELS = [read(0.5)] * 3


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ([read(0.3), read(0.4), read(0.4)], Outcome.YES),
        ([read(0.3), read(0.4), read(0.4, velocity=0.08)], Outcome.PARTLY),  # above both, and hardly read
        ([read(0.3), read(0.4), read(0.4, sine=0.15)], Outcome.PARTLY),  # below the pixels
        ([read(0.3, position=0.25), read(0.4), read(0.4)], Outcome.PARTLY),  # below the untrained encoder
        ([read(0.15), read(0.4), read(0.4)], Outcome.NO),  # above the untrained encoder, and not the pixels
    ],
)
def test_each_quantity_must_be_read_better_than_off_the_untrained_and_the_pixels(
    after: list[dict[str, float]], outcome: Outcome
) -> None:
    finding = judge_features(START, PIXELS_READ, LABELS, [training(last) for last in after], CONFIG)
    assert finding.outcome is outcome
    mean, each, labeled = finding.quantities
    assert mean.arms["CURL"] == tuple(last["mean"] for last in after)
    assert mean.levels == {"50 components of the pixels": 0.2}
    assert each.arms["velocity"] == tuple(last["velocity"] for last in after)
    assert labeled.arms["velocity"] == (0.5, 0.5, 0.5)


def test_what_labels_cannot_teach_counts_for_nothing() -> None:
    after = [training(read(0.4, velocity=0.0))] * 3
    assert judge_features(START, PIXELS_READ, LABELS, after, CONFIG).outcome is Outcome.PARTLY
    one_fails = [*LABELS[:2], read(0.5, velocity=0.05)]
    assert judge_features(START, PIXELS_READ, one_fails, after, CONFIG).outcome is Outcome.YES


@pytest.mark.parametrize(
    ("curve", "labeled", "seeds", "needs"),
    [
        (training(read(0.4), loss=5.0), read(0.5), 3, "The contrast is learned"),  # the log of 128 is 4.85
        (training(read(0.4), late=0.05), read(0.5), 3, "All arms have converged"),
        (training(read(0.4)), read(0.5, position=0.0, sine=0.0, cosine=0.0), 3, "Three quantities or more"),
        (training(read(0.4)), read(0.5), 2, "Every arm has 3 seeds"),
    ],
)
def test_features_have_no_verdict_unless_they_are_learned_visible_and_settled(
    curve: list[dict[str, float]], labeled: dict[str, float], seeds: int, needs: str
) -> None:
    finding = judge_features(START[:seeds], PIXELS_READ, [labeled] * seeds, [curve] * seeds, CONFIG)
    assert finding.outcome is Outcome.NO_VERDICT
    assert [gate[: len(needs)] for gate in unmet(finding)] == [needs]


def three(score: float) -> list[float]:
    return [score - 1, score, score + 1]


GAMES = {"breakout": {NO_CONTRAST: three(10.0), CONTRAST: three(5.0), RANDOM: three(1.0)}}
LONG = SIZES["full"]
WON = {"soft actor-critic": three(10.0), NO_CURL: three(20.0), "CURL": three(30.0), RANDOM: three(5.0)}
LOST = {**WON, "CURL": three(21.0)}  # higher in each seed, and not in each run


@pytest.mark.parametrize(
    ("tasks", "outcome"),
    [
        ({"cup": WON, "walker": WON}, Outcome.YES),
        ({"cup": WON, "walker": LOST}, Outcome.PARTLY),
        ({"cup": LOST}, Outcome.NO),
    ],
)
def test_contrast_is_judged_on_the_paper_s_tasks_whatever_the_games_show(
    tasks: dict[str, dict[str, list[float]]], outcome: Outcome
) -> None:
    finding = judge_contrast(GAMES, tasks, LONG)
    assert finding.outcome is outcome
    assert finding.quantities[0].arms[CONTRAST] == (4.0, 5.0, 6.0)
    assert finding.quantities[-1].arms["cup"] == (tasks["cup"]["CURL"][1] - 20,) * 3


def test_contrast_has_no_verdict_without_the_paper_s_tasks_and_steps_and_agents_that_learn() -> None:
    short = replace(LONG, suite=replace(LONG.suite, steps=96))
    unlearned = {"cup": {**WON, RANDOM: three(40.0)}}
    one_seed = {game: {arm: runs[:1] for arm, runs in arms.items()} for game, arms in GAMES.items()}
    for games, tasks, size, needs in (
        (GAMES, {}, replace(LONG, suite=NO_TASKS), "Agents are trained on the control suite"),
        (GAMES, {"cup": WON}, short, "Agents are trained on the control suite"),
        (GAMES, unlearned, LONG, "Every game and task is learned"),
        ({"breakout": {**GAMES["breakout"], RANDOM: three(9.5)}}, {"cup": WON}, LONG, None),
        ({"breakout": {**GAMES["breakout"], RANDOM: three(10.0)}}, {"cup": WON}, LONG, "Every game and task"),
        (one_seed, {"cup": WON}, LONG, "Every arm has 3 seeds"),
    ):
        finding = judge_contrast(games, tasks, size)
        assert (finding.outcome is Outcome.NO_VERDICT) == (needs is not None)
        assert [gate[: len(needs or "")] for gate in unmet(finding)] == ([needs] if needs else [])


def test_scores_are_judged_against_the_reported_ones_at_as_many_steps_only() -> None:
    scores = {"cartpole": [500.0, 450.0, 400.0], "cheetah": [100.0, 120.0, 110.0]}
    early = judge_scores(scores, 96)
    assert early.outcome is Outcome.NO_VERDICT
    assert (early.quantities[0].arms["cheetah"], early.quantities[0].reported) == ((100.0, 120.0, 110.0), {})
    assert judge_scores({}, 0).outcome is Outcome.NO_VERDICT
    assert judge_scores({"cartpole": [500.0]}, 100_000).outcome is Outcome.NO_VERDICT
    late = judge_scores(scores, 100_000)
    assert (late.outcome, late.quantities[0].reported) == (Outcome.PARTLY, {"cartpole": 582.0, "cheetah": 299.0})
    assert judge_scores({"cartpole": scores["cartpole"]}, 100_000).outcome is Outcome.YES
    assert judge_scores({"cheetah": scores["cheetah"]}, 100_000).outcome is Outcome.NO


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


def test_labels_are_fitted_by_their_squared_error() -> None:
    torch.manual_seed(0)
    learner = LabeledModel(PixelEncoder(9, 4, ConvEncoder(3, 4, 2)))
    obs, states = torch.randint(256, (6, 3, 9, 9), dtype=torch.uint8), torch.randn(6, 5)
    total, count = labeled_loss(learner, obs, states)
    assert count == 30
    assert total.item() == pytest.approx((learner.head(learner.encoder(obs)) - states).square().sum().item())
    total.backward()
    assert learner.encoder.fc.weight.grad is not None


def player(arm: str) -> DoubleDQN:
    torch.manual_seed(0)
    return DoubleDQN(4, num_actions=3, image_size=10, has_contrast=ARMS[arm], epsilon_decay_steps=10)


def filled(reward: float = 0.0, terminal: bool = False) -> ReplayBuffer:
    torch.manual_seed(1)
    buffer = ReplayBuffer(40, 3, (4, 12, 12), frame_stack=1)
    for _ in range(15):
        buffer.add_first(torch.randint(256, (4, 12, 12), dtype=torch.uint8))
        buffer.add(torch.eye(3)[1], reward, torch.randint(256, (4, 12, 12), dtype=torch.uint8), terminal)
    return buffer


def test_all_players_begin_with_the_same_numbers_and_only_the_contrast_moves_the_similarity() -> None:
    begun = {arm: player(arm) for arm in ARMS}
    first = copy.deepcopy(begun[NO_CONTRAST].state_dict())
    for arm, each in begun.items():
        assert all(torch.equal(value, first[name]) for name, value in each.state_dict().items())
        each.update(filled(), step=0, batch_size=8)
        moved = not torch.equal(each.similarity.key.weight, first["similarity.key.weight"])
        assert moved == ARMS[arm]
        assert not torch.equal(each.encoder.fc.weight, first["encoder.fc.weight"])


def test_a_player_learns_what_its_actions_earn_and_what_may_follow() -> None:
    each, last, going = player(NO_CONTRAST), filled(1.0, terminal=True), filled(1.0)
    each.optimizer.param_groups[0]["lr"] = 0.005
    for _ in range(50):
        each.update(last, step=0, batch_size=16)
    screens = last.frames[:30:2, :, 1:-1, 1:-1]
    assert (each.trunk(each.encoder(screens))[:, 1].mean() - 1).abs() < 0.2
    for _ in range(100):
        each.update(going, step=0, batch_size=16)
    assert each.trunk(each.encoder(screens))[:, 1].mean() > 1.3  # the next moment is worth something too


def test_exploring_wanes_and_stops_when_it_is_off() -> None:
    each, pixels = player(NO_CONTRAST), filled().frames[:1].expand(400, 4, 12, 12)
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
