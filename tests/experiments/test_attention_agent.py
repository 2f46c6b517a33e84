from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from quaere.content.results import Outcome
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


@pytest.mark.parametrize(
    ("votes", "pixels", "outcome"),
    [
        (((0.9, 0.85), (0.8, 0.8)), ((0.9, 0.2), (0.9, 0.3)), Outcome.YES),
        (((0.9, 0.7), (0.9, 0.7)), ((0.9, 0.2), (0.9, 0.3)), Outcome.PARTLY),
        (((0.9, 0.9), (0.9, 0.75)), ((0.9, 0.2), (0.9, 0.3)), Outcome.PARTLY),  # on average it would be 90%
        (((0.9, 0.85), (0.9, 0.85)), ((0.9, 0.2), (0.9, 0.6)), Outcome.PARTLY),  # and here less than half
        (((0.9, 0.8), (0.9, 0.5)), ((0.9, 0.6), (0.9, 0.3)), Outcome.NO),  # ahead in each seed, and not apart
        (((0.9, 0.3), (0.9, 0.3)), ((0.9, 0.6), (0.9, 0.6)), Outcome.NO),
        (((0.9, 0.9), (0.4, 0.4)), ((0.9, 0.2), (0.9, 0.2)), Outcome.NOT_TRIED),
    ],
)
def test_conventional_methods_fail_only_if_votes_go_on_and_pixels_do_not(votes, pixels, outcome):
    found = {arm: [replays(*of) for of in runs] for arm, runs in ((VOTES, votes), (PIXELS, pixels))}
    assert judge_against_conventional(found).outcome == outcome


def test_catches_are_told_by_background_and_where_the_arms_are_apart():
    votes, pixels = ([replays(0.9, 0.8), replays(0.9, 0.7)] for _ in range(2))
    for of in pixels:
        of["gray"] = {"caught": 0.25}
    pixels[0]["bars"] = {"caught": 0.25}  # below both on average, and in one run above neither
    measured = judge_against_conventional({VOTES: votes, PIXELS: pixels}).measured
    assert "gray 0.75 (0.70 to 0.80) and 0.25 (0.25 to 0.25)" in measured
    assert measured.endswith("in front of gray")


@pytest.mark.parametrize(
    ("hits", "random", "outcome"),
    [
        ((0.9, 0.95), (0.6, 0.6), Outcome.YES),
        ((0.9, 0.95), (0.6, 0.96), Outcome.NO),
        ((0.7, 0.7), (0.5, 0.4), Outcome.PARTLY),
        ((0.7, 0.55), (0.5, 0.5), Outcome.NO),  # above half, above drawn in each seed, and not by enough
        ((0.3, 0.3), (0.1, 0.1), Outcome.PARTLY),
    ],
)
def test_votes_are_task_critical_if_they_show_ball_or_paddle_more_than_drawn_ones(hits, random, outcome):
    for learned in (0.0, 1.0):  # what was evolved in counts for nothing
        found = [replays(0.9, 0.9, hit / 2, hit / 2, learned) for hit in hits]
        assert judge_attention(found, random).outcome == outcome


def test_random_votes_are_those_of_the_seed_s_own_weights():
    first, second = (random_hit_rate(SIZES["smoke"], seed) for seed in (0, 1))
    assert first != second
    assert 0.0 <= min(first, second) <= max(first, second) <= 1.0


def rewards(learned: float, changed: float = 0.0, random: float = 3.0, still: float = -13.0) -> dict[str, float]:
    return {ROADS[0]: learned, **dict.fromkeys(ROADS[1:], changed), RANDOM: random, STILL: still}


def test_driving_is_judged_by_whole_episodes_alone():
    solved, better, worse = rewards(910.0), rewards(60.0), rewards(2.0)
    for frames, runs, outcome in (
        (1000, (solved, solved), Outcome.YES),
        (1000, (rewards(1000.0), rewards(850.0)), Outcome.PARTLY),  # on average it would be solved
        (1000, (better, better), Outcome.PARTLY),
        (1000, (better, worse), Outcome.NO),
        (200, (solved, solved), Outcome.NOT_TRIED),
        (200, (better, worse), Outcome.NOT_TRIED),
    ):
        assert judge_driving(runs, frames).outcome == outcome


def test_changed_roads_are_judged_only_for_agents_that_drive():
    for frames, runs, outcome in (
        (200, [rewards(20.0, 20.0)], Outcome.NOT_TRIED),
        (1000, [rewards(800.0, 790.0), rewards(300.0, 300.0)], Outcome.NOT_TRIED),
        (1000, [rewards(800.0, 790.0)], Outcome.YES),
        (1000, [rewards(800.0, 800.0), rewards(800.0, 700.0)], Outcome.PARTLY),  # on average it would be 94%
        (1000, [rewards(800.0, 500.0)], Outcome.PARTLY),
        (1000, [rewards(800.0, 100.0)], Outcome.NO),
    ):
        assert judge_changed_roads(runs, frames).outcome == outcome
