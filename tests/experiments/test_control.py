"""Environments that are taken up again, agents that go on as if never stopped, and what a linear probe finds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference_impl.curl import CURL, Convolutions, PixelEncoder
from reference_impl.experiments.control import Environment, Game, Moment, Playing, Task
from reference_impl.experiments.probe import (
    Recording,
    buffered,
    drawing,
    r_squared,
    record,
    stacked,
)
from reference_impl.m_curl import MCURL


def cartpole(seed: int) -> Environment:
    return Task("cartpole", "swingup", repeat=100, side=20, seed=seed)


def breakout(seed: int) -> Environment:
    return Game("breakout", margin=1, seed=seed)


@pytest.mark.parametrize("make", [cartpole, breakout])
def test_an_environment_goes_on_where_its_state_was_taken(make: Callable[[int], Environment]) -> None:
    one, other = make(3), make(4)
    torch.manual_seed(0)
    one.begin()
    actions = [one.draw() for _ in range(12)]
    for action in actions[:4]:
        one.act(action)
    other.restore(one.state())
    for action in actions[4:]:
        if (before := one.act(action)).over:
            one.begin()
        if (after := other.act(action)).over:
            other.begin()
        assert torch.equal(before.frame, after.frame)
        assert before.reward == after.reward


def test_an_action_is_repeated_and_an_episode_lasts_a_thousand_steps() -> None:
    task = Task("cartpole", "swingup", repeat=250, side=20, seed=0)
    task.begin()
    assert [task.act(torch.zeros(1)).over for _ in range(4)] == [False, False, False, True]
    assert task.physics.time() == pytest.approx(10)


def test_a_game_s_margin_is_black_and_its_cells_are_as_the_game_says() -> None:
    frame, whole = Game("breakout", margin=0, seed=0).begin(), Game("breakout", margin=1, seed=0).begin()
    assert whole.shape == (4, 12, 12)
    assert torch.equal(whole[:, 1:-1, 1:-1], frame)
    assert whole.sum() == frame.sum()
    assert set(frame.flatten().tolist()) == {0, 255}
    assert frame[3, 1:4].eq(255).all()  # three rows of bricks


def test_games_of_one_seed_are_alike_and_of_two_are_not() -> None:
    def played(seed: int) -> list[float]:
        game, earned = Game("space_invaders", 0, seed), []
        torch.manual_seed(0)
        game.begin()
        for _ in range(300):
            moment = game.act(game.draw())
            earned.append(moment.reward + float(moment.frame.float().mean()))
            if moment.over:
                game.begin()
        return earned

    assert played(1) == played(1)
    assert played(1) != played(2)


def playing() -> Playing:
    def agent() -> MCURL:
        return MCURL(PixelEncoder(16, 8, Convolutions(9, 4, 2)), 1, 8, batch=2, length=3)

    return Playing(cartpole, agent, decisions=12, seed=1, first=5, batch=4, trials=1, windows=2, device="cpu")


def test_an_agent_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    begun = playing()
    for index in range(7):
        begun.step(index)
    begun.save(tmp_path)
    resumed = playing()
    resumed.restore(tmp_path)
    for index in range(7, 12):
        resumed.step(index)
    whole = playing()
    for index in range(12):
        whole.step(index)
    after = resumed.agent.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in whole.agent.state_dict().items())
    assert torch.equal(whole.buffer.frames[:14], resumed.buffer.frames[:14])
    assert whole.result() == resumed.result()


class Clock(Environment):
    """Three decisions an episode, each of which earns 1."""

    frame, actions, repeat = (1, 6, 6), 1, 4
    count = 0

    def _begin(self) -> Tensor:
        self.count = 0
        return torch.zeros(1, 6, 6, dtype=torch.uint8)

    def _act(self, action: Tensor) -> Moment:
        self.count += 1
        return Moment(1.0, torch.full((1, 6, 6), self.count, dtype=torch.uint8), False, self.count == 3)


def test_a_curve_has_the_returns_of_the_episodes_that_ended_in_each_part() -> None:
    def agent() -> CURL:
        return CURL(PixelEncoder(6, 4, Convolutions(1, 2, 1)), 1, 4)

    loop = Playing(Clock, agent, 8, 0, first=8, batch=2, stack=1, windows=4, trials=2, device="cpu")
    for index in range(8):
        loop.step(index)
    assert loop.ended == [(3, 3.0), (6, 3.0)]
    expected = {"steps": [8, 16, 24, 32], "earned": [None, 3.0, 3.0, None], "score": 3.0, "episodes": 2}
    assert loop.result() == expected


# The probe


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record(2, 20, seed=0)


def test_recordings_of_a_seed_are_equal(recording: Recording) -> None:
    assert [tuple(part.shape) for part in recording] == [(2, 126, 3, 20, 20), (2, 126, 5)]
    again, other = record(2, 20, seed=0), record(2, 20, seed=1)
    assert all(torch.equal(one, two) for one, two in zip(recording, again, strict=True))
    assert not torch.equal(recording.frames, other.frames)


def test_a_recorded_state_is_that_of_its_frame(recording: Recording) -> None:
    frames, states = recording.frames[0].float(), recording.states[0]
    assert torch.allclose(states[:, 1].square() + states[:, 2].square(), torch.ones(126), atol=1e-5)
    # a cart in the picture is brighter and redder than all else: the further right it is, the further right they are
    red = (frames[:, 0] - frames[:, 2]).clamp(min=0).sum(dim=1)
    places = (red * torch.arange(20)).sum(dim=1) / red.sum(dim=1).clamp(min=1)
    in_sight = (states[:, 0].abs() < 1) & (red.sum(dim=1) > 0)
    assert torch.corrcoef(torch.stack([places, states[:, 0]])[:, in_sight])[0, 1] > 0.9


def test_stacks_of_episodes_are_those_of_the_buffer(recording: Recording) -> None:
    frames, buffer = recording.frames[:, :9], buffered(recording.frames[:, :9])
    slots = torch.arange(18).reshape(2, 9)[:, 2:]
    assert torch.equal(stacked(frames), buffer.stacks(slots))


def test_what_is_a_linear_map_of_features_is_read_and_noise_is_not() -> None:
    torch.manual_seed(0)
    features, noise = torch.randn(600, 8).double(), torch.randn(600, 1).double()
    truth = torch.cat([features @ torch.randn(8, 1).double() + 3, noise], dim=1)
    linear, random = r_squared(features[:400], features[400:], truth[:400], truth[400:])
    assert linear > 0.999
    assert random < 0.1


def test_r_squared_is_zero_for_the_mean_and_knows_no_test_episode() -> None:
    features, wanted = torch.zeros(40, 3).double(), torch.tensor([0.0, 2.0] * 20).double()[:, None]
    assert r_squared(features, features, wanted, wanted)[0] == pytest.approx(0)
    assert r_squared(features, features, wanted, wanted + 1)[0] == pytest.approx(-1)


def test_drawing_depends_on_its_generator_alone_and_leaves_no_trace() -> None:
    def drawn() -> float:
        with drawing(torch.Generator().manual_seed(5)):
            return float(torch.rand(()))

    torch.manual_seed(0)
    one, after = drawn(), float(torch.rand(()))
    torch.manual_seed(0)
    assert float(torch.rand(())) == after
    assert drawn() == one
