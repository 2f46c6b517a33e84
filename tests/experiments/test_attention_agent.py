from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from quaere.content.results import Finding, Outcome
from reference_impl.attention_agent import AttentionAgent
from reference_impl.experiments import catch
from reference_impl.experiments.attention_agent import (
    PIXELS,
    RANDOM,
    ROADS,
    SIZES,
    STILL,
    TEST_BACKGROUNDS,
    TRAINING_BACKGROUND,
    VOTES,
    Episode,
    Evolution,
    FullScreenAgent,
    attended_cells,
    build_agent,
    catch_rate,
    evaluate_on_tracks,
    evolve_on_car_racing,
    judge_against_conventional,
    judge_attention,
    judge_changed_roads,
    judge_driving,
    random_hit_rate,
    repaint,
    run_episode,
    set_params,
)
from reference_impl.experiments.training import count_parameters


def far_from_one(candidates: Sequence[np.ndarray], generation: int) -> list[float]:
    return [-float(((candidate - 1) ** 2).sum()) for candidate in candidates]


def evolution(seed: int = 3, diagonal_only: bool = False) -> Evolution:
    return Evolution(far_from_one, 20, 8, 12, 0.5, seed, diagonal_only)


@pytest.mark.parametrize("diagonal_only", [False, True])
def test_evolution_goes_on_to_the_same_numbers_whatever_others_draw(tmp_path, diagonal_only):
    whole, begun, resumed = (evolution(diagonal_only=diagonal_only) for _ in range(3))
    for index in range(12):
        whole.step(index)
    for index in range(5):
        begun.step(index)
    begun.save(tmp_path)
    np.random.seed(1)
    resumed.restore(tmp_path)
    for index in range(5, 12):
        resumed.step(index)
        np.random.rand()
    assert resumed.result() == whole.result()


def test_evolution_leaves_the_common_random_numbers_alone_and_depends_on_its_seed():
    np.random.seed(0)
    before = np.random.get_state(legacy=False)["state"]["key"].tolist()
    first, second = evolution(seed=1), evolution(seed=2)
    assert first.step(0) != second.step(0)
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before


def test_evolution_nears_the_best_and_returns_the_loss_that_falls():
    strategy = evolution()
    losses = [strategy.step(index) for index in range(12)]
    assert losses[-1] < losses[0] / 2
    assert np.square(np.array(strategy.result()["params"]) - 1).mean() < 0.6


def test_both_arms_have_the_same_number_of_parameters_within_two_per_cent():
    votes, pixels = (count_parameters(build_agent(arm)) for arm in (VOTES, PIXELS))
    assert (votes, pixels) == (263, 259)
    assert abs(votes - pixels) / votes < 0.02


def test_the_car_s_agent_is_the_paper_s():
    assert len(evolve_on_car_racing(SIZES["smoke"], 0).result()["params"]) == 3667
    assert (SIZES["full"].car_population_size, SIZES["full"].tracks, SIZES["full"].frames) == (256, 16, 1000)


class Follows(torch.nn.Module):
    """Moves towards the ball, by where white and orange are."""

    def forward(self, frame, state=None):
        columns = torch.arange(28.0)
        white, orange = (frame[..., 2] == 1).float(), ((frame[..., 0] == 1) & (frame[..., 1] == 0.5)).float()
        apart = (white.sum(dim=0) @ columns - orange.sum(dim=0) @ columns) / 16
        return (apart / 4).clamp(-1, 1)[None], torch.zeros(1)


def test_a_player_that_follows_the_ball_catches_all_and_one_that_rests_every_seventh():
    screens = catch.render_screens(catch.backgrounds()["green"])
    resting = set_params(build_agent(PIXELS), [0.0] * 259)
    assert catch_rate(Follows(), screens) == 1
    assert catch_rate(resting, screens) == pytest.approx(catch.CHANCE)


def test_games_side_by_side_are_the_games_one_by_one():
    agent = set_params(build_agent(VOTES), np.random.RandomState(0).randn(263))
    screens, hits = catch.render_screens(catch.backgrounds()["noise"]), 0
    for ball, paddle in zip(*catch.start_columns(), strict=True):
        state = None
        for step in screens:
            action, state = agent(step[ball, paddle], state)
            paddle = catch.move_paddles(paddle[None], action.detach())[0]
        hits += int(paddle == ball)
    assert catch_rate(agent, screens) == pytest.approx(hits / 49)


def test_chosen_cells_are_the_patches_of_the_agent():
    agent = set_params(build_agent(VOTES), np.random.RandomState(1).randn(263))
    assert isinstance(agent, AttentionAgent)
    screens = catch.render_screens(catch.backgrounds()["blob"])
    marked = attended_cells(agent, screens)
    assert (marked.flatten(3).sum(dim=-1) == 2).all()
    pixels = marked[2, 1, 4].repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)
    assert torch.equal(pixels, agent.attended_pixels(screens[2, 1, 4]))


def test_the_whole_screen_is_seen_cell_by_cell():
    agent = FullScreenAgent()
    screen = catch.render_screens(catch.backgrounds()["black"])[1, 2, 3].requires_grad_()
    (gradient,) = torch.autograd.grad(agent(screen)[0].sum(), screen)
    assert (gradient.abs().sum(dim=-1) > 0).all()


def test_an_episode_depends_on_its_weights_and_its_track_alone():
    params, other = 0.5 * np.random.RandomState(0).randn(2, 3667)
    first, _ = run_episode(params, Episode(3, 15))
    run_episode(other, Episode(4, 15))
    again, _ = run_episode(params, Episode(3, 15))
    assert first == again
    assert run_episode(params, Episode(4, 15))[0] != first


def test_an_episode_without_reward_ends_and_a_generation_shares_its_tracks():
    waiting, whole = run_episode(None, Episode(1, 40, patience=5))[0], run_episode(None, Episode(1, 40))[0]
    assert whole < waiting
    params = np.zeros(3667)
    first, second = evaluate_on_tracks(SIZES["smoke"], 0, [params, params], 0)
    assert first == second
    assert evaluate_on_tracks(SIZES["smoke"], 0, [params], 1)[0] != first


def test_roads_change_their_looks_and_not_their_course():
    plain, *changed = (run_episode(None, Episode(0, 3, road=road)) for road in ROADS)
    for road, (reward, pixels) in zip(ROADS[1:], changed, strict=True):
        assert reward == plain[0], road
        assert (pixels != plain[1]).any(axis=-1).mean() > 0.005, road


def test_what_is_laid_over_a_frame_leaves_the_instruments():
    frame = np.full((96, 96, 3), 7, dtype=np.uint8)
    assert (repaint(frame, "bars")[84:] == 7).all()
    assert (repaint(frame, "bars")[:84, [0, 6, 89, 95]] == 0).all()
    assert (repaint(frame, ROADS[0]) == 7).all()


def test_the_car_s_outputs_are_read_as_the_authors_read_them(monkeypatch):
    actions = []

    class Recorded:
        def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
            return np.zeros((96, 96, 3), dtype=np.uint8), {}

        def step(self, action):
            actions.append(action)
            return self.reset(0)[0], 0.0, False, False, {}

        def close(self):
            pass

    monkeypatch.setattr("reference_impl.experiments.attention_agent._car_racing", lambda episode: Recorded())
    agent = AttentionAgent()
    params = torch.nn.utils.parameters_to_vector(agent.parameters()).detach().numpy()
    run_episode(params, Episode(0, 2))
    first, state = agent(torch.zeros(96, 96, 3))
    second, _ = agent(torch.zeros(96, 96, 3), state)
    for action, output in zip(actions, (first, second), strict=True):
        steer, gas, brake = output.tolist()
        assert action.tolist() == pytest.approx([steer, (gas + 1) / 2, (brake + 1) / 2])


def replays(
    before: float, after: float, ball: float = 0.5, paddle: float = 0.5, learned: float = 0.0
) -> dict[str, dict[str, float]]:
    """Return catch rates and fractions of the selected patches; in black the ball has a fraction `learned` of them."""
    votes = {"ball": ball, "paddle": paddle, "kept": 1.0}
    return {
        TRAINING_BACKGROUND: {"caught": before, "ball": learned, "paddle": 0.0, "kept": 1.0},
        **{name: {"caught": after, **votes} for name in TEST_BACKGROUNDS},
    }


def unmet(finding: Finding) -> list[str]:
    return [gate.needs for gate in finding.gates if not gate.is_met]


SMALL, FULL = SIZES["small"], SIZES["full"]
SETTLED = [{"generation": place, "best": best} for place, best in enumerate((0.1, 0.5, *[0.9] * 7), 1)]
RISING = [{"generation": place, "best": place / 10} for place in range(1, 10)]


@pytest.mark.parametrize(
    ("votes", "pixels", "outcome"),
    [
        (((0.9, 0.85), (0.8, 0.8)), ((0.9, 0.2), (0.9, 0.3)), Outcome.YES),
        (((0.9, 0.7), (0.9, 0.7)), ((0.9, 0.2), (0.9, 0.3)), Outcome.PARTLY),
        (((0.9, 0.9), (0.9, 0.75)), ((0.9, 0.2), (0.9, 0.3)), Outcome.PARTLY),  # on average it would be 90%
        (((0.9, 0.85), (0.9, 0.85)), ((0.9, 0.2), (0.9, 0.6)), Outcome.PARTLY),  # and here less than half
        (((0.9, 0.8), (0.9, 0.5)), ((0.9, 0.6), (0.9, 0.3)), Outcome.NO),  # ahead in each seed, and not apart
        (((0.9, 0.3), (0.9, 0.3)), ((0.9, 0.6), (0.9, 0.6)), Outcome.NO),
    ],
)
def test_conventional_methods_fail_only_if_votes_go_on_and_pixels_do_not(votes, pixels, outcome):
    runs = {VOTES: (*votes, votes[0]), PIXELS: (*pixels, pixels[0])}
    found = {arm: [replays(*of) for of in each] for arm, each in runs.items()}
    finding = judge_against_conventional(found, dict.fromkeys(found, [SETTLED] * 3), SMALL)
    assert finding.outcome is outcome
    before, after, kept = (of.arms for of in finding.quantities)
    assert before[VOTES] == tuple(of[0] for of in runs[VOTES])
    assert after[PIXELS] == pytest.approx([of[1] for of in runs[PIXELS]])
    assert kept[PIXELS] == pytest.approx([of[1] / of[0] for of in runs[PIXELS]], rel=1e-5)


@pytest.mark.parametrize(
    ("pixels", "curve", "seeds", "needs"),
    [
        (0.5, SETTLED, 3, "The task is learned: every seed of every arm is above half of the balls"),
        (0.9, RISING, 3, "All arms have converged"),
        (0.9, SETTLED, 2, "Every arm has 3 seeds"),
    ],
)
def test_arms_are_compared_only_where_both_have_learned_to_catch(pixels, curve, seeds, needs):
    found = {VOTES: [replays(0.9, 0.9)] * seeds, PIXELS: [*[replays(0.9, 0.1)] * (seeds - 1), replays(pixels, 0.1)]}
    curves = {VOTES: [SETTLED] * seeds, PIXELS: [curve] * seeds}
    finding = judge_against_conventional(found, curves, SMALL)
    assert finding.outcome is Outcome.NO_VERDICT
    assert [gate[: len(needs)] for gate in unmet(finding)] == [needs]


@pytest.mark.parametrize(
    ("hits", "random", "outcome"),
    [
        ((0.9, 0.95, 0.95), (0.6, 0.6, 0.6), Outcome.YES),
        ((0.9, 0.95, 0.95), (0.6, 0.6, 0.96), Outcome.NO),
        ((0.7, 0.7, 0.7), (0.5, 0.4, 0.4), Outcome.PARTLY),
        ((0.7, 0.7, 0.55), (0.5, 0.5, 0.5), Outcome.NO),  # above half, above drawn in each seed, and not by enough
        ((0.3, 0.3, 0.3), (0.1, 0.1, 0.1), Outcome.PARTLY),
    ],
)
def test_votes_are_task_critical_if_they_show_ball_or_paddle_more_than_drawn_ones(hits, random, outcome):
    for learned in (0.0, 1.0):  # what was evolved in counts for nothing
        found = [replays(0.9, 0.9, hit / 2, hit / 2, learned) for hit in hits]
        finding = judge_attention(found, random, [SETTLED] * 3, SMALL)
        assert finding.outcome is outcome
        assert finding.quantities[0].arms == {"evolved": hits, RANDOM: random}


@pytest.mark.parametrize(
    ("caught", "curve", "seeds", "needs"),
    [
        (0.5, SETTLED, 3, "The task is learned"),
        (0.9, RISING, 3, "All arms have converged"),
        (0.9, SETTLED, 2, "Every arm has 3 seeds"),
    ],
)
def test_votes_are_judged_only_of_agents_that_have_learned_to_catch(caught, curve, seeds, needs):
    finding = judge_attention([replays(caught, 0.9)] * seeds, [0.1] * seeds, [curve] * seeds, SMALL)
    assert finding.outcome is Outcome.NO_VERDICT
    assert [gate[: len(needs)] for gate in unmet(finding)] == [needs]


def test_random_votes_are_those_of_the_seed_s_own_weights():
    first, second = (random_hit_rate(SIZES["smoke"], seed) for seed in (0, 1))
    assert first != second
    assert 0.0 <= min(first, second) <= max(first, second) <= 1.0


def rewards(learned: float, changed: float = 0.0, random: float = 3.0, still: float = -13.0) -> dict[str, float]:
    return {ROADS[0]: learned, **dict.fromkeys(ROADS[1:], changed), RANDOM: random, STILL: still}


def test_driving_is_judged_after_the_authors_evolution_of_whole_episodes_alone():
    solved, better, worse = rewards(910.0), rewards(460.0), rewards(60.0)
    for runs, outcome in (
        ((solved, solved, solved), Outcome.YES),
        ((rewards(1000.0), rewards(1000.0), rewards(850.0)), Outcome.PARTLY),  # on average it would be solved
        ((solved, better, better), Outcome.PARTLY),
        ((better, better, worse), Outcome.NO),
    ):
        finding = judge_driving(runs, FULL)
        assert finding.outcome is outcome
        assert finding.quantities[0].arms[ROADS[0]] == tuple(of[ROADS[0]] for of in runs)
        assert finding.quantities[1].arms == {"AttentionAgent": (3667,)}
        assert judge_driving(runs, SMALL).outcome is Outcome.NO_VERDICT


def test_driving_has_no_verdict_unless_it_was_evolved_and_beats_random_weights():
    run = rewards(910.0)
    for runs, size, needs in (
        ([run] * 3, replace(FULL, frames=999), "Evolution evaluates 512,000 candidates"),
        ([run] * 3, replace(FULL, car_generations=1999), "Evolution evaluates 512,000 candidates"),
        ([run, run, rewards(910.0, random=911.0)], FULL, "Evolution has improved on random weights"),
        ([run, run, rewards(910.0, still=911.0)], FULL, "Evolution has improved on random weights"),
        ([run] * 2, FULL, "Every arm has 3 seeds"),
    ):
        finding = judge_driving(runs, size)
        assert finding.outcome is Outcome.NO_VERDICT
        assert [gate[: len(needs)] for gate in unmet(finding)] == [needs]


def test_changed_roads_are_judged_only_for_agents_that_drive():
    drives = rewards(800.0, 790.0)
    for runs, outcome in (
        ([drives, drives, rewards(449.0, 449.0)], Outcome.NO_VERDICT),
        ([drives, drives], Outcome.NO_VERDICT),  # too few seeds
        ([drives] * 3, Outcome.YES),
        ([drives, drives, {**drives, "blob": 700.0}], Outcome.PARTLY),  # on average it would be 96%
        ([rewards(800.0, 500.0)] * 3, Outcome.PARTLY),
        ([drives, drives, rewards(800.0, 100.0)], Outcome.NO),
    ):
        finding = judge_changed_roads(runs, FULL)
        assert finding.outcome is outcome
        assert finding.quantities[0].arms["blob"] == tuple(of["blob"] for of in runs)
    assert judge_changed_roads([rewards(80.0, 80.0)] * 3, SMALL).outcome is Outcome.NO_VERDICT
